"""Gives messages up: a dead letter is kept, and the execution that it was about ends visibly. Used all over here."""

import msgspec
from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts.encoding import encode
from runlane.contracts.events import Approved, Declined, Failed, FailedData, Failure, Retrying, Started, Suspended
from runlane.contracts.requests import Caller, Request
from runlane.deadletters import DeadKind, DeadLetter, letter_message
from runlane.errors import BadMessage, StateConflict
from runlane.ids import is_token
from runlane.telemetry import logger
from runlane_executor import metrics
from runlane_executor.stateline import StateLine

_log = logger(__name__)
_ENGINE = Caller(id="runlane")


class GivenUp(Struct, frozen=True, kw_only=True):
    """A message that nobody can do anything with. `source` is `{stream}:{sequence}`."""

    kind: DeadKind
    reason: str
    source: str
    subject: str
    payload: bytes
    id: str = ""
    deliveries: int = 1


class _Known(Struct):
    """What can be read of a request whatever else is in it."""

    execution_id: str | None = None
    version: int = 1


class Burial:
    """Keeps dead letters on behalf of one executor."""

    def __init__(self, line: StateLine, clock: Clock) -> None:
        self._line, self._clock = line, clock

    async def keep(self, request: Request, kind: DeadKind, reason: str, source: str, subject: str) -> None:
        """Keep the letter of an execution that its owner ends himself."""
        letter = DeadLetter(
            kind=kind,
            reason=reason,
            at=self._clock.now(),
            source=source,
            subject=subject,
            org=request.org,
            workflow=request.workflow,
            execution_id=request.execution_id,
            ended=True,
        )
        await self._store(letter, encode(request))

    async def bury(self, given_up: GivenUp) -> None:
        """Keep the letter and end the execution as Failed, if the message names one that waits for just this message.

        Safe to repeat: the letter is stored once, and an execution ends once.
        """
        org, workflow = [*given_up.subject.split(".")[3:5], "", ""][:2]
        execution = execution_in(given_up)
        ended = False
        if execution is not None and is_token(org) and is_token(workflow):
            ended = await self._end(org, workflow, execution, given_up)
        letter = DeadLetter(
            kind=given_up.kind,
            reason=given_up.reason,
            at=self._clock.now(),
            source=given_up.source,
            subject=given_up.subject,
            org=org or None,
            workflow=workflow or None,
            execution_id=execution,
            deliveries=given_up.deliveries,
            ended=ended,
        )
        await self._store(letter, given_up.payload)

    async def _store(self, letter: DeadLetter, payload: bytes) -> None:
        _log.error(
            "a message was given up",
            kind=letter.kind,
            source=letter.source,
            subject=letter.subject,
            execution_id=letter.execution_id,
            reason=letter.reason,
        )
        metrics.DEAD.labels(letter.kind).inc()
        await self._line.publish(letter_message(letter, payload))

    async def _end(self, org: str, workflow: str, execution: str, given_up: GivenUp) -> bool:
        """Whether it is ended now, by us or by another executor that gave the same message up."""
        now = self._clock.now()
        about = Request(execution_id=execution, org=org, workflow=workflow, caller=_ENGINE, accepted_at=now, attempt=0)
        problem = BadMessage(f"Its request was given up: {given_up.reason}", details={"kind": given_up.kind})
        while True:
            try:
                found = await self._line.last(about)
            except msgspec.DecodeError:
                return False  # its state is as new as the message: whoever can read it ends it
            if found is None and not await self._line.is_queued(about):
                return False
            if found is not None and not _waits_for(found[1], given_up.source):
                return isinstance(found[1], Failed) and found[1].data.failure.error == problem.code
            expect, attempt = (0, 0) if found is None else (found[0].sequence, found[1].attempt)
            about = msgspec.structs.replace(about, attempt=attempt)
            data = FailedData(failure=Failure(problem.code, problem.message, problem.details), duration_ms=0)
            try:
                await self._line.move(about, Failed(**self._line.envelope(about, now, "failed"), data=data), expect)
            except StateConflict:
                continue
            return True


def _waits_for(state: object, source: str) -> bool:
    """Whether nothing else than this message would move the execution on."""
    if isinstance(state, Started):
        return state.data.request == source
    return isinstance(state, Retrying | Suspended | Approved | Declined)


def version_of(payload: bytes) -> int:
    """The version that a request says it has; 1 where it says nothing."""
    return _known(payload).version


def execution_in(given_up: GivenUp) -> str | None:
    """The execution that the message names, in its text or in its id."""
    named = _known(given_up.payload).execution_id or given_up.id.partition(":")[0]
    return named if is_token(named) else None


def _known(payload: bytes) -> _Known:
    try:
        return msgspec.json.decode(payload, type=_Known)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return _Known()
