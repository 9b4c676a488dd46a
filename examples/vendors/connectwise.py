"""A stand-in for ConnectWise Manage, as developer.connectwise.com describes its REST API.

Basic authentication of `company+public:private` and a `clientId` header; pages by `Link`, forward-only or by number;
changes as JSON Patch.
"""

import base64
import binascii
import re
from typing import Any
from urllib.parse import urlencode

from examples.vendors.standin import Answer, Asked, StandIn

RESOURCES = ("service/tickets", "company/companies", "company/contacts", "time/entries")


class ConnectWiseStandIn(StandIn):
    """`things` holds what there is, by resource. Links name a host of the vendor's own, as one behind a proxy would."""

    def __init__(self) -> None:
        super().__init__()
        self.company, self.public_key, self.private_key = "acme_msp", "public1234", "private-key-of-connectwise-0815"
        self.client_id = "3f2c0de0-0000-4000-8000-000000000000"
        self.things: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in RESOURCES}
        self.notes: list[tuple[int, Any]] = []

    def add(self, resource: str, **fields: Any) -> int:
        things = self.things[resource]
        id_ = len(things) + 1
        things[id_] = {"id": id_, **fields}
        return id_

    def handle(self, asked: Asked) -> Answer:
        refused = self._refused(asked)
        if refused is not None:
            return refused
        if asked.path[:3] != ("v4_6_release", "apis", "3.0"):
            return _error(404, "NotFound", "Not found")
        resource, rest = "/".join(asked.path[3:5]), asked.path[5:]
        if resource not in RESOURCES:
            return _error(404, "NotFound", f"{resource} not found")
        return self._resource(asked, resource, rest)

    def _resource(self, asked: Asked, resource: str, rest: tuple[str, ...]) -> Answer:
        things = self.things[resource]
        if rest and int(rest[0]) not in things:
            return _error(404, "NotFound", f"{resource} {rest[0]} not found")
        match asked.method, rest:
            case "GET", ():
                return self._list(asked, resource)
            case "POST", ():
                return self._create(resource, asked.body)
            case "GET", (id_,):
                return Answer(200, things[int(id_)])
            case "PATCH", (id_,):
                for change in asked.body:
                    things[int(id_)][change["path"]] = change["value"]
                return Answer(200, things[int(id_)])
            case "POST", (id_, "notes"):
                self.notes.append((int(id_), asked.body))
                return Answer(201, {"id": len(self.notes), **asked.body})
        return _error(405, "MethodNotAllowed", "Method not allowed")

    def _refused(self, asked: Asked) -> Answer | None:
        scheme, _, proof = asked.headers.get("authorization", "").partition(" ")
        try:
            pair = base64.b64decode(proof).decode() if scheme == "Basic" else ""
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        if pair != f"{self.company}+{self.public_key}:{self.private_key}":
            return _error(401, "Unauthorized", "Incorrect public/private key")
        if asked.headers.get("clientid") != self.client_id:
            return _error(401, "Unauthorized", "ClientId is missing or not valid")
        return None

    def _create(self, resource: str, body: Any) -> Answer:
        if resource == "service/tickets" and not body.get("company"):
            missing = {"code": "MissingRequiredField", "message": "The company field is required.", "field": "company"}
            return Answer(400, {"code": "InvalidObject", "message": "ticket object is invalid", "errors": [missing]})
        return Answer(201, self.things[resource][self.add(resource, **body)])

    def _list(self, asked: Asked, resource: str) -> Answer:
        things = list(self.things[resource].values())
        wanted = re.match(r"(\w+)=(\d+)", asked.query.get("conditions", ""))
        if wanted is not None:
            things = [thing for thing in things if str(thing.get(wanted[1])) == wanted[2]]
        size = min(int(asked.query.get("pageSize", "25")), 1000)
        if asked.headers.get("pagination-type") == "forward-only":
            after = int(asked.query.get("pageId", "0"))
            things = [thing for thing in things if thing["id"] > after]
            onward = {"pageId": things[size - 1]["id"]} if len(things) > size else None
        else:
            number = int(asked.query.get("page", "1"))
            things = things[size * (number - 1) :]
            onward = {"page": number + 1} if len(things) > size else None
        return Answer(200, things[:size], {} if onward is None else _link(asked, resource, onward))


def _link(asked: Asked, resource: str, onward: dict[str, int]) -> dict[str, str]:
    query = urlencode({**asked.query, **onward})
    return {"Link": f'<https://cw-inner-host.example/v4_6_release/apis/3.0/{resource}?{query}>; rel="next"'}


def _error(status: int, code: str, message: str) -> Answer:
    return Answer(status, {"code": code, "message": message, "errors": None})
