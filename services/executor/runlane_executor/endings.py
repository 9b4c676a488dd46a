"""What becomes of a run when it is over: the next state, the answer to a waiting caller, the acknowledgement."""

from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec

from runlane.clock import Clock
from runlane.contracts.messages import (
    Cancelled,
    Failed,
    FailedData,
    Failure,
    Request,
    Retrying,
    RetryingData,
    StateEvent,
    Succeeded,
    SucceededData,
    Suspended,
    SuspendedData,
    TerminalEvent,
    TraceEntry,
    decode_event,
    encode,
)
from runlane.errors import MessageTooLarge, ResultTooLarge, StateConflict
from runlane.retry import delay_seconds, may_retry
from runlane_executor.claim import Claims
from runlane_executor.execution import Execution
from runlane_executor.frames import Paused, Raised, Returned
from runlane_executor.stateline import StateLine, as_entries

#: What result and trace of a final event may take together; the broker takes a little more.
_EVENT_BYTES = 800 * 1024


class Endings:
    """Ends runs on behalf of one executor."""

    def __init__(self, line: StateLine, claims: Claims, clock: Clock, random: Callable[[], float]) -> None:
        self._line, self._claims, self._clock, self._random = line, claims, clock, random

    async def end(self, execution: Execution, outcome: Returned | Raised | Paused) -> str:
        """Write the next state, answer and acknowledge; the new state's name, `fenced` if it was refused."""
        taken = len(outcome.result) if isinstance(outcome, Returned) else 0
        rest = as_entries(await execution.trace.rest(_EVENT_BYTES - taken))
        now = self._clock.now()
        match outcome:
            case Returned():
                event: StateEvent = self._succeeded(execution, outcome, now, rest)
            case Raised():
                event = self._failed_or_retrying(execution, outcome, now, rest)
            case Paused():
                event = self._suspended(execution, outcome, now, rest)
        try:
            sequence, event = await self._move(execution, event)
        except StateConflict:
            await self.settle(execution)
            return "fenced"
        if isinstance(event, Retrying | Suspended):
            await self._claims.ask_again(execution.request, event, sequence, execution.lease.lane)
        else:
            self.answer(execution.request, encode(event))
        execution.lease.delivery.ack()
        return type(event).__name__.lower()

    async def settle(self, execution: Execution) -> None:
        """Somebody else moved the state line: acknowledge if that ended it, else leave the message to its new owner."""
        found = await self._line.last(execution.request)
        if found is not None and isinstance(found[1], TerminalEvent):
            self.answer(execution.request, found[0].payload)
            execution.lease.delivery.ack()

    async def hand_back(self, execution: Execution) -> str:
        """This executor is ending: what was traced is stored, the message goes to another."""
        execution.trace.flush()
        await execution.trace.rest()
        execution.lease.delivery.nak()
        return "handed_back"

    def answer(self, request: Request, terminal: bytes) -> None:
        """Tell the waiting caller, if there is one. What it is told is what is stored."""
        if request.reply_to is not None:
            self._line.bus.send(request.reply_to, _without_trace(terminal))

    async def _move(self, execution: Execution, event: StateEvent) -> tuple[int, StateEvent]:
        expect = execution.claimed.sequence
        try:
            return await self._line.move(execution.request, event, expect), event
        except MessageTooLarge as problem:
            too_large = self._too_large(execution, problem)
            return await self._line.move(execution.request, too_large, expect), too_large

    def _succeeded(self, execution: Execution, outcome: Returned, now: datetime, rest: list[TraceEntry]) -> Succeeded:
        data = SucceededData(result=msgspec.Raw(outcome.result), duration_ms=_duration(execution, now), trace=rest)
        return Succeeded(**self._line.envelope(execution.request, now, "succeeded"), data=data)

    def _failed_or_retrying(
        self, execution: Execution, outcome: Raised, now: datetime, rest: list[TraceEntry]
    ) -> Failed | Retrying:
        retry_at = self._retry_at(execution, outcome, now)
        if retry_at is None:
            data = FailedData(failure=outcome.failure, duration_ms=_duration(execution, now), trace=rest)
            return Failed(**self._line.envelope(execution.request, now, "failed"), data=data)
        attempt = execution.request.attempt
        retrying = RetryingData(
            failure=outcome.failure,
            next_attempt=attempt + 1,
            next_attempt_at=retry_at,
            first_started_at=execution.claimed.first_started_at,
            trace=rest,
        )
        return Retrying(**self._line.envelope(execution.request, now, f"retrying:{attempt}"), data=retrying)

    def _retry_at(self, execution: Execution, outcome: Raised, now: datetime) -> datetime | None:
        settings, attempt = execution.manifest.retry, execution.request.attempt
        names = [outcome.failure.error, *outcome.names]
        if not all(may_retry(settings, name, outcome.retryable, attempt) for name in names):
            return None
        at = now + timedelta(seconds=delay_seconds(settings, attempt, self._random))
        limit = timedelta(seconds=execution.manifest.max_duration_seconds)
        return at if at < execution.claimed.first_started_at + limit else None

    def _suspended(self, execution: Execution, outcome: Paused, now: datetime, rest: list[TraceEntry]) -> Suspended:
        first, until = execution.claimed.first_started_at, outcome.until
        if until is not None:
            # Who would sleep past the limit over all attempts wakes up at it, to be ended.
            until = min(until, first + timedelta(seconds=execution.manifest.max_duration_seconds))
        data = SuspendedData(reason=outcome.reason, until=until, first_started_at=first, trace=rest)
        name = f"suspended:{execution.claimed.sequence}"
        return Suspended(**self._line.envelope(execution.request, now, name), data=data)

    def _too_large(self, execution: Execution, problem: MessageTooLarge) -> Failed:
        error = ResultTooLarge(details=problem.details)
        failure = Failure(error.code, error.message, error.details)
        now = self._clock.now()
        data = FailedData(failure=failure, duration_ms=_duration(execution, now))
        return Failed(**self._line.envelope(execution.request, now, "failed"), data=data)


def _duration(execution: Execution, now: datetime) -> int:
    return max(0, int((now - execution.claimed.first_started_at).total_seconds() * 1000))


def _without_trace(terminal: bytes) -> bytes:
    """A caller gets the outcome; the trace that travelled with it is in the record."""
    if b'"trace":[{' not in terminal:
        return terminal
    event = decode_event(terminal)
    if isinstance(event, Cancelled) or not isinstance(event, Succeeded | Failed):
        return terminal
    return encode(msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, trace=[])))
