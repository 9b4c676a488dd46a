"""Takes an execution in: seals its parameters, publishes the request and the `queued` event. Called by `calls`."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw, Struct

from runlane.approving import NO_PARAMETERS, expiry_message, pending_message
from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.approvals import ApprovalTerms
from runlane.contracts.directory import Manifest, Priority
from runlane.contracts.messages import (
    Caller,
    Cancelled,
    CancelledData,
    Queued,
    QueuedData,
    Request,
    Trigger,
    encode,
    parameters_context,
)
from runlane.contracts.records import Record
from runlane.errors import BusUnavailable, MessageTooLarge, RunlaneError, StateConflict
from runlane.lanes import Lanes
from runlane.ports import Bus, Message
from runlane.redaction import MASK, Redactor, masked_names
from runlane.sealing import Sealer
from runlane.telemetry import logger
from runlane.tracing import trace_id_of

_log = logger(__name__)

#: Answering 503 within two seconds leaves this much for the broker.
PUBLISH_SECONDS = 1.5

_TELL_AGAIN_SECONDS = 0.5
#: For so long after it refused an event whose request it took, the broker is not asked for both at once.
_CAREFUL = timedelta(seconds=60)

#: Below the bus's own limit: a request must not go out when the event that tells of it would be refused.
_LARGEST_PAYLOAD = 890 * 1024

_ENGINE = Caller(id="runlane")
#: The bytes that parameters are digested as.
canonical = msgspec.json.Encoder(order="sorted").encode
_encode = msgspec.json.Encoder().encode
_NOTHING = Raw(b"{}")


class Submission(Struct, frozen=True, kw_only=True):
    """What is to be run, once it has been approved where `approval` says how.

    `repeatable`: its id was made from an idempotency key, so its parameters are remembered. `sensitive`: names of
    parameters whose values no record may show.
    """

    execution_id: str
    org: str
    manifest: Manifest
    parameters: dict[str, Any]
    caller: Caller
    trigger: Trigger
    run_at: datetime | None = None
    reply_to: str | None = None
    traceparent: str | None = None
    repeatable: bool = False
    sensitive: frozenset[str] = frozenset()
    approval: ApprovalTerms | None = None
    priority: Priority = "normal"


class Acceptor:
    """Publishes what was accepted. `last_sequence` is the highest place in EVENTS that this gateway has written."""

    def __init__(self, bus: Bus, sealer: Sealer, clock: Clock, name: str) -> None:
        self._bus, self._sealer, self.clock = bus, sealer, clock
        self._source = f"/runlane/gateway/{name}"
        self.last_sequence = 0
        self.lanes = Lanes(bus)
        self._careful_until = datetime.min.replace(tzinfo=UTC)
        self._telling: dict[str, asyncio.Task[None]] = {}

    def digest(self, submission: Submission) -> str:
        """What the parameters are recognised by when an idempotency key comes again."""
        return self._sealer.digest(
            canonical(submission.parameters), digest_context(submission.org, submission.execution_id)
        )

    def same(self, submission: Submission, record: Record) -> bool:
        """Whether the record was made with the same parameters."""
        return record.digest is not None and self._sealer.is_digest(
            record.digest, canonical(submission.parameters), digest_context(submission.org, submission.execution_id)
        )

    async def submit(self, submission: Submission) -> None:
        """Publish request and event together, one after the other where that went wrong a moment ago.

        Raises `MessageTooLarge`, `StorageFull`, `BusUnavailable`.
        """
        if submission.approval is not None or self.clock.now() < self._careful_until:
            await self.submit_once(submission)
            return
        request, queued = self._messages(submission)
        message = await self._request_message(submission, request, submission.run_at)
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
        request, queued = self._messages(submission)
        message = await self._request_message(submission, request, submission.run_at)
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
        digest = self.digest(submission) if submission.parameters else NO_PARAMETERS
        pending = pending_message(self._source, request, terms, digest, self.clock.now(), submission.run_at)
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
        request = self._request(submission, record.sealed_input, record.queued_at or self.clock.now())
        if submission.approval is not None:
            again = msgspec.structs.replace(submission, run_at=record.run_at)
            await self._put_up(again, submission.approval, request)
            return
        message = await self._request_message(submission, request, record.run_at)
        await self._bus.publish(message, timeout=PUBLISH_SECONDS)

    def _messages(self, submission: Submission) -> tuple[Request, Message]:
        """The request, and the event that tells of it."""
        now, org, execution_id = self.clock.now(), submission.org, submission.execution_id
        sealed, shown = None, _NOTHING
        if submission.parameters:
            sealed = self._sealer.seal(_encode(submission.parameters), parameters_context(org, execution_id))
            shown = _shown(submission)
        request = self._request(submission, sealed, now)
        return request, self._queued_message(submission, shown, sealed, now)

    def _request(self, submission: Submission, sealed: bytes | None, accepted_at: datetime) -> Request:
        return Request(
            execution_id=submission.execution_id,
            org=submission.org,
            workflow=submission.manifest.name,
            caller=submission.caller,
            accepted_at=accepted_at,
            trigger=submission.trigger,
            sealed_parameters=sealed,
            reply_to=submission.reply_to,
            traceparent=submission.traceparent,
            sensitive=sorted(submission.sensitive),
        )

    async def _request_message(self, submission: Submission, request: Request, run_at: datetime | None) -> Message:
        org, workflow = submission.org, submission.manifest.name
        payload = _checked(encode(request))
        lane = await self.lanes.choose(org, submission.priority, run_at)
        if run_at is None:
            return Message(subject=subjects.request(lane, org, workflow), payload=payload, id=submission.execution_id)
        return Message(
            subject=subjects.delayed(submission.execution_id),
            payload=payload,
            id=submission.execution_id,
            deliver_at=run_at,
            deliver_to=subjects.due(lane, org, workflow),
        )

    def _queued_message(self, submission: Submission, shown: Raw, sealed: bytes | None, now: datetime) -> Message:
        execution_id, manifest = submission.execution_id, submission.manifest
        identity = f"{execution_id}:queued"
        event = Queued(
            id=identity,
            source=self._source,
            subject=execution_id,
            time=now,
            organization=submission.org,
            workflow=manifest.name,
            data=QueuedData(
                trigger=submission.trigger,
                caller=submission.caller,
                input=shown,
                sealed_input=sealed,
                digest=self.digest(submission) if submission.repeatable else None,
                run_at=submission.run_at,
                tags=manifest.tags,
                needs_approval=submission.approval is not None,
            ),
        )
        subject = subjects.event(submission.org, manifest.name, execution_id, "queued")
        return Message(subject=subject, payload=_checked(encode(event)), id=identity, expect_last=0)

    async def _withdraw(self, submission: Submission, reason: RunlaneError) -> None:
        """The event is stored, the request is not: without this the execution would be Queued for ever."""
        execution_id, org, workflow = submission.execution_id, submission.org, submission.manifest.name
        identity = f"{execution_id}:withdrawn"
        event = Cancelled(
            id=identity,
            source=self._source,
            subject=execution_id,
            time=self.clock.now(),
            organization=org,
            workflow=workflow,
            data=CancelledData(by=_ENGINE, reason=f"It was not accepted: {reason.message}"),
        )
        message = Message(
            subject=subjects.event(org, workflow, execution_id, "state.cancelled"),
            payload=encode(event),
            id=identity,
            expect_last=0,
            expect_on=subjects.state_line(org, workflow, execution_id),
        )
        try:
            await self._bus.publish(message, timeout=PUBLISH_SECONDS / 3)
        except RunlaneError as problem:
            _log.warning("a refused execution stays queued", **_names(submission), reason=problem.message)


def _names(submission: Submission) -> dict[str, str]:
    """What log lines about it are found by."""
    execution_id = submission.execution_id
    trace_id = trace_id_of(submission.traceparent, execution_id)
    return {"execution_id": execution_id, "trace_id": trace_id, "org": submission.org}


def _shown(submission: Submission) -> Raw:
    """The parameters as the record shows them. Names of sensitive ones are there even where the rest is too long:
    whoever runs it again reads there which they are (`masked_names`)."""
    redactor = Redactor()
    visible = redactor.parameters(submission.parameters, submission.sensitive)
    shown = redactor.sanitized(visible).json
    hidden = {name: MASK for name in submission.sensitive if visible.get(name) == MASK}
    if hidden.keys() <= set(masked_names(shown)):
        return Raw(shown)
    return Raw(_encode({**msgspec.json.decode(shown), **hidden}))


def digest_context(org: str, execution_id: str) -> str:
    """What the parameters of an execution are digested for."""
    return f"{org}|{execution_id}|digest"


def _checked(payload: bytes) -> bytes:
    if len(payload) > _LARGEST_PAYLOAD:
        raise MessageTooLarge(
            "The parameters are too large.", details={"size_bytes": len(payload), "limit_bytes": _LARGEST_PAYLOAD}
        )
    return payload
