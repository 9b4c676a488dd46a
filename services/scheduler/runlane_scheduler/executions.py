"""What the scheduler asks of executions: start one for a tick, see how one stands, cancel one. Called by `ticker`."""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from runlane.approving import NO_PARAMETERS, expiry_message, pending_message, terms_of
from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.approvals import ApprovalTerms
from runlane.contracts.encoding import encode
from runlane.contracts.events import STATE_TAILS, TERMINAL, Cancelled, CancelledData, Queued, QueuedData, decode_event
from runlane.contracts.requests import Caller, Request, Trigger
from runlane.errors import BusUnavailable, StateConflict
from runlane.ids import repeatable_execution_id
from runlane.lanes import Lanes
from runlane.ports import Bus, Message
from runlane.requesting import request_message
from runlane.telemetry import logger
from runlane.tracing import trace_id_of

from .plans import Plan

_log = logger(__name__)

_CALLER = Caller(id="scheduler", name="Scheduler")
_NO_INPUT = Raw(b"{}")
_ENDED = frozenset(STATE_TAILS[kind] for kind in TERMINAL)

#: How often a cancel runs after a state line that moves under it before it waits for the next round.
_CANCEL_ATTEMPTS = 5

Phase: TypeAlias = Literal["absent", "queued", "running", "ended"]


class Standing(Struct, frozen=True):
    """How far an execution is. `sequence` is its last state's, `attempt` that state's."""

    phase: Phase
    sequence: int = 0
    attempt: int = 0

    @property
    def unfinished(self) -> bool:
        return self.phase in ("queued", "running")


