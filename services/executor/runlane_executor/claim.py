"""Decides who runs an execution: one compare-and-set, and what to do when somebody else's came first."""

from datetime import datetime
from typing import TypeAlias

import msgspec
from msgspec import Struct

from runlane.approving import expiry_message
from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import (
    ApprovalExpired,
    ApprovalExpiredData,
    Approved,
    Declined,
    Event,
    Failed,
    FailedData,
    Failure,
    PendingApproval,
    Retrying,
    RetryingData,
    Started,
    StartedData,
    Suspended,
    SuspendedData,
    TerminalEvent,
)
from runlane.contracts.requests import Request
from runlane.errors import ExecutorLost, StateConflict
from runlane.ports import Stored
from runlane.sealing import Sealer
from runlane_executor.burial import Burial
from runlane_executor.journal import event_is_waiting
from runlane_executor.stateline import StateLine

#: So many executors may die under one execution before it is given up: it may be what kills them.
MAX_LOSSES = 10


class Claimed(Struct, frozen=True):
    """This executor runs it. `sequence` is the claim's place in the stream, and the fencing token of all it writes.

    `waited_seconds`: how much of the time since its first start it was suspended. `crashes`: how many child processes
    have died under it.
    """

    sequence: int
    first_started_at: datetime
    losses: int = 0
    waited_seconds: float = 0.0
    resumed: bool = False
    crashes: int = 0


class Settled(Struct, frozen=True):
    """There is nothing to run. `terminal` is the event that ended it, as stored, where it has ended."""

    terminal: bytes | None = None


Verdict: TypeAlias = Claimed | Settled

#: States that somebody was to follow with a request for the next run.
Asking: TypeAlias = Retrying | Suspended | PendingApproval | Approved | Declined


