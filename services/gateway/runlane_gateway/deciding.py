"""Decides on executions that wait for an approval: each decision is a compare-and-set on the state line.

Before it is written, a wake-up is stored that has an executor look at the execution; so a gateway that dies between a
decision and what follows from it loses nothing.
"""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from runlane.approving import NO_PARAMETERS, wake_message
from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.approvals import is_open, named, next_opening
from runlane.contracts.encoding import encode
from runlane.contracts.events import (
    STATE_TAILS,
    AnyEvent,
    ApprovalExpired,
    ApprovalExpiredData,
    Approved,
    DecidedData,
    Decision,
    Declined,
    PendingApproval,
    Rejected,
    RejectedData,
    StateEvent,
    decode_event,
)
from runlane.contracts.records import Record
from runlane.contracts.requests import Request, parameters_context
from runlane.directory import Directory
from runlane.errors import Conflict, Forbidden, StateConflict
from runlane.lanes import Lanes
from runlane.ports import Bus, Message, Stored
from runlane.redaction import masked_names
from runlane.requesting import request_message
from runlane.sealing import Sealer

from .accept import PUBLISH_SECONDS
from .permissions import APPROVE_EXECUTIONS, EVERYTHING
from .principals import Principal
from .reasons import shown_reason
from .submissions import canonical, digest_context
from .views import ApprovalView, approval_view
from .waiting import Waiters, status_of

#: Every lost round means that somebody else decided; of so many nobody is left.
_ROUNDS = 100

#: So much later an executor looks whether a decision was followed up: longer than all that a decision may take.
WAKE_SECONDS = 10.0


class Verdict(Struct, frozen=True, kw_only=True):
    """What somebody decides. `digest`: of what was shown to him, where he says so."""

    approved: bool
    reason: str | None = None
    digest: str | None = None


