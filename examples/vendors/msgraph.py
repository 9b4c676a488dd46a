"""A stand-in for Microsoft Graph v1.0 and the login that goes with it, as learn.microsoft.com/graph describes them.

Users, groups, members, licences, `$batch`; pages of `page_size` with `@odata.nextLink`; 401 without a good token.
"""

import re
import uuid
from datetime import UTC, datetime
from typing import Any

from examples.vendors.standin import Answer, Asked, OAuthStandIn

ENTERPRISE = "6fd2c87f-b296-42f0-b197-1e91e994b900"


class GraphStandIn(OAuthStandIn):
    """`tenant` signs in; `throttled_urls` are refused so often each with 429 inside a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.tenant = "tenant-1"
        self.page_size = 100
        self.users: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.members: dict[str, list[str]] = {}
        self.devices: list[dict[str, Any]] = []
        self.skus = [{"skuId": ENTERPRISE, "skuPartNumber": "ENTERPRISEPACK", **_units(50, 43)}]
        self.throttled_urls: dict[str, int] = {}

    def add_group(self, name: str) -> str:
        id_ = str(uuid.uuid4())
        self.groups[id_] = {"id": id_, "displayName": name}
        return id_

    def add_users(self, count: int) -> None:
        for n in range(count):
            self.users[f"u{n}"] = {"id": f"u{n}", "userPrincipalName": f"u{n}@acme.example", "displayName": f"U {n}"}

    def handle(self, asked: Asked) -> Answer:
        if asked.path[1:] == ("oauth2", "v2.0", "token"):
            return self._token(asked)
        if not self.is_good(asked.headers):
            return _error(401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid.")
        if asked.path[:1] != ("v1.0",):
            return _error(404, "ResourceNotFound", "Resource not found for the segment.")
        return self._batch(asked.body) if asked.path[1:] == ("$batch",) else self._api(asked)

    def _token(self, asked: Asked) -> Answer:
        if asked.path[0] != self.tenant:
            return Answer(400, {"error": "invalid_request", "error_description": "AADSTS90002: Tenant not found."})
        token = self.granted(asked.body)
        if token is None:
            said = f"AADSTS7000215: Invalid client secret provided: {asked.body.get('client_secret')}"
            return Answer(401, {"error": "invalid_client", "error_description": said})
        return Answer(200, {"token_type": "Bearer", "expires_in": int(self.token_seconds), "access_token": token})

    def _batch(self, body: Any) -> Answer:
        requests = body["requests"]
        if not 0 < len(requests) <= 20:
            return _error(400, "BadRequest", "The batch request exceeds the maximum of 20 requests.")
        # The answers of a real batch come in any order.
        return Answer(200, {"responses": [self._batched(request) for request in reversed(requests)]})

    def _batched(self, request: Any) -> dict[str, Any]:
        url = request["url"]
        if self.throttled_urls.get(url, 0) > 0:
            self.throttled_urls[url] -= 1
            answer = Answer(429, {"error": {"code": "TooManyRequests", "message": ""}}, {"Retry-After": "3"})
        else:
            path = ("v1.0", *(part for part in url.partition("?")[0].split("/") if part))
            answer = self._api(Asked(request["method"], path, {}, {}, request.get("body")))
        return {"id": request["id"], "status": answer.status, "headers": answer.headers, "body": answer.body}

    def _api(self, asked: Asked) -> Answer:
        match asked.method, asked.path[1:]:
            case "GET", ("users",):
                return self._page(asked, list(self.users.values()))
            case "POST", ("users",):
                return self._create_user(asked.body)
            case _, ("users", user_id, *rest):
                return self._user(asked, user_id, tuple(rest))
            case "GET", ("subscribedSkus",):
                return self._page(asked, self.skus)
            case "GET", ("devices",):
                return self._page(asked, self.devices)
            case "GET", ("groups",):
                return self._page(asked, list(self.groups.values()))
            case "POST", ("groups",):
                group = {**asked.body, "id": self.add_group(asked.body["displayName"])}
                return Answer(201, group)
            case _, ("groups", group_id, *rest):
                return self._group(asked, group_id, tuple(rest))
        return _error(404, "ResourceNotFound", "Resource not found for the segment.")

    def _create_user(self, body: Any) -> Answer:
        needed = ("accountEnabled", "displayName", "mailNickname", "userPrincipalName", "passwordProfile")
        missing = [name for name in needed if name not in body]
        if missing:
            return _error(400, "Request_BadRequest", f"Property '{missing[0]}' is required.")
        if any(user["userPrincipalName"] == body["userPrincipalName"] for user in self.users.values()):
            said = "Another object with the same value for property userPrincipalName already exists."
            return _error(400, "Request_BadRequest", said)
        id_ = str(uuid.uuid4())
        given = {name: body[name] for name in body if name != "passwordProfile"}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.users[id_] = {"id": id_, "lastPasswordChangeDateTime": now, **given}
        return Answer(201, self.users[id_])

    def _user(self, asked: Asked, user_id: str, rest: tuple[str, ...]) -> Answer:
        named = (user for user in self.users.values() if user["userPrincipalName"] == user_id)
        user = self.users.get(user_id) or next(named, None)
        if user is None:
            return _error(404, "Request_ResourceNotFound", f"Resource '{user_id}' does not exist.")
        match asked.method, rest:
            case "GET", ():
                return Answer(200, user)
            case "PATCH", ():
                user.update(asked.body)
                return Answer(204)
            case "DELETE", ():
                del self.users[user["id"]]
                return Answer(204)
            case "POST", ("revokeSignInSessions",):
                return Answer(200, {"value": True})
            case "POST", ("assignLicense",):
                return self._assign(user, asked.body)
            case "GET", ("licenseDetails",):
                return self._page(asked, [{"skuId": sku} for sku in user.get("licenses", [])])
            case "GET", ("memberOf",):
                groups = [self.groups[group] for group, members in self.members.items() if user["id"] in members]
                return self._page(asked, groups)
        return _error(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")

    def _assign(self, user: dict[str, Any], body: Any) -> Answer:
        if body["addLicenses"] and not user.get("usageLocation"):
            said = "License assignment cannot be done for user with invalid usage location."
            return _error(400, "Request_BadRequest", said)
        held = [sku for sku in user.get("licenses", []) if sku not in body["removeLicenses"]]
        user["licenses"] = held + [licence["skuId"] for licence in body["addLicenses"]]
        return Answer(200, user)

    def _group(self, asked: Asked, group_id: str, rest: tuple[str, ...]) -> Answer:
        if group_id not in self.groups:
            return _error(404, "Request_ResourceNotFound", f"Resource '{group_id}' does not exist.")
        members = self.members.setdefault(group_id, [])
        match asked.method, rest:
            case "GET", ():
                return Answer(200, self.groups[group_id])
            case "GET", ("members",):
                return self._page(asked, [self.users[member] for member in members])
            case "POST", ("members", "$ref"):
                member = asked.body["@odata.id"].rpartition("/directoryObjects/")[2]
                if member not in self.users or member in members:
                    return _error(400, "Request_BadRequest", "One or more added object references already exist.")
                members.append(member)
                return Answer(204)
            case "DELETE", ("members", member, "$ref"):
                if member in members:
                    members.remove(member)
                return Answer(204)
        return _error(405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")

    def _page(self, asked: Asked, items: list[dict[str, Any]]) -> Answer:
        wanted = re.fullmatch(r"(\w+) eq '((?:[^']|'')*)'", asked.query.get("$filter", ""))
        if wanted is not None:
            items = [item for item in items if item.get(wanted[1]) == wanted[2].replace("''", "'")]
        elif "$filter" in asked.query:
            return _error(400, "BadRequest", "Invalid filter clause.")
        begin = int(asked.query.get("$skiptoken", "0"))
        page: dict[str, Any] = {"value": items[begin : begin + self.page_size]}
        if begin + self.page_size < len(items):
            path = "/".join(asked.path)
            page["@odata.nextLink"] = f"{self.url}/{path}?$skiptoken={begin + self.page_size}"
        return Answer(200, page)


def _error(status: int, code: str, message: str) -> Answer:
    return Answer(status, {"error": {"code": code, "message": message, "innerError": {"request-id": "0"}}})


def _units(bought: int, used: int) -> dict[str, Any]:
    return {"prepaidUnits": {"enabled": bought, "suspended": 0, "warning": 0}, "consumedUnits": used}
