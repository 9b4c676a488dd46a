"""The doors of executions beside the hot one: lists, the SPEC §3 record, the live tail, cancel and retry."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from msgspec import Struct
from pydantic import BaseModel, Field
from starlette.requests import Request

from runlane.audit import Target
from runlane.contracts.records import ExecutionQuery, Record, Status
from runlane.contracts.requests import TriggerKind
from runlane.ids import new_execution_id, repeatable_execution_id

from .again import call_again
from .answers import Answer, answer
from .auth import MANAGE_EXECUTIONS, VIEW_EXECUTIONS, VIEW_INTERNALS
from .cancelling import Canceller
from .describe import Described
from .execute import known_form
from .live import LiveTail
from .parts import Parts, audit_of, body_of, headers_of, organisation, organisations, principal_of
from .preferences import read_idempotency_key, read_preference
from .views import AcceptedView, ExecutionPageView, RecordView, record_view, summary_view

_STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no", "x-content-type-options": "nosniff"}


class CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: str | None = None


class CancelledView(Struct, frozen=True, rename="camel"):
    execution_id: str
    status: str


class Filters(BaseModel, extra="forbid"):
    """Which executions."""

    workflow: str | None = None
    status: list[Status] = []
    trigger: TriggerKind | None = None
    tag: str | None = None
    error: str | None = None
    queued_from: datetime | None = Field(default=None, alias="from")
    queued_before: datetime | None = Field(default=None, alias="to")
    limit: int = Field(default=50, ge=1, le=200)
    after: str | None = None

    def query(self, orgs: list[str]) -> ExecutionQuery:
        return ExecutionQuery(
            orgs=orgs,
            workflow=self.workflow,
            statuses=list(self.status),
            trigger=self.trigger,
            tag=self.tag,
            error=self.error,
            queued_from=self.queued_from and aware(self.queued_from),
            queued_before=self.queued_before and aware(self.queued_before),
            after=self.after,
            limit=self.limit,
        )


class ExecutionDoors:
    """`/executions…`"""

    def __init__(self, parts: Parts, canceller: Canceller, live: LiveTail) -> None:
        self._parts, self._canceller, self._live = parts, canceller, live

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["executions"])
        add = router.add_api_route
        add("/executions", self.find, methods=["GET"], responses=described.answers(ExecutionPageView))
        add("/executions/{id}/record", self.record, methods=["GET"], responses=described.answers(RecordView))
        add("/executions/{id}/events", self.events, methods=["GET"], response_class=StreamingResponse)
        add(
            "/executions/{id}/cancel",
            self.cancel,
            methods=["POST"],
            responses=described.answers(CancelledView),
            openapi_extra=described.body(CancelBody),
        )
        add("/executions/{id}/retry", self.retry, methods=["POST"], responses=described.answers(AcceptedView, 202))
        return router

    async def find(self, request: Request, filters: Annotated[Filters, Query()]) -> Answer:
        """Executions, newest first. `from` and `to` bound the time they were queued.

        Those of all organisations of a caller who has several and names none.
        """
        principal = principal_of(request.scope)
        principal.require(VIEW_EXECUTIONS)
        query = filters.query(organisations(request.scope, self._parts.directory))
        await self._parts.records.caught_up(self._parts.acceptor.last_sequence)
        page = await self._parts.store.find(query)
        internals = principal.may(VIEW_INTERNALS)
        items = [summary_view(summary, internals=internals) for summary in page.items]
        return answer(ExecutionPageView(items, page.next))

    async def record(self, request: Request, id: str) -> Answer:
        """The record with the names of SPEC §3."""
        principal_of(request.scope).require(VIEW_EXECUTIONS)
        _, record = await self._known(request, id)
        return answer(record_view(record))

    async def events(self, request: Request, id: str) -> StreamingResponse:
        """Everything it tells of itself, as server-sent events; after `Last-Event-ID` where that is given."""
        principal = principal_of(request.scope)
        principal.require(VIEW_EXECUTIONS)
        _, record = await self._known(request, id)
        last = headers_of(request.scope).get(b"last-event-id", b"").decode("latin-1")
        stream = self._live.follow(record, last, principal)
        return StreamingResponse(stream, media_type="text/event-stream", headers=_STREAM_HEADERS)

    async def cancel(self, request: Request, id: str) -> Answer:
        """Cancel it, wherever it is. 409 when it has ended otherwise; cancelling twice is no error."""
        principal = principal_of(request.scope)
        principal.require(MANAGE_EXECUTIONS)
        body = await body_of(request, self._parts, CancelBody)
        org, record = await self._known(request, id)
        async with audit_of(request, self._parts).record("cancel", _target(org, record), after=body):
            await self._canceller.cancel(org, record, principal.caller, body.reason)
        return answer(CancelledView(record.execution_id, "Cancelled"))

    async def retry(self, request: Request, id: str) -> Answer:
        """Run it again, as a new execution with the same parameters. 409 while it has not ended."""
        parts, headers, principal = self._parts, headers_of(request.scope), principal_of(request.scope)
        principal.require(MANAGE_EXECUTIONS)
        org, record = await self._known(request, id, certain=True)
        key, preference = read_idempotency_key(headers), read_preference(headers, parts.settings.sync_wait)
        new = new_execution_id() if key is None else repeatable_execution_id("retry", org, record.execution_id, key)
        call = call_again(request, parts, record, new, preference=preference, repeatable=key is not None)
        async with audit_of(request, parts).record("retry", _target(org, record)):
            return await parts.calls.start(call)

    async def _known(self, request: Request, execution_id: str, *, certain: bool = False) -> tuple[str, Record]:
        org = organisation(request.scope, self._parts.directory)
        return org, await self._parts.records.get(org, known_form(execution_id), certain=certain)


def aware(moment: datetime) -> datetime:
    """A moment without a zone is UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _target(org: str, record: Record) -> Target:
    return Target(org, "executions", record.execution_id)
