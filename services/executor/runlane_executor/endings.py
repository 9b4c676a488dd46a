"""What becomes of a run when it is over: the next state, the answer to a waiting caller, the acknowledgement."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import msgspec

from runlane.clock import Clock
from runlane.contracts.approvals import ApprovalAsk, ApprovalTerms
from runlane.contracts.encoding import encode
from runlane.contracts.events import (
    Failed,
    FailedData,
    Failure,
    PendingApproval,
    PendingApprovalData,
    Retrying,
    RetryingData,
    StateEvent,
    Succeeded,
    SucceededData,
    Suspended,
    SuspendedData,
    TerminalEvent,
    decode_event,
)
from runlane.contracts.requests import Request
from runlane.contracts.trace import TraceEntry
from runlane.errors import HistoryExpired, MessageTooLarge, ResultTooLarge, StateConflict, WorkflowException
from runlane.retry import delay_seconds, may_retry
from runlane.sealing import Sealer
from runlane_executor.claim import Asking, Claims
from runlane_executor.execution import Execution
from runlane_executor.frames import Paused, Raised, Returned
from runlane_executor.stateline import StateLine, as_entries

#: Why an execution is suspended whose executor is drained.
HANDED_BACK = "handed back: its executor is ending"

#: What result and trace of a final event may take together; the broker takes a little more.
_EVENT_BYTES = 800 * 1024


class Endings:
    """Ends runs on behalf of one executor. `retention`: how long the stream keeps events, and so what a run stored."""

    def __init__(
        self,
        line: StateLine,
        claims: Claims,
        clock: Clock,
        sealer: Sealer,
        random: Callable[[], float],
        retention: timedelta,
    ) -> None:
        self._line, self._claims, self._clock = line, claims, clock
        self._sealer, self._random, self._retention = sealer, random, retention

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
            case Paused(until=datetime() as until) if self.outlives_its_events(execution, until):
                event = self._ended_by(execution, HistoryExpired(), rest)
            case Paused(approval=ApprovalAsk() as ask):
                event = self._pending_approval(execution, ask, outcome.until or now, now, rest)
            case Paused():
                event = self._suspended(execution, outcome, now, rest)
        try:
            sequence, event = await self._move(execution, event)
        except StateConflict:
            await self.settle(execution)
            return "fenced"
        if isinstance(event, Asking):
            asking = msgspec.structs.replace(execution.request, crashes=execution.crashes, redriven=None)
            await self._claims.ask_again(asking, event, sequence, execution.lease.lane)
        else:
            self.answer(execution.request, encode(event))
        execution.lease.delivery.ack()
        return type(event).__name__.lower()

    def outlives_its_events(self, execution: Execution, moment: datetime) -> bool:
        """Whether the first of what it stored has left the stream by then: steps that ran would run again."""
        return moment - execution.claimed.first_started_at >= self._retention

    async def settle(self, execution: Execution) -> None:
        """Somebody else moved the state line: acknowledge if that ended it, else leave the message to its new owner."""
        found = await self._line.last(execution.request)
        if found is not None and isinstance(found[1], TerminalEvent):
            self.answer(execution.request, found[0].payload)
            execution.lease.delivery.ack()

    async def hand_back(self, execution: Execution) -> str:
        """This executor is ending: another goes on with it, from its journal.

        A suspension that is over at once, and no loss: nobody died.
        """
        became = await self.end(execution, Paused(execution.id, HANDED_BACK, self._clock.now()))
        return "handed_back" if became == "suspended" else became

    def answer(self, request: Request, terminal: bytes) -> None:
        """Tell the waiting caller, if there is one. What it is told is what is stored."""
        if request.reply_to is not None:
            self._line.bus.send(request.reply_to, _without_trace(terminal))

    async def _move(self, execution: Execution, event: StateEvent) -> tuple[int, StateEvent]:
        expect = execution.claimed.sequence
        try:
            return await self._line.move(execution.request, event, expect), event
        except MessageTooLarge as problem:
            too_large = self._ended_by(execution, ResultTooLarge(details=problem.details))
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
            waited_seconds=execution.claimed.waited_seconds,
            trace=rest,
        )
        return Retrying(**self._line.envelope(execution.request, now, f"retrying:{attempt}"), data=retrying)

    def _retry_at(self, execution: Execution, outcome: Raised, now: datetime) -> datetime | None:
        settings, attempt = execution.manifest.retry, execution.request.attempt
        names = [outcome.failure.error, *outcome.names]
        if not all(may_retry(settings, name, outcome.retryable, attempt) for name in names):
            return None
        at = now + timedelta(seconds=delay_seconds(settings, attempt, self._random))
        too_late = execution.seconds_spent(at) >= execution.manifest.max_duration_seconds
        return None if too_late or self.outlives_its_events(execution, at) else at

    def _suspended(self, execution: Execution, outcome: Paused, now: datetime, rest: list[TraceEntry]) -> Suspended:
        claimed = execution.claimed
        data = SuspendedData(
            reason=outcome.reason,
            until=outcome.until,
            first_started_at=claimed.first_started_at,
            waited_seconds=claimed.waited_seconds,
            trace=rest,
        )
        name = f"suspended:{claimed.sequence}"
        return Suspended(**self._line.envelope(execution.request, now, name), data=data)

    def _pending_approval(
        self, execution: Execution, ask: ApprovalAsk, until: datetime, now: datetime, rest: list[TraceEntry]
    ) -> PendingApproval:
        request, claimed = execution.request, execution.claimed
        data = PendingApprovalData(
            terms=ApprovalTerms(
                expires_at=until,
                rule=f"asked for by {request.workflow}",
                message=ask.message,
                approvers=ask.approvers,
                count=ask.count,
            ),
            digest=self._sealer.digest(ask.message.encode(), f"{request.org}|{request.execution_id}|{ask.step}"),
            asked_at=now,
            step=ask.step,
            first_started_at=claimed.first_started_at,
            waited_seconds=claimed.waited_seconds,
            trace=rest,
        )
        name = f"pending_approval:{claimed.sequence}"
        return PendingApproval(**self._line.envelope(request, now, name), data=data)

    def _ended_by(self, execution: Execution, error: WorkflowException, trace: Sequence[TraceEntry] = ()) -> Failed:
        failure = Failure(error.code, error.message, error.details)
        now = self._clock.now()
        data = FailedData(failure=failure, duration_ms=_duration(execution, now), trace=list(trace))
        return Failed(**self._line.envelope(execution.request, now, "failed"), data=data)


def _duration(execution: Execution, now: datetime) -> int:
    return max(0, int((now - execution.claimed.first_started_at).total_seconds() * 1000))


def _without_trace(terminal: bytes) -> bytes:
    """A caller gets the outcome; the trace that travelled with it is in the record."""
    if b'"trace":[{' not in terminal:
        return terminal
    event = decode_event(terminal)
    if not isinstance(event, Succeeded | Failed):
        return terminal
    return encode(msgspec.structs.replace(event, data=msgspec.structs.replace(event.data, trace=[])))
