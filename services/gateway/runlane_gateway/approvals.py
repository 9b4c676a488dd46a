"""The doors of approvals and events: the inbox, approve, reject, and what is sent to a waiting execution."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from msgspec import Raw, Struct
from starlette.requests import Request

from runlane.contracts.records import ExecutionQuery, Record, Summary
from runlane.errors import Conflict, NotFound, ValidationError
from runlane.ids import check_token, new_execution_id

from .answers import Answer, answer
from .auth import APPROVE_EXECUTIONS, MANAGE_EXECUTIONS, VIEW_EXECUTIONS
from .bodies import decode_object, read_body
from .deciding import Decider, Verdict, approval_shown, pending_approval
from .describe import Described
from .execute import known_form
from .parts import Parts, body_of, headers_of, named_organisation, organisation, organisations, principal_of
from .preferences import read_idempotency_key
from .principals import Principal
from .signals import Signal, Signaller, was_sent
from .views import ApprovalView, CallerView, caller_view, utc_or_none

_LONGEST_REASON = 1000


class DecisionBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Why, and the digest of what was shown: with another one than it has, nothing is decided."""

    reason: str | None = None
    digest: str | None = None


class DecidedView(Struct, frozen=True, rename="camel"):
    """`status` of the execution from now on."""

    execution_id: str
    status: str


class SentView(Struct, frozen=True, rename="camel"):
    """`duplicate`: an event of that id had been sent before, and stands."""

    execution_id: str
    event: str
    event_id: str
    duplicate: bool


class WaitingView(Struct, frozen=True, rename="camel"):
    """An execution in the inbox."""

    execution_id: str
    workflow_name: str
    org_id: str
    requested_by: CallerView
    queued_at: str | None
    run_at: str | None
    input: Raw | None
    approval: ApprovalView


class InboxView(Struct, frozen=True):
    """`next`: what to give as `after` for the page that follows; null at the end."""

    approvals: list[WaitingView]
    next: str | None


class ApprovalDoors:
    """`/approvals`, `/executions/{id}/approve`, `/reject`, `/events/{name}`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._decider = Decider(parts.bus, parts.directory, parts.sealer, parts.clock, parts.waiters, parts.name)
        self._signaller = Signaller(parts.bus, parts.sealer, parts.clock, parts.name)

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["approvals"])
        add = router.add_api_route
        add("/approvals", self.inbox, methods=["GET"], responses=described.answers(InboxView))
        for name, door in (("approve", self.approve), ("reject", self.reject)):
            add(
                f"/executions/{{id}}/{name}",
                door,
                methods=["POST"],
                responses=described.answers(DecidedView),
                openapi_extra=described.body(DecisionBody),
            )
        add(
            "/executions/{id}/events/{name}",
            self.send,
            methods=["POST"],
            responses=described.answers(SentView, 202),
            openapi_extra={"requestBody": {"content": {"application/json": {"schema": {"type": "object"}}}}},
        )
        return router

    async def inbox(
        self,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=100)] = 50,
        after: str | None = None,
    ) -> Answer:
        """What waits for an approval, newest first, in the organisations that the caller may see."""
        principal = principal_of(request.scope)
        principal.require(VIEW_EXECUTIONS)
        parts, orgs = self._parts, self._orgs(request)
        await parts.records.caught_up(parts.acceptor.last_sequence)
        query = ExecutionQuery(orgs=orgs, statuses=["PendingApproval"], after=after, limit=limit)
        page = await parts.store.find(query)
        found = await asyncio.gather(*(self._waiting(summary, principal) for summary in page.items))
        return answer(InboxView([view for view in found if view is not None], page.next))

    async def approve(self, request: Request, id: str) -> Answer:
        """Agree. 403 for who may not, 409 when there is nothing to approve or it is not what the digest says."""
        return await self._decide(request, id, approved=True)

    async def reject(self, request: Request, id: str) -> Answer:
        """Refuse. Before its start that ends the execution; one that asked while it ran goes on and is told."""
        return await self._decide(request, id, approved=False)

    async def send(self, request: Request, id: str, name: str) -> Answer:
        """Send it an event; the body is its data. With an `Idempotency-Key`, sending it again changes nothing."""
        principal, parts = principal_of(request.scope), self._parts
        check_token(name, "name")
        record = await self._known(request, id)
        manifest = parts.directory.workflow(record.workflow)
        if not principal.may(MANAGE_EXECUTIONS):
            principal.require("canExecuteWorkflows" if manifest is None else manifest.required_permission)
        headers = headers_of(request.scope)
        key = read_idempotency_key(headers)
        signal = Signal(
            name=name,
            id=new_execution_id() if key is None else key,
            data=decode_object(headers, await read_body(headers, request.receive, parts.settings.max_body)),
            by=principal.caller,
        )
        if not record.finished:
            new = await self._signaller.send(record, signal)
        elif was_sent(record, signal):
            new = False  # its sender did not hear the answer, and it may be this event that the execution ended by
        else:
            raise Conflict(f"It has ended already: {record.status}.", details={"status": record.status})
        return answer(SentView(record.execution_id, name, signal.id, not new), 202)

    def _orgs(self, request: Request) -> list[str] | None:
        """Those of the caller, or the one that is named; None: every one."""
        everywhere = principal_of(request.scope).orgs is None
        if everywhere and named_organisation(headers_of(request.scope)) is None:
            return None
        return organisations(request.scope, self._parts.directory)

    async def _decide(self, request: Request, execution_id: str, *, approved: bool) -> Answer:
        principal = principal_of(request.scope)
        principal.require(APPROVE_EXECUTIONS)
        body = await body_of(request, self._parts, DecisionBody)
        if len(body.reason or "") > _LONGEST_REASON:
            raise ValidationError(f"reason must be at most {_LONGEST_REASON} characters.", "reason")
        record = await self._known(request, execution_id)
        verdict = Verdict(approved=approved, reason=body.reason, digest=body.digest)
        status = await self._decider.decide(record, principal, verdict)
        return answer(DecidedView(record.execution_id, status))

    async def _known(self, request: Request, execution_id: str) -> Record:
        org = organisation(request.scope, self._parts.directory)
        return await self._parts.records.get(org, known_form(execution_id))

    async def _waiting(self, summary: Summary, principal: Principal) -> WaitingView | None:
        """The entry of an execution that waits still; None when it was decided meanwhile."""
        try:
            record = await self._parts.records.get(summary.org, summary.execution_id)
        except NotFound:
            return None
        pending = await pending_approval(self._parts.bus, record)
        if pending is None or pending.data.terms.expires_at <= self._parts.clock.now():
            return None
        return WaitingView(
            record.execution_id,
            record.workflow,
            record.org,
            caller_view(record.caller),
            utc_or_none(record.queued_at),
            utc_or_none(record.run_at),
            record.input,
            approval_shown(self._parts.directory, record, pending, principal),
        )
