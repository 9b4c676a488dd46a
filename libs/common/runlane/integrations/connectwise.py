"""ConnectWise Manage (PSA): tickets, notes and time, companies, contacts. `context.get_integration("connectwise")`.

What it takes and gives are ConnectWise's own JSON objects; lists are async iterators that fetch page after page. See
docs/guide/integrations.md.
"""

import base64
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx

from runlane.errors import ConfigurationError, IntegrationError, ValidationError
from runlane.integrations.answers import rows
from runlane.integrations.base import BaseIntegration

MAX_PAGES = 1000
PAGE_SIZE = 250

_API = "/v4_6_release/apis/3.0"
_TICKET = "/v4_6_release/services/system_io/router/openrecord.rails?recordType=ServiceFv&recid="

Json = dict[str, Any]


class ConnectWise(BaseIntegration):
    """Config: `cw_api_url` (`https://api-na.myconnectwise.net`), `cw_company_id` (what one logs in to), `cw_client_id`
    (from developer.connectwise.com), `cw_public_key`; `cw_customer_id`, the company in ConnectWise that the
    organisation is. Secret: `cw_private_key`."""

    integration_name = "connectwise"
    config_prefix = "cw"
    calls_per_minute = 60
    vendor_domains = ("myconnectwise.net", "connectwisedev.com")

    @property
    def api_url(self) -> str:
        """The address of the API; a host alone stands for its current version."""
        url = self.required_config("api_url", "https://api-na.myconnectwise.net").rstrip("/")
        return url if httpx.URL(url).path.strip("/") else url + _API

    async def authenticate(self) -> str:
        """What Basic authentication sends; there is no token to fetch."""
        company, public = self.required_config("company_id"), self.required_config("public_key")
        pair = f"{company}+{public}:{await self.get_secret('cw_private_key')}"
        proof = base64.b64encode(pair.encode()).decode()
        self.context.redactor.learn(proof)
        return proof

    def auth_headers(self, token: str) -> dict[str, str]:
        return {
            "Authorization": f"Basic {token}",
            "clientId": self.required_config("client_id"),
            "Accept": "application/json",
        }

    # --- tickets --------------------------------------------------------------------------------------------------

    async def create_ticket(
        self, summary: str, description: str = "", *, company_id: int | None = None, **fields: Any
    ) -> Json:
        """Create a service ticket for a company, by default the organisation's own (`cw_customer_id`), and return it
        (`id`, …) with its address in the browser as `url`. A summary has at most 100 characters.

        `fields` are further properties of ConnectWise's ticket, such as `board={"name": "Help Desk"}`.
        """
        if not summary or len(summary) > 100:
            raise ValidationError(f"A summary has 1 to 100 characters, not {len(summary)}", "summary")
        company = self._company(company_id)
        ticket = {"summary": summary, "initialDescription": description, **company, **fields}
        return self._linked(await self._save("POST", "/service/tickets", ticket))

    async def get_ticket(self, ticket_id: int) -> Json:
        """A ticket, with its `url`; `IntegrationError` with status 404 where there is none."""
        return self._linked(await self._one("/service/tickets/{id}", ticket_id))

    def tickets(self, conditions: str | None = None, *, order_by: str | None = None) -> AsyncIterator[Json]:
        """Tickets, as an async iterator. `conditions` as in `closedFlag=false and company/id=12`; texts in them are
        quoted with `quoted`."""
        return self.pages("/service/tickets", conditions, order_by=order_by)

    async def update_ticket(self, ticket_id: int, **fields: Any) -> Json:
        """Replace properties of a ticket, such as `status={"name": "Closed"}`, and return it."""
        change = [{"op": "replace", "path": name, "value": value} for name, value in fields.items()]
        return self._linked(await self._save("PATCH", "/service/tickets/{id}", change, {"id": ticket_id}))

    async def add_note(self, ticket_id: int, text: str, *, internal: bool = True) -> Json:
        """Add a note to a ticket; the customer sees it only with `internal=False`."""
        note = {"text": text, "internalAnalysisFlag": internal, "detailDescriptionFlag": not internal}
        return await self._save("POST", "/service/tickets/{id}/notes", note, {"id": ticket_id})

    # --- time -----------------------------------------------------------------------------------------------------

    async def add_time_entry(self, ticket_id: int, hours: float, notes: str, **fields: Any) -> Json:
        """Book time on a ticket. `fields` are such as `timeStart="2026-01-31T09:00:00Z"`."""
        if not hours > 0:
            raise ValidationError(f"hours must be more than 0, not {hours!r}", "hours")
        charged = {"chargeToId": ticket_id, "chargeToType": "ServiceTicket"}
        return await self._save("POST", "/time/entries", {**charged, "actualHours": hours, "notes": notes, **fields})

    def time_entries(self, ticket_id: int) -> AsyncIterator[Json]:
        """The time booked on a ticket, as an async iterator."""
        return self.pages("/time/entries", f'chargeToId={int(ticket_id)} and chargeToType="ServiceTicket"')

    # --- companies and contacts -----------------------------------------------------------------------------------

    def companies(self, conditions: str | None = None) -> AsyncIterator[Json]:
        """Companies, as an async iterator."""
        return self.pages("/company/companies", conditions)

    async def get_company(self, company_id: int) -> Json:
        return await self._one("/company/companies/{id}", company_id)

    async def create_company(self, identifier: str, name: str, **fields: Any) -> Json:
        return await self._save("POST", "/company/companies", {"identifier": identifier, "name": name, **fields})

    def contacts(self, conditions: str | None = None) -> AsyncIterator[Json]:
        """Contacts, as an async iterator; `company/id=12` are those of a company."""
        return self.pages("/company/contacts", conditions)

    async def get_contact(self, contact_id: int) -> Json:
        return await self._one("/company/contacts/{id}", contact_id)

    async def create_contact(
        self, first_name: str, last_name: str, email: str, *, company_id: int | None = None, **fields: Any
    ) -> Json:
        """Create a contact of a company, by default the organisation's own, with an address for e-mail."""
        mail = {"type": {"name": "Email"}, "value": email, "communicationType": "Email", "defaultFlag": True}
        contact = {"firstName": first_name, "lastName": last_name, "communicationItems": [mail]}
        return await self._save("POST", "/company/contacts", {**contact, **self._company(company_id), **fields})

    # --- anything else --------------------------------------------------------------------------------------------

    async def pages(
        self, endpoint: str, conditions: str | None = None, *, order_by: str | None = None
    ) -> AsyncIterator[Json]:
        """Every item of a list, following the `Link` to the next page; `IntegrationError` beyond `MAX_PAGES` pages.

        Without `order_by` the pages go forward by id, which is what ConnectWise advises for long lists.
        """
        params: Json = {"pageSize": PAGE_SIZE}
        params |= {"conditions": conditions} if conditions else {}
        params |= {"orderBy": order_by, "page": 1} if order_by else {}
        headers = {} if order_by else {"pagination-type": "forward-only"}
        for _ in range(MAX_PAGES):
            response = await self.request("GET", endpoint, params=params, headers=headers)
            for item in rows("connectwise", f"GET {endpoint}", self._read(f"GET {endpoint}", response), None):
                yield item
            onward = _next_page(response)
            if onward is None:
                return
            if params | onward == params:
                break
            params |= onward
        raise IntegrationError("connectwise", f"GET {endpoint} does not come to an end")

    async def _one(self, endpoint: str, id_: int) -> Json:
        return _object(endpoint, await self.request_json("GET", endpoint, path={"id": id_}))

    async def _save(self, method: str, endpoint: str, thing: object, path: Mapping[str, object] | None = None) -> Json:
        return _object(endpoint, await self.request_json(method, endpoint, path=path, json=thing))

    def _company(self, company_id: int | None) -> Json:
        found = self.get_config("cw_customer_id") if company_id is None else company_id
        if found is None:
            return {}
        if isinstance(found, bool) or not isinstance(found, int):
            raise ConfigurationError(
                "cw_customer_id is not a number: runlane config set cw_customer_id 12", "cw_customer_id"
            )
        return {"company": {"id": found}}

    def _linked(self, ticket: Json) -> Json:
        url = httpx.URL(self.api_url)
        site = url.copy_with(host=url.host.removeprefix("api-"), raw_path=_TICKET.encode())
        return {**ticket, "url": f"{site}{ticket.get('id')}"}


def quoted(text: str) -> str:
    """A text as conditions write it: in double quotes, those within it doubled."""
    return '"' + text.replace('"', '""') + '"'


def _next_page(response: httpx.Response) -> Json | None:
    """The query of the next page. Not its address: the host that a proxy of the vendor names may be an inner one."""
    found = response.links.get("next", {}).get("url")
    if found is None:
        return None
    try:
        return dict(httpx.URL(found).params)
    except httpx.InvalidURL:
        raise IntegrationError("connectwise", "The link to the next page cannot be read") from None


def _object(endpoint: str, answer: Any) -> Json:
    if not isinstance(answer, dict):
        raise IntegrationError("connectwise", f"{endpoint} answered without the object that was asked for")
    return answer
