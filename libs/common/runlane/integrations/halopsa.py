"""HaloPSA: tickets, actions and time, clients, users, assets. `context.get_integration("halopsa")`.

What it takes and gives are Halo's own JSON objects; lists are async iterators that fetch page after page. See
docs/guide/integrations.md.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from runlane.errors import ConfigurationError, IntegrationError, ValidationError
from runlane.integrations.answers import rows
from runlane.integrations.oauth import Grant, OAuthIntegration

MAX_PAGES = 1000
PAGE_SIZE = 100

Json = dict[str, Any]


class HaloPSA(OAuthIntegration):
    """Config: `halo_api_url` (`https://acme.halopsa.com`), `halo_client_id`; for some installations `halo_tenant`,
    `halo_scope`, `halo_auth_url`; `halo_customer_id`, the client in Halo that the organisation is. Secret:
    `halo_client_secret`."""

    integration_name = "halopsa"
    config_prefix = "halo"
    calls_per_minute = 120
    vendor_domains = ("halopsa.com", "haloitsm.com", "haloservicedesk.com")

    @property
    def api_url(self) -> str:
        """The address of the installation: its API is below `/api`, its authorisation server below `/auth`."""
        return self.required_config("api_url", "https://YOURS.halopsa.com").rstrip("/").removesuffix("/api")

    def grant(self) -> Grant:
        tenant = self.get_config("halo_tenant")
        return Grant(
            url=str(self.get_config("halo_auth_url") or f"{self.api_url}/auth").rstrip("/") + "/token",
            client_id=self.required_config("client_id"),
            secret="halo_client_secret",
            scope=str(self.get_config("halo_scope", "all")),
            params={"tenant": str(tenant)} if tenant else {},
        )

    # --- tickets --------------------------------------------------------------------------------------------------

    async def create_ticket(
        self, summary: str, details: str = "", *, client_id: int | None = None, **fields: Any
    ) -> Json:
        """Create a ticket for a client, by default the organisation's own (`halo_customer_id`), and return it.

        `fields` are further properties of Halo's ticket, such as `tickettype_id=1` or `priority_id=3`.
        """
        customer = self._customer(client_id)
        known = {} if customer is None else {"client_id": customer}
        return await self._save("/api/Tickets", {"summary": summary, "details": details, **known, **fields})

    async def get_ticket(self, ticket_id: int) -> Json:
        """A ticket with its details; `IntegrationError` with status 404 where there is none."""
        return await self._one("/api/Tickets/{id}", ticket_id, {"includedetails": "true"})

    def tickets(self, **filters: Any) -> AsyncIterator[Json]:
        """Tickets, as an async iterator. `filters` are Halo's: `client_id=12`, `open_only=True`, `search="printer"`."""
        return self.pages("/api/Tickets", "tickets", filters)

    async def update_ticket(self, ticket_id: int, **fields: Any) -> Json:
        """Change properties of a ticket, such as `status_id=9`, and return it."""
        return await self._save("/api/Tickets", {"id": ticket_id, **fields})

    # --- actions and time -----------------------------------------------------------------------------------------

    async def add_action(self, ticket_id: int, note: str, *, hidden: bool = True, **fields: Any) -> Json:
        """Add a note to a ticket; the end user sees it only with `hidden=False`."""
        action = {"ticket_id": ticket_id, "note": note, "outcome": "Note", "hiddenfromuser": hidden, **fields}
        return await self._save("/api/Actions", action)

    async def add_time_entry(self, ticket_id: int, hours: float, note: str, **fields: Any) -> Json:
        """Book time on a ticket: in Halo that is an action with `timetaken`, in hours."""
        if not hours > 0:
            raise ValidationError(f"hours must be more than 0, not {hours!r}", "hours")
        return await self.add_action(ticket_id, note, timetaken=hours, **fields)

    def actions(self, ticket_id: int, **filters: Any) -> AsyncIterator[Json]:
        """What was done on a ticket, time included, as an async iterator."""
        return self.pages("/api/Actions", "actions", {"ticket_id": ticket_id, **filters})

    # --- clients, users, assets -----------------------------------------------------------------------------------

    def clients(self, **filters: Any) -> AsyncIterator[Json]:
        """Clients, as an async iterator."""
        return self.pages("/api/Client", "clients", filters)

    async def get_client(self, client_id: int) -> Json:
        return await self._one("/api/Client/{id}", client_id)

    async def create_client(self, name: str, **fields: Any) -> Json:
        return await self._save("/api/Client", {"name": name, **fields})

    def users(self, **filters: Any) -> AsyncIterator[Json]:
        """End users, as an async iterator; `client_id=12` are those of a client."""
        return self.pages("/api/Users", "users", filters)

    async def get_user(self, user_id: int) -> Json:
        return await self._one("/api/Users/{id}", user_id)

    async def create_user(self, name: str, email: str, site_id: int, **fields: Any) -> Json:
        return await self._save("/api/Users", {"name": name, "emailaddress": email, "site_id": site_id, **fields})

    def assets(self, **filters: Any) -> AsyncIterator[Json]:
        """Assets, as an async iterator."""
        return self.pages("/api/Asset", "assets", filters)

    async def get_asset(self, asset_id: int) -> Json:
        return await self._one("/api/Asset/{id}", asset_id)

    async def create_asset(self, inventory_number: str, client_id: int, assettype_id: int, **fields: Any) -> Json:
        known = {"inventory_number": inventory_number, "client_id": client_id, "assettype_id": assettype_id}
        return await self._save("/api/Asset", {**known, **fields})

    async def update_asset(self, asset_id: int, **fields: Any) -> Json:
        return await self._save("/api/Asset", {"id": asset_id, **fields})

    # --- anything else --------------------------------------------------------------------------------------------

    async def pages(self, endpoint: str, name: str, filters: Mapping[str, Any]) -> AsyncIterator[Json]:
        """Every item of the list `name`, by `page_no`; `IntegrationError` beyond `MAX_PAGES` pages."""
        seen = 0
        for number in range(1, MAX_PAGES + 1):
            paging = {"pageinate": "true", "page_no": number, "page_size": PAGE_SIZE}
            page = await self.request_json("GET", endpoint, params={**_texts(filters), **paging})
            found = rows("halopsa", f"GET {endpoint}", page, name if isinstance(page, dict) else None)
            for item in found:
                yield item
            seen += len(found)
            count = page.get("record_count") if isinstance(page, dict) else None
            if not found or (seen >= count if isinstance(count, int) else len(found) < PAGE_SIZE):
                return
        raise IntegrationError("halopsa", f"GET {endpoint} does not come to an end after {MAX_PAGES} pages")

    async def _one(self, endpoint: str, id_: int, params: Mapping[str, str] | None = None) -> Json:
        return _object(endpoint, await self.request_json("GET", endpoint, path={"id": id_}, params=params))

    async def _save(self, endpoint: str, thing: Json) -> Json:
        """Create it, or change it where it has an `id`: Halo takes a list for both and answers with the thing."""
        return _object(endpoint, await self.request_json("POST", endpoint, json=[thing]))

    def _customer(self, client_id: int | None) -> int | None:
        found = self.get_config("halo_customer_id") if client_id is None else client_id
        if found is not None and (isinstance(found, bool) or not isinstance(found, int)):
            raise ConfigurationError(
                "halo_customer_id is not a number: runlane config set halo_customer_id 12", "halo_customer_id"
            )
        return found


def _texts(filters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in filters.items()}


def _object(endpoint: str, answer: Any) -> Json:
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise IntegrationError("halopsa", f"{endpoint} answered without the object that was asked for")
    return answer