class Decider:
    """Takes decisions on behalf of principals."""

    def __init__(
        self, bus: Bus, directory: Directory, sealer: Sealer, clock: Clock, waiters: Waiters, name: str
    ) -> None:
        self._bus, self._directory, self._sealer = bus, directory, sealer
        self._clock, self._waiters = clock, waiters
        self._lanes = Lanes(bus)
        self._source = f"/runlane/gateway/{name}"

    async def decide(self, record: Record, principal: Principal, verdict: Verdict) -> str:
        """Write the decision and return the execution's status after it. Deciding the same again is no error.

        Raises `Forbidden` for who may not decide, `Conflict` when there is nothing to decide (any more), it is another
        thing than was shown, or the office is closed.
        """
        principal.require(APPROVE_EXECUTIONS)
        for _ in range(_ROUNDS):
            last = await self._bus.last(subjects.EVENTS, _line(record))
            event = None if last is None else decode_event(last.payload)
            if last is None or not isinstance(event, PendingApproval):
                return await self._decided_before(record, principal, verdict, last, event)
            try:
                return await self._decide(record, principal, verdict, last.sequence, event)
            except StateConflict:
                continue
        raise Conflict("Others decide at the same time; try again.")

    async def _decide(
        self, record: Record, principal: Principal, verdict: Verdict, sequence: int, pending: PendingApproval
    ) -> str:
        now, data = self._clock.now(), pending.data
        _check_person(record, principal, pending)
        if now >= data.terms.expires_at:
            await self._expire(record, sequence, pending, now)
        _check_digest(verdict, data.digest)
        if verdict.approved:
            self._check_hours(record, pending, now)
            self._check_parameters(record, pending)
            if any(_same_person(decision, principal) for decision in data.decisions):
                return "PendingApproval"
        given = Decision(
            approved=verdict.approved,
            by=principal.caller,
            at=now,
            digest=data.digest,
            reason=shown_reason(verdict.reason),
        )
        decisions = [*data.decisions, given]
        if verdict.approved and len(decisions) < data.terms.count:
            counted = msgspec.structs.replace(data, decisions=decisions, trace=[])
            await self._move(record, sequence, pending, lambda known: PendingApproval(**known, data=counted))
            return "PendingApproval"
        if not verdict.approved and data.step is None:
            await self._reject(record, sequence, pending, decisions)
            return "Cancelled"
        return await self._settle(record, sequence, pending, decisions)

    async def _settle(self, record: Record, sequence: int, pending: PendingApproval, decisions: list[Decision]) -> str:
        """Write the decision that lets it go on, and put it on the queue."""
        data = pending.data
        decided = DecidedData(
            decisions=decisions,
            asked_at=data.asked_at,
            run_at=data.run_at,
            step=data.step,
            first_started_at=data.first_started_at,
            waited_seconds=data.waited_seconds,
        )
        kind = Approved if decisions[-1].approved else Declined
        wake_at = self._clock.now() + timedelta(seconds=WAKE_SECONDS)
        await self._bus.publish(wake_message(request_of(record), wake_at), timeout=PUBLISH_SECONDS)
        moved, event = await self._move(record, sequence, pending, lambda known: kind(**known, data=decided))
        await self._put_on_queue(record, moved, decided, event.attempt)
        later = data.run_at is not None and data.run_at > self._clock.now()
        return "Scheduled" if later else "Queued"

    async def _put_on_queue(self, record: Record, sequence: int, decided: DecidedData, attempt: int) -> None:
        """Ask for its next run. Doing so again starts nothing twice: the claim of the second is refused."""
        request = msgspec.structs.replace(
            request_of(record),
            attempt=max(1, attempt),
            last_state=sequence,
            first_started_at=decided.first_started_at,
            waited_seconds=decided.waited_seconds,
            suspended_at=None if decided.step is None else decided.asked_at,
        )
        later = decided.run_at if decided.run_at is not None and decided.run_at > self._clock.now() else None
        lane = await self._lanes.choose(request.org, "normal", later)
        await self._bus.publish(next_run(request, lane, later), timeout=PUBLISH_SECONDS)

    async def _reject(self, record: Record, sequence: int, pending: PendingApproval, decisions: list[Decision]) -> None:
        data = RejectedData(decisions=decisions)
        _, event = await self._move(record, sequence, pending, lambda known: Rejected(**known, data=data))
        self._waiters.ended(record.execution_id, encode(event))

    async def _expire(self, record: Record, sequence: int, pending: PendingApproval, now: datetime) -> None:
        """It is too late; say so in the record too, where no executor has done it yet."""
        if pending.data.step is None:
            data = ApprovalExpiredData(expired_at=now, decisions=pending.data.decisions)
            await self._move(record, sequence, pending, lambda known: ApprovalExpired(**known, data=data))
        raise Conflict("The approval has expired.", details={"status": "ApprovalExpired"})

    async def _decided_before(
        self, record: Record, principal: Principal, verdict: Verdict, last: Stored | None, event: AnyEvent | None
    ) -> str:
        """It waits for no approval. If the caller's own decision was the last, he may not have heard the answer."""
        status = status_of(last)
        if last is not None and isinstance(event, Approved | Declined | Rejected):
            own = event.data.decisions[-1]
            if _same_person(own, principal) and own.approved == verdict.approved:
                if not isinstance(event, Rejected):
                    await self._put_on_queue(record, last.sequence, event.data, event.attempt)
                return status
        raise Conflict(f"It waits for no approval: it is {status}.", details={"status": status})

    def _check_hours(self, record: Record, pending: PendingApproval, now: datetime) -> None:
        hours, zone = pending.data.terms.office_hours, self._directory.time_zone(record.org)
        if hours is not None and not is_open(hours, zone, now):
            opens = next_opening(hours, zone, now)
            details = {"opens_at": None if opens is None else opens.isoformat()}
            raise Conflict(
                "Outside the office hours of this approval; refusing is possible at any time.", details=details
            )

    def _check_parameters(self, record: Record, pending: PendingApproval) -> None:
        """What would run must be what was put up for approval."""
        if pending.data.step is not None:
            return
        digest = pending.data.digest
        if record.sealed_input is None:
            same = digest == NO_PARAMETERS
        else:
            opened = self._sealer.open(record.sealed_input, parameters_context(record.org, record.execution_id))
            given = canonical(msgspec.json.decode(opened))
            same = self._sealer.is_digest(digest, given, digest_context(record.org, record.execution_id))
        if not same:
            raise Conflict("Its parameters are not those that were put up for approval.")

    async def _move(
        self, record: Record, sequence: int, pending: PendingApproval, make: Callable[[dict[str, Any]], StateEvent]
    ) -> tuple[int, StateEvent]:
        known = {
            "id": f"{record.execution_id}:decision:{sequence}",
            "source": self._source,
            "subject": record.execution_id,
            "time": self._clock.now(),
            "organization": record.org,
            "workflow": record.workflow,
            "attempt": pending.attempt,
        }
        event = make(known)
        tail = STATE_TAILS[type(event)]
        message = Message(
            subject=subjects.event(record.org, record.workflow, record.execution_id, tail),
            payload=encode(event),
            # Of its own: another's decision must not pass for it.
            id=f"{event.id}:{uuid.uuid4().hex}",
            expect_last=sequence,
            expect_on=_line(record),
        )
        return await self._bus.publish(message, timeout=PUBLISH_SECONDS), event


