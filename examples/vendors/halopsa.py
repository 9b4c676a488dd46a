"""A stand-in for HaloPSA: its authorisation server below /auth, its API below /api, as its pages describe them.

Lists with `pageinate` come as `{"record_count", "tickets"}`; POST takes a list, and changes what has an `id`.
"""

from typing import Any

from examples.vendors.standin import Answer, Asked, OAuthStandIn

#: The list's name in answers, by resource.
LISTS = {"tickets": "tickets", "actions": "actions", "client": "clients", "users": "users", "asset": "assets"}


class HaloStandIn(OAuthStandIn):
    """`things` holds what there is, by resource in lower case. With `tenant`, the token endpoint wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.tenant: str | None = None
        self.things: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in LISTS}

    def add(self, resource: str, **fields: Any) -> int:
        things = self.things[resource]
        id_ = len(things) + 1
        things[id_] = {"id": id_, **fields}
        return id_

    def handle(self, asked: Asked) -> Answer:
        if asked.path == ("auth", "token") and asked.method == "POST":
            return self._token(asked)
        if not self.is_good(asked.headers):
            return Answer(401, b"", {"WWW-Authenticate": "Bearer"})
        resource = asked.path[1].lower() if len(asked.path) > 1 else ""
        if asked.path[0] != "api" or resource not in LISTS:
            return Answer(404, {"Message": "No HTTP resource was found that matches the request URI."})
        match asked.method, asked.path[2:]:
            case "GET", ():
                return self._list(resource, asked.query)
            case "GET", (id_,):
                found = self.things[resource].get(int(id_))
                return Answer(404, {"Message": "Not found"}) if found is None else Answer(200, found)
            case "POST", ():
                return self._save(resource, asked.body)
        return Answer(405, {"Message": "The requested resource does not support this method."})

    def _token(self, asked: Asked) -> Answer:
        token = self.granted(asked.body) if asked.query.get("tenant") == self.tenant else None
        if token is None:
            return Answer(400, {"error": "invalid_client", "error_description": "The client is not known."})
        return Answer(200, {"scope": "all", "token_type": "Bearer", "access_token": token, "expires_in": 3600})

    def _list(self, resource: str, query: dict[str, str]) -> Answer:
        things = list(self.things[resource].values())
        for name in ("client_id", "ticket_id"):
            if name in query:
                things = [thing for thing in things if str(thing.get(name)) == query[name]]
        count = len(things)
        if query.get("pageinate") == "true":
            size, number = int(query["page_size"]), int(query["page_no"])
            things = things[size * (number - 1) : size * number]
        return Answer(200, {"record_count": count, LISTS[resource]: things})

    def _save(self, resource: str, body: Any) -> Answer:
        if not isinstance(body, list) or len(body) != 1:
            return Answer(400, {"Message": "Expected a list."})
        given = body[0]
        if resource == "tickets" and "id" not in given and not given.get("summary"):
            return Answer(400, {"Message": "Please enter a summary."})
        if "id" in given and given["id"] not in self.things[resource]:
            return Answer(404, {"Message": "Not found"})
        id_ = given["id"] if "id" in given else self.add(resource)
        self.things[resource][id_].update(given)
        return Answer(201, self.things[resource][id_])
