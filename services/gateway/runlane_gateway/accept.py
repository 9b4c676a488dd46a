"""Takes an execution in: publishes its request and the event that tells of it, or neither. Called by `calls`."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from runlane.approving import NO_PARAMETERS, expiry_message, pending_message
from runlane.clock import Clock
from runlane.contracts.approvals import ApprovalTerms
from runlane.contracts.records import Record
from runlane.contracts.requests import Request
from runlane.errors import BusUnavailable, RunlaneError, StateConflict
from runlane.lanes import Lanes
from runlane.ports import Bus, Message
from runlane.sealing import Sealer
from runlane.telemetry import logger
from runlane.tracing import trace_id_of

from .submissions import Submission, SubmissionMessages, addressed

_log = logger(__name__)

#: Answering 503 within two seconds leaves this much for the broker.
PUBLISH_SECONDS = 1.5

_TELL_AGAIN_SECONDS = 0.5
#: For so long after it refused an event whose request it took, the broker is not asked for both at once.
_CAREFUL = timedelta(seconds=60)


class Acceptor:
    """Publishes what was accepted. `last_sequence` is the highest place in EVENTS that this gateway has written."""

    def __init__(self, bus: Bus, sealer: Sealer, clock: Clock, name: str) -> None:
        self._bus, self.clock = bus, clock
        self._written = SubmissionMessages(sealer, f"/runlane/gateway/{name}")
        self.last_sequence = 0
        self.lanes = Lanes(bus)
        self._careful_until = datetime.min.replace(tzinfo=UTC)
        self._telling: dict[str, asyncio.Task[None]] = {}

    def same(self, submission: Submission, record: Record) -> bool:
        """Whether the record was made with the same parameters."""
        return self._written.same(submission, record)

    async def submit(self, submission: Submission) -> None:
        """Publish request and event together, one after the other where that went wrong a moment ago.

        Raises `MessageTooLarge`, `StorageFull`, `BusUnavailable`.
        """
        if submission.approval is not None or self.clock.now() < self._careful_until:
            await self.submit_once(submission)
            return
        request, queued = self._written.messages(submission, self.clock.now())
        message = await self._addressed(submission, request, submission.run_at)
        # The event goes first: where the connection breaks between them, nothing runs that no record tells of.
        told, stored = await asyncio.gather(
            self._bus.publish(queued, timeout=PUBLISH_SECONDS),
            self._bus.publish(message, timeout=PUBLISH_SECONDS),
            return_exceptions=True,
        )
        if isinstance(told, int):
            self.last_sequence = max(self.last_sequence, told)
            if isinstance(stored, RunlaneError):
                await self._withdraw(submission, stored)
        elif isinstance(stored, int):
            # Should this gateway die before it has told, no record would say what was asked: no more of these.
            self._careful_until = self.clock.now() + _CAREFUL
            self._telling[submission.execution_id] = asyncio.create_task(self._keep_telling(queued, submission))
        for outcome in (stored, told):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _keep_telling(self, queued: Message, submission: Submission) -> None:
        """It will run, but the broker had no place for the event that tells of it: store that when there is one."""
        _log.warning("an execution is queued that no event tells of yet", **_names(submission))
        try:
            while True:
                with suppress(BusUnavailable):
                    await self._bus.publish(queued)
                    return
                await asyncio.sleep(_TELL_AGAIN_SECONDS)
        except RunlaneError as problem:
            if not isinstance(problem, StateConflict):  # a conflict: it was stored, and only its answer was lost
                _log.error("no event tells of it", **_names(submission), reason=problem.message)
        finally:
            del self._telling[submission.execution_id]

    async def submit_once(self, submission: Submission, beside: Message | None = None) -> None:
        """Publish the event, and only when it is the first of its execution the request; else `StateConflict`.

        One after the other: a request with other parameters must not be queued under an id that is taken. With the
        request goes out what is to be told `beside` it; where that alone fails, the execution is accepted nevertheless.
        """
        request, queued = self._written.messages(submission, self.clock.now())
        message = await self._addressed(submission, request, submission.run_at)
        told = await self._bus.publish(queued, timeout=PUBLISH_SECONDS)
        self.last_sequence = max(self.last_sequence, told)
        begun, noted = await asyncio.gather(
            self._begin(submission, request, message), self._note(beside), return_exceptions=True
        )
        for outcome in (begun, noted):
            if isinstance(outcome, BaseException):
                raise outcome

    async def _begin(self, submission: Submission, request: Request, message: Message) -> None:
        """Publish the request, or have it approved first."""
        if submission.approval is not None:
            await self._put_up(submission, submission.approval, request)
            return
        try:
            await self._bus.publish(message, timeout=PUBLISH_SECONDS)
        except RunlaneError as problem:
            if not submission.repeatable:
                await self._withdraw(submission, problem)
            raise

    async def _note(self, beside: Message | None) -> None:
        if beside is None:
            return
        try:
            told = await self._bus.publish(beside, timeout=PUBLISH_SECONDS)
            self.last_sequence = max(self.last_sequence, told)
        except RunlaneError as problem:
            _log.warning("an event was not stored", subject=beside.subject, reason=problem.message)

    async def _put_up(self, submission: Submission, terms: ApprovalTerms, request: Request) -> None:
        """Have it wait for its approval instead of an executor; first of all see to it that the wait will end."""
        digest = self._written.digest(submission) if submission.parameters else NO_PARAMETERS
        pending = pending_message(self._written.source, request, terms, digest, self.clock.now(), submission.run_at)
        try:
            await self._bus.publish(expiry_message(request, terms.expires_at), timeout=PUBLISH_SECONDS)
            told = await self._bus.publish(pending, timeout=PUBLISH_SECONDS)
            self.last_sequence = max(self.last_sequence, told)
        except StateConflict:
            return  # it was put up before
        except RunlaneError as problem:
            if not submission.repeatable:
                await self._withdraw(submission, problem)
            raise

    async def submit_again(self, submission: Submission, record: Record) -> None:
        """Publish the request of an execution that no executor has claimed: the first one may never have been stored.

        If it was, the claim of the second is refused, so this starts nothing twice.
        """
        request = self._written.request(submission, record.sealed_input, record.queued_at or self.clock.now())
        if submission.approval is not None:
            again = msgspec.structs.replace(submission, run_at=record.run_at)
            await self._put_up(again, submission.approval, request)
            return
        message = await self._addressed(submission, request, record.run_at)
        await self._bus.publish(message, timeout=PUBLISH_SECONDS)

    async def _addressed(self, submission: Submission, request: Request, run_at: datetime | None) -> Message:
        lane = await self.lanes.choose(submission.org, submission.priority, run_at)
        return addressed(request, lane, run_at)

    async def _withdraw(self, submission: Submission, reason: RunlaneError) -> None:
        """The event is stored, the request is not: without this the execution would be Queued for ever."""
        message = self._written.withdrawn(submission, reason, self.clock.now())
        try:
            await self._bus.publish(message, timeout=PUBLISH_SECONDS / 3)
        except RunlaneError as problem:
            _log.warning("a refused execution stays queued", **_names(submission), reason=problem.message)


def _names(submission: Submission) -> dict[str, str]:
    """What log lines about it are found by."""
    execution_id = submission.execution_id
    trace_id = trace_id_of(submission.traceparent, execution_id)
    return {"execution_id": execution_id, "trace_id": trace_id, "org": submission.org}