async def pending_approval(bus: Bus, record: Record) -> PendingApproval | None:
    """What an execution waits for now, if it waits for an approval."""
    last = await bus.last(subjects.EVENTS, _line(record))
    event = None if last is None else decode_event(last.payload)
    return event if isinstance(event, PendingApproval) else None


def request_of(record: Record) -> Request:
    """The request that an execution would be run with for the first time."""
    return Request(
        execution_id=record.execution_id,
        org=record.org,
        workflow=record.workflow,
        caller=record.caller,
        accepted_at=record.queued_at or record.listed_at,
        trigger=record.trigger,
        sealed_parameters=record.sealed_input,
        sensitive=[] if record.input is None else masked_names(bytes(record.input)),
    )


def next_run(request: Request, lane: str, later: datetime | None = None) -> Message:
    """The message that has it run on from its last state, now or later."""
    return request_message(request, lane, f"{request.execution_id}:{request.last_state}", later)


def _line(record: Record) -> str:
    return subjects.state_line(record.org, record.workflow, record.execution_id)


def approval_shown(
    directory: Directory, record: Record, pending: PendingApproval, principal: Principal
) -> ApprovalView:
    """The approval as this caller is shown it: with whether `Decider.decide` would let the caller decide."""
    there = principal.within(record.org)
    may = there.may(APPROVE_EXECUTIONS) and _objection(record, there, pending) is None
    return approval_view(pending.data, directory.time_zone(record.org), may_decide=may)


def _check_person(record: Record, principal: Principal, pending: PendingApproval) -> None:
    objection = _objection(record, principal, pending)
    if objection is not None:
        raise Forbidden(objection)


def _objection(record: Record, principal: Principal, pending: PendingApproval) -> str | None:
    terms, caller = pending.data.terms, record.caller
    own = caller.id == principal.key_id or _same_email(caller.email, principal.email)
    if own and not terms.allow_own:
        return "Somebody else has to decide on what you asked for yourself."
    if terms.approvers and not named(terms.approvers, _identities(principal)):
        return "You are not among those who may decide this."
    return None


def _identities(principal: Principal) -> list[str]:
    # Not "*": who is named is meant, and an administrator is not everybody.
    known = [principal.key_id, *principal.roles, *(principal.permissions - {EVERYTHING})]
    return known if principal.email is None else [*known, principal.email]


def _same_person(decision: Decision, principal: Principal) -> bool:
    return decision.by.id == principal.key_id or _same_email(decision.by.email, principal.email)


def _same_email(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one.casefold() == other.casefold()


def _check_digest(verdict: Verdict, digest: str) -> None:
    if verdict.digest is not None and verdict.digest != digest:
        raise Conflict("What is to be approved is not what you were shown.", details={"digest": digest})