class Claims:
    """Claims executions for one executor."""

    def __init__(self, line: StateLine, clock: Clock, sealer: Sealer) -> None:
        self._line, self._clock, self._sealer = line, clock, sealer
        self._burial = Burial(line, clock)

    async def claim(self, request: Request, message: str, lane: str, version: str) -> Verdict:
        """Claim the execution that the work-queue message `message` asks for."""
        if request.wake:
            return await self._look(request, lane)
        now = self._clock.now()
        first, resumed = request.first_started_at or now, request.first_started_at is not None
        waited = request.waited_seconds
        if request.suspended_at is not None:
            waited += max(0.0, (now - request.suspended_at).total_seconds())
        started = self.started(
            request,
            message,
            first,
            version,
            resumed=resumed,
            waited=waited,
            crashes=request.crashes,
            reason=request.redriven,
        )
        try:
            sequence = await self._line.move(request, started, request.last_state)
            return Claimed(sequence, first, waited_seconds=waited, resumed=resumed, crashes=request.crashes)
        except StateConflict:
            return await self._resolve(request, message, lane, version)

    def started(  # noqa: PLR0913  # each is a fact of its own
        self,
        request: Request,
        message: str,
        first: datetime,
        version: str,
        *,
        resumed: bool,
        losses: int = 0,
        crashes: int = 0,
        waited: float = 0.0,
        reason: str | None = None,
    ) -> Started:
        """The event that takes possession."""
        now = self._clock.now()
        data = StartedData(
            executor=self._line.executor,
            request=message,
            first_started_at=first,
            resumed=resumed,
            losses=losses,
            crashes=crashes,
            waited_seconds=waited,
            workflow_version=version,
            reason=reason,
        )
        return Started(**self._line.envelope(request, now, f"started:{request.attempt}:{losses}"), data=data)

    async def _resolve(self, request: Request, message: str, lane: str, version: str) -> Verdict:
        """The state is not what the request expected: see what it is, and take over if its owner is gone."""
        while True:
            found = await self._line.last(request)
            if found is None:
                # The events have aged out of the stream; nobody else can own it.
                first, resumed = request.first_started_at or self._clock.now(), request.first_started_at is not None
                taken = self.started(request, message, first, version, resumed=resumed)
                expect = 0
            else:
                stored, state = found
                if not (isinstance(state, Started) and state.data.request == message):
                    # Its owner may have died between saying so and asking for the next run; or another message holds
                    # the lease, and will be delivered again if its owner dies.
                    return await self._follow_up(request, stored, state, lane)
                expect = stored.sequence
                if state.data.losses >= MAX_LOSSES:
                    return await self._give_up(request, message, expect)
                taken = self._taken_over(request, message, state, version)
            try:
                sequence = await self._line.move(request, taken, expect)
            except StateConflict:
                continue
            data = taken.data
            return Claimed(
                sequence,
                data.first_started_at,
                data.losses,
                data.waited_seconds,
                resumed=data.resumed,
                crashes=data.crashes,
            )

    def _taken_over(self, request: Request, message: str, state: Started, version: str) -> Started:
        data = state.data
        return self.started(
            request,
            message,
            data.first_started_at,
            version,
            resumed=True,
            losses=data.losses + 1,
            crashes=data.crashes,
            waited=data.waited_seconds,
            reason="executor lost",
        )

    async def _look(self, request: Request, lane: str) -> Verdict:
        """Somebody may have moved the execution and died before he told the queue, or its approval has expired."""
        found = await self._line.last(request)
        if found is not None:
            return await self._follow_up(request, *found, lane)
        if await self._line.is_queued(request):
            # Whoever accepted it died before he had put it up for approval. Nobody can give one any more.
            return await self._expire(request, lane, 0, None)
        return Settled()

    async def _follow_up(self, request: Request, stored: Stored, state: Event, lane: str) -> Verdict:
        """See to it that the next run of an execution that nobody runs is on the queue, at its time."""
        if isinstance(state, TerminalEvent):
            return Settled(stored.payload)
        if not isinstance(state, Asking):
            return Settled()
        if request.last_state >= stored.sequence and not request.wake:
            raise StateConflict("The state line cannot be read up to its end yet.")  # from a replica that lags
        if isinstance(state, PendingApproval) and state.data.step is None:
            if self._clock.now() >= state.data.terms.expires_at:
                return await self._expire(request, lane, stored.sequence, state)
            await self._line.publish(expiry_message(request, state.data.terms.expires_at, lane))
        else:
            await self.ask_again(request, state, stored.sequence, lane)
        return Settled()

    async def ask_again(self, request: Request, state: Asking, sequence: int, lane: str) -> None:
        """Put the request for the next run of a waiting execution on the queue, for its time."""
        data = state.data
        following = msgspec.structs.replace(
            request,
            attempt=data.next_attempt if isinstance(data, RetryingData) else max(1, state.attempt),
            last_state=sequence,
            first_started_at=data.first_started_at,
            waited_seconds=data.waited_seconds,
            suspended_at=_suspended_at(state),
            wake=False,
        )
        at = await self._next_run_at(request, state, sequence)
        if at is not None:
            await self._line.request_later(following, lane, at)

    async def _next_run_at(self, request: Request, state: Asking, sequence: int) -> datetime | None:
        match state:
            case Retrying(data=retrying):
                return retrying.next_attempt_at
            case Suspended(data=suspended):
                return self._clock.now() if await self._has_come(request, suspended, sequence) else suspended.until
            case PendingApproval(data=pending):
                return pending.terms.expires_at
            case Approved(data=decided) | Declined(data=decided):
                return max(decided.run_at, self._clock.now()) if decided.run_at is not None else self._clock.now()

    async def _has_come(self, request: Request, suspended: SuspendedData, sequence: int) -> bool:
        """Whether the event that it waits for was there before it said that it waits."""
        name = subjects.awaited_event(suspended.reason)
        return name is not None and await event_is_waiting(self._line.bus, self._sealer, request, name, sequence)

    async def _expire(self, request: Request, lane: str, expect: int, state: PendingApproval | None) -> Verdict:
        now = self._clock.now()
        data = ApprovalExpiredData(expired_at=now, decisions=[] if state is None else state.data.decisions)
        never_run = msgspec.structs.replace(request, attempt=0)
        expired = ApprovalExpired(**self._line.envelope(never_run, now, "approval_expired"), data=data)
        try:
            await self._line.move(request, expired, expect)
        except StateConflict:
            # Decided in the last moment, or only now put up for approval: then its time has to be seen to.
            return await self._look(request, lane)
        return Settled(encode(expired))

    async def _give_up(self, request: Request, message: str, expect: int) -> Verdict:
        lost = ExecutorLost()
        await self._burial.keep(request, "executor_lost", f"{MAX_LOSSES} executors died under it", message, "")
        failure = Failure(lost.code, lost.message, {"losses": MAX_LOSSES})
        envelope = self._line.envelope(request, self._clock.now(), "failed")
        failed = Failed(**envelope, data=FailedData(failure=failure, duration_ms=0))
        try:
            await self._line.move(request, failed, expect)
        except StateConflict:
            return Settled()
        return Settled(encode(failed))


def _suspended_at(state: Asking) -> datetime | None:
    """Since when its time does not count."""
    match state:
        case Suspended():
            return state.time
        case PendingApproval(data=waiting) | Approved(data=waiting) | Declined(data=waiting):
            return None if waiting.step is None else waiting.asked_at
        case _:
            return None
