"""`GET /audit`: who changed what, when, from where."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query
from msgspec import Struct
from pydantic import BaseModel, Field
from starlette.requests import Request

from runlane.contracts.audit import AuditEntry, AuditQuery

from .answers import Answer, answer
from .describe import Described
from .executions import aware
from .parts import PRINCIPAL, Parts, headers_of, named_organisation, organisation, organisation_in_path, principal_of
from .permissions import VIEW_AUDIT
from .views import utc

#: As `org`: every organisation, whatever the header names.
_ALL = "*"


class ActorView(Struct, frozen=True):
    id: str
    name: str | None
    email: str | None


class AuditView(Struct, frozen=True, rename="camel"):
    """`outcome`: `done`, `failed` (with the error in `reason`), or `intended`: what came of it is not known (yet).

    In `before` and `after` secrets are masked.
    """

    id: str
    at: str
    org: str
    actor: ActorView
    action: str
    kind: str
    key: str
    outcome: str
    reason: str | None
    before: Any
    after: Any
    address: str | None
    agent: str | None
    request_id: str | None


class AuditPageView(Struct, frozen=True):
    entries: list[AuditView]
    next: str | None


class AuditFilters(BaseModel, extra="forbid"):
    """Which entries."""

    org: str | None = None
    actor: str | None = None
    action: str | None = None
    kind: str | None = None
    key: str | None = None
    since: datetime | None = Field(default=None, alias="from")
    until: datetime | None = Field(default=None, alias="to")
    limit: int = Field(default=50, ge=1, le=200)
    after: str | None = None


class AuditDoors:
    """`/audit`"""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["audit"])
        router.add_api_route("/audit", self.find, methods=["GET"], responses=described.answers(AuditPageView))
        return router

    async def find(self, request: Request, filters: Annotated[AuditFilters, Query()]) -> Answer:
        """The audit trail, newest first. `from` and `to` bound the time. It is about the organisation that is named (or
        `platform`), else, and with `org=*`, about all that the caller may see."""
        orgs = self._orgs(request, filters.org)
        principal_of(request.scope).require(VIEW_AUDIT)
        query = AuditQuery(
            orgs=orgs,
            actor=filters.actor,
            action=filters.action,
            kind=filters.kind,
            key=filters.key,
            since=filters.since and aware(filters.since),
            until=filters.until and aware(filters.until),
            after=filters.after,
            limit=filters.limit,
        )
        await self._parts.records.caught_up(self._parts.acceptor.last_sequence)
        page = await self._parts.store.audit(query)
        return answer(AuditPageView([_view(entry) for entry in page.items], page.next))

    def _orgs(self, request: Request, named: str | None) -> list[str] | None:
        """None for all. An organisation that was deleted may be asked for by who may see all.

        From here on the request's principal is what it is in all of these.
        """
        directory, everywhere = self._parts.directory, principal_of(request.scope).everywhere()
        if named is None and named_organisation(headers_of(request.scope)) is not None:
            return [organisation(request.scope, directory)]
        request.scope[PRINCIPAL] = everywhere
        if named is None or named == _ALL:
            return None if everywhere.orgs is None else sorted(everywhere.orgs)
        if everywhere.orgs is not None:
            return [organisation_in_path(request, directory, named)]
        request.scope[PRINCIPAL] = everywhere.within(named)
        return [named]


def _view(entry: AuditEntry) -> AuditView:
    return AuditView(
        entry.id,
        utc(entry.at),
        entry.org,
        ActorView(entry.actor.id, entry.actor.name, entry.actor.email),
        entry.action,
        entry.kind,
        entry.key,
        entry.outcome,
        entry.reason,
        entry.before,
        entry.after,
        entry.address,
        entry.agent,
        entry.request_id,
    )
