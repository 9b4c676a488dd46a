"""Microsoft Graph v1.0: users, groups, licences, `$batch`. `context.get_integration("msgraph")`.

What it takes and gives are Graph's own JSON objects; lists are async iterators that fetch page after page. See
docs/guide/integrations.md.
"""

import secrets
import string
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from runlane.errors import ConfigurationError, IntegrationError, ValidationError
from runlane.integrations.answers import rows
from runlane.integrations.batching import in_batches
from runlane.integrations.oauth import Grant, OAuthIntegration

MAX_PAGES = 1000

Json = dict[str, Any]


class MicrosoftGraph(OAuthIntegration):
    """Config: `msgraph_client_id`, and `msgraph_tenant_id` unless the organisation has a tenant id. Secret:
    `msgraph_client_secret`. `msgraph_api_url` and `msgraph_login_url` are for national clouds."""

    integration_name = "msgraph"
    calls_per_minute = 3000
    vendor_domains = (
        "graph.microsoft.com",
        "graph.microsoft.us",
        "dod-graph.microsoft.us",
        "microsoftgraph.chinacloudapi.cn",
        "login.microsoftonline.com",
        "login.microsoftonline.us",
        "login.chinacloudapi.cn",
        "login.partner.microsoftonline.cn",
    )

    @property
    def api_url(self) -> str:
        return str(self.get_config("msgraph_api_url", "https://graph.microsoft.com")).rstrip("/")

    def grant(self) -> Grant:
        tenant = self.get_config("msgraph_tenant_id") or self.context.tenant_id
        if not tenant:
            raise ConfigurationError(
                f"Organisation {self.context.org_id!r} has no Microsoft 365 tenant: "
                "runlane config set msgraph_tenant_id TENANT-ID",
                "msgraph_tenant_id",
            )
        login = str(self.get_config("msgraph_login_url", "https://login.microsoftonline.com")).rstrip("/")
        return Grant(
            url=f"{login}/{tenant}/oauth2/v2.0/token",
            client_id=self.required_config("client_id"),
            secret="msgraph_client_secret",
            scope=f"{self.api_url}/.default",
        )

    # --- users ----------------------------------------------------------------------------------------------------

    async def create_user(
        self, email: str, first_name: str, last_name: str, *, password: str | None = None, **fields: Any
    ) -> Json:
        """Create a user who signs in as `email`, and return it (`id`, `userPrincipalName`, …).

        `fields` are further properties of Graph's user, such as `usageLocation="AT"`, which a licence needs. Without
        `password` a random one is set that nobody knows: reset it, or hand out a temporary access pass. Either way the
        user has to change it.
        """
        password = password or _random_password()
        self.context.redactor.learn(password)
        user = {
            "accountEnabled": True,
            "displayName": f"{first_name} {last_name}".strip(),
            "givenName": first_name,
            "surname": last_name,
            "userPrincipalName": email,
            "mailNickname": _nickname(email),
            "passwordProfile": {"password": password, "forceChangePasswordNextSignIn": True},
            **fields,
        }
        return _object(await self.request_json("POST", "/v1.0/users", json=user))

    async def get_user(self, user_id: str, *, select: Sequence[str] = ()) -> Json:
        """A user by id or by user principal name; `IntegrationError` with status 404 where there is none."""
        return _object(await self.request_json("GET", "/v1.0/users/{id}", path={"id": user_id}, params=_query(select)))

    def users(self, *, filter: str | None = None, search: str | None = None, select: Sequence[str] = ()) -> Any:
        """The users, as an async iterator. `filter` and `search` are Graph's; quote texts in them with `quoted`."""
        return self.pages("/v1.0/users", _query(select, filter, search), advanced=search is not None)

    async def update_user(self, user_id: str, **fields: Any) -> None:
        """Change properties of a user, such as `accountEnabled=False`."""
        await self.request("PATCH", "/v1.0/users/{id}", path={"id": user_id}, json=fields)

    async def delete_user(self, user_id: str) -> None:
        """Delete a user; Graph keeps it for 30 days."""
        await self.request("DELETE", "/v1.0/users/{id}", path={"id": user_id})

    async def revoke_sign_in_sessions(self, user_id: str) -> None:
        """Have a user sign in anew everywhere."""
        await self.request("POST", "/v1.0/users/{id}/revokeSignInSessions", path={"id": user_id})

    # --- licences -------------------------------------------------------------------------------------------------

    async def get_subscribed_skus(self) -> list[Json]:
        """What the tenant has bought: `skuId`, `skuPartNumber`, `prepaidUnits.enabled`, `consumedUnits`, …"""
        return [sku async for sku in self.pages("/v1.0/subscribedSkus")]

    async def assign_license(self, user_id: str, sku_id: str, *, disabled_plans: Sequence[str] = ()) -> Json:
        """Give a user a licence by its `skuId`; the user needs a `usageLocation`. Returns the user."""
        add = [{"skuId": sku_id, "disabledPlans": list(disabled_plans)}]
        return await self._change_licenses(user_id, add, [])

    async def remove_license(self, user_id: str, sku_id: str) -> Json:
        """Take a licence from a user. Returns the user."""
        return await self._change_licenses(user_id, [], [sku_id])

    async def get_user_licenses(self, user_id: str) -> list[Json]:
        """The licences of a user: `skuId`, `skuPartNumber`, `servicePlans`."""
        path = {"id": user_id}
        return [licence async for licence in self.pages("/v1.0/users/{id}/licenseDetails", path=path)]

    async def _change_licenses(self, user_id: str, add: list[Json], remove: list[str]) -> Json:
        change = {"addLicenses": add, "removeLicenses": remove}
        path = {"id": user_id}
        return _object(await self.request_json("POST", "/v1.0/users/{id}/assignLicense", path=path, json=change))

    # --- groups ---------------------------------------------------------------------------------------------------

    def groups(self, *, filter: str | None = None, search: str | None = None, select: Sequence[str] = ()) -> Any:
        """The groups, as an async iterator."""
        return self.pages("/v1.0/groups", _query(select, filter, search), advanced=search is not None)

    async def get_group(self, group_id: str) -> Json:
        return _object(await self.request_json("GET", "/v1.0/groups/{id}", path={"id": group_id}))

    async def get_group_by_name(self, name: str) -> str:
        """The id of the one group of that display name; `IntegrationError` with 404 for none, 409 for several."""
        found = [group async for group in self.groups(filter=f"displayName eq {quoted(name)}", select=["id"])]
        if len(found) != 1:
            what, status = (f"{len(found)} groups are", 409) if found else ("No group is", 404)
            raise IntegrationError("msgraph", f"{what} named {name!r}", status)
        return str(found[0]["id"])

    async def create_group(self, name: str, *, description: str | None = None, **fields: Any) -> Json:
        """Create a security group, or what `fields` make of it."""
        group = {
            "displayName": name,
            "mailEnabled": False,
            "mailNickname": _nickname(name),
            "securityEnabled": True,
            **({} if description is None else {"description": description}),
            **fields,
        }
        return _object(await self.request_json("POST", "/v1.0/groups", json=group))

    async def add_user_to_group(self, user_id: str, group_id: str) -> None:
        """Make a user a member; `IntegrationError` with status 400 where it is one."""
        member = {"@odata.id": f"{self.api_url}/v1.0/directoryObjects/{user_id}"}
        await self.request("POST", "/v1.0/groups/{id}/members/$ref", path={"id": group_id}, json=member)

    async def remove_user_from_group(self, user_id: str, group_id: str) -> None:
        path = {"id": group_id, "user": user_id}
        await self.request("DELETE", "/v1.0/groups/{id}/members/{user}/$ref", path=path)

    def group_members(self, group_id: str) -> AsyncIterator[Json]:
        """The direct members, as an async iterator."""
        return self.pages("/v1.0/groups/{id}/members", path={"id": group_id})

    def user_groups(self, user_id: str) -> AsyncIterator[Json]:
        """What a user is a direct member of, as an async iterator."""
        return self.pages("/v1.0/users/{id}/memberOf", path={"id": user_id})

    # --- anything else --------------------------------------------------------------------------------------------

    async def batch(self, requests: Sequence[Mapping[str, Any]]) -> list[Json]:
        """Send many requests, 20 to a call, and return one answer for each, in the same order.

        A request is `{"method": "GET", "url": "/users/1", "headers": {}, "body": {}}`, the address without version.
        An answer is `{"status": 200, "headers": {}, "body": …}`: look at each status, for none of them raises. Those
        that were throttled are sent again, as long as that is allowed.
        """
        return await in_batches(self, self._throttle, requests)

    async def pages(
        self,
        endpoint: str,
        params: Mapping[str, Any] | None = None,
        *,
        path: Mapping[str, object] | None = None,
        advanced: bool = False,
    ) -> AsyncIterator[Json]:
        """Every item of a list, following `@odata.nextLink`; `IntegrationError` beyond `MAX_PAGES` pages."""
        headers = {"ConsistencyLevel": "eventual"} if advanced else {}
        options: dict[str, Any] = {"params": params}
        seen: set[str] = set()
        while True:
            page = await self.request_json("GET", endpoint, path=path, headers=headers, **options)
            for item in rows("msgraph", f"GET {endpoint}", page, "value"):
                yield item
            onward = page.get("@odata.nextLink")
            if onward is None:
                return
            if not isinstance(onward, str) or onward in seen or len(seen) >= MAX_PAGES - 1:
                raise IntegrationError("msgraph", f"GET {endpoint} does not come to an end after {len(seen) + 1} pages")
            seen.add(onward)
            options = {"url": onward}


def quoted(text: str) -> str:
    """A text as OData writes it: `O'Neil` becomes `'O''Neil'`."""
    return "'" + text.replace("'", "''") + "'"


def _query(select: Sequence[str] = (), filter: str | None = None, search: str | None = None) -> Json | None:
    given = {"$select": ",".join(select), "$filter": filter, "$search": search}
    return {name: value for name, value in given.items() if value} or None


def _object(answer: Any) -> Json:
    if not isinstance(answer, dict):
        raise IntegrationError("msgraph", "Graph answered without the object that was asked for")
    return answer


def _nickname(text: str) -> str:
    name = "".join(
        letter for letter in text.partition("@")[0] if letter.isascii() and (letter.isalnum() or letter in "._-")
    )
    if not name:
        raise ValidationError(
            f"{text!r} has no letter that a mail nickname may have: pass mailNickname", "mailNickname"
        )
    return name[:64]


def _random_password() -> str:
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits, "!#%+-_?")
    letters = [secrets.choice(kind) for kind in kinds] + [secrets.choice("".join(kinds)) for _ in range(28)]
    secrets.SystemRandom().shuffle(letters)
    return "".join(letters)