@lru_cache(maxsize=256)
def iso(moment: datetime) -> str:
    """`2026-11-23T09:00:00Z`: a tick as ids and references name it."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def execution_of(plan: Plan, scheduled_for: datetime) -> str:
    """The id of the execution that a tick starts: the same for every scheduler."""
    return _execution_id(plan.workflow, plan.org, iso(scheduled_for))


@lru_cache(maxsize=1024)  # of each tick it is asked three times
def _execution_id(workflow: str, org: str, tick: str) -> str:
    return repeatable_execution_id("tick", workflow, org, tick)


class Executions:
    """Starts, watches and cancels executions over the bus, as `source`."""

    def __init__(self, bus: Bus, clock: Clock, source: str) -> None:
        self._bus, self._clock, self._source = bus, clock, source
        self._lanes = Lanes(bus)

    async def start(self, plan: Plan, scheduled_for: datetime) -> None:
        """Publish the tick's `queued` event and its request. Doing it twice, or in two schedulers, starts it once.

        Raises `BusUnavailable`; then it is not known how much of it was stored, and it must be done again.
        """
        execution_id, now = execution_of(plan, scheduled_for), self._clock.now()
        run_at = scheduled_for + timedelta(seconds=_jitter(plan, execution_id))
        later = run_at if run_at > now else None
        trigger = Trigger("schedule", iso(scheduled_for))
        request = _request(plan, execution_id, trigger, now)
        terms = terms_of(plan.manifest, plan.rule, now)
        await self._tell(plan, execution_id, now, _told(plan, trigger, later, needs_approval=terms is not None))
        if terms is None:
            lane = await self._lanes.choose(plan.org, plan.manifest.priority or "normal", later)
            await self._bus.publish(request_message(request, lane, execution_id, later))
        else:
            await self._put_up(request, terms, now, later)

    async def withdraw(self, plan: Plan, scheduled_for: datetime, reason: str) -> None:
        """Have the tick's execution be there, and cancelled before it started; one that runs after all is left alone.

        Raises `BusUnavailable`; then it must be done again.
        """
        execution_id, now = execution_of(plan, scheduled_for), self._clock.now()
        trigger = Trigger("schedule", iso(scheduled_for))
        await self._tell(plan, execution_id, now, _told(plan, trigger, None, needs_approval=False))
        try:
            await self._bus.publish(self._cancelled(plan, execution_id, Standing("queued"), reason))
        except StateConflict:
            _log.debug("it runs after all", execution_id=execution_id)

    async def _tell(self, plan: Plan, execution_id: str, now: datetime, data: QueuedData) -> None:
        try:
            await self._bus.publish(self._queued(plan, execution_id, now, data))
        except StateConflict:
            # Another scheduler was here; it may have died before its request was stored.
            _log.debug("already queued", execution_id=execution_id, trace_id=trace_id_of(None, execution_id))

    async def _put_up(self, request: Request, terms: ApprovalTerms, now: datetime, later: datetime | None) -> None:
        """Have it wait for its approval, unless it does so already."""
        line = subjects.state_line(request.org, request.workflow, request.execution_id)
        if await self._bus.last(subjects.EVENTS, line) is not None:
            return
        await self._bus.publish(expiry_message(request, terms.expires_at))
        try:
            await self._bus.publish(pending_message(self._source, request, terms, NO_PARAMETERS, now, later))
        except StateConflict:
            _log.debug("already put up for approval", execution_id=request.execution_id)

    async def standing(self, plan: Plan, execution_id: str) -> Standing:
        """How far an execution of this schedule is, from the stream."""
        state = await self._bus.last(subjects.EVENTS, subjects.state_line(plan.org, plan.workflow, execution_id))
        if state is None:
            queued = subjects.event(plan.org, plan.workflow, execution_id, "queued")
            return Standing("absent" if await self._bus.last(subjects.EVENTS, queued) is None else "queued")
        parsed = subjects.parse_event(state.subject)
        ended = parsed is not None and parsed.tail in _ENDED
        return Standing("ended" if ended else "running", state.sequence, _attempt(state.payload))

    async def cancel(self, plan: Plan, execution_id: str, reason: str) -> None:
        """Cancel an execution unless it has ended; raises `BusUnavailable` when that cannot be told now."""
        for _ in range(_CANCEL_ATTEMPTS):
            standing = await self.standing(plan, execution_id)
            if not standing.unfinished:
                return
            try:
                await self._bus.publish(self._cancelled(plan, execution_id, standing, reason))
            except StateConflict:
                continue
            self._bus.send(subjects.cancel(execution_id), b"")
            return
        raise BusUnavailable(f"Execution {execution_id} moves on too fast to be cancelled.")

    def _queued(self, plan: Plan, execution_id: str, now: datetime, data: QueuedData) -> Message:
        event = Queued(
            id=f"{execution_id}:queued",
            source=self._source,
            subject=execution_id,
            time=now,
            organization=plan.org,
            workflow=plan.workflow,
            data=data,
        )
        subject = subjects.event(plan.org, plan.workflow, execution_id, "queued")
        return Message(subject=subject, payload=encode(event), id=event.id, expect_last=0)

    def _cancelled(self, plan: Plan, execution_id: str, standing: Standing, reason: str) -> Message:
        event = Cancelled(
            id=f"{execution_id}:cancelled:{standing.sequence}",
            source=self._source,
            subject=execution_id,
            time=self._clock.now(),
            organization=plan.org,
            workflow=plan.workflow,
            attempt=standing.attempt,
            data=CancelledData(by=_CALLER, reason=reason),
        )
        return Message(
            subject=subjects.event(plan.org, plan.workflow, execution_id, STATE_TAILS[Cancelled]),
            payload=encode(event),
            id=event.id,
            expect_last=standing.sequence,
            expect_on=subjects.state_line(plan.org, plan.workflow, execution_id),
        )


def _told(plan: Plan, trigger: Trigger, run_at: datetime | None, *, needs_approval: bool) -> QueuedData:
    return QueuedData(
        trigger=trigger,
        caller=_CALLER,
        input=_NO_INPUT,
        run_at=run_at,
        tags=list(plan.manifest.tags),
        needs_approval=needs_approval,
    )


def _request(plan: Plan, execution_id: str, trigger: Trigger, now: datetime) -> Request:
    return Request(
        execution_id=execution_id,
        org=plan.org,
        workflow=plan.workflow,
        caller=_CALLER,
        accepted_at=now,
        trigger=trigger,
    )


def _jitter(plan: Plan, execution_id: str) -> float:
    """Seconds in [0, jitter_seconds). The id is a hash of the tick, so every scheduler arrives at the same."""
    return plan.manifest.jitter_seconds * int(execution_id[:8], 16) / 2**32


def _attempt(payload: bytes) -> int:
    try:
        return decode_event(payload).attempt
    except msgspec.DecodeError:
        return 0  # of another version; its place on the line is what counts
