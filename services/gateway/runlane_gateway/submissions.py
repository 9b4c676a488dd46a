"""What a wish to run something becomes when it is taken in: a request, and an event that tells of it.

`accept` publishes them.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from runlane.contracts import subjects
from runlane.contracts.approvals import ApprovalTerms
from runlane.contracts.directory import Manifest, Priority
from runlane.contracts.encoding import encode
from runlane.contracts.events import Cancelled, CancelledData, Queued, QueuedData
from runlane.contracts.records import Record
from runlane.contracts.requests import Caller, Request, Trigger, parameters_context
from runlane.errors import MessageTooLarge, RunlaneError
from runlane.ports import Message
from runlane.redaction import MASK, Redactor, masked_names
from runlane.requesting import request_message
from runlane.sealing import Sealer

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


class SubmissionMessages:
    """Writes the messages of submissions, with parameters sealed where they are to be run and masked where shown.

    `source` is who they say they are from.
    """

    def __init__(self, sealer: Sealer, source: str) -> None:
        self._sealer, self.source = sealer, source

    def messages(self, submission: Submission, now: datetime) -> tuple[Request, Message]:
        """The request, and the event that tells of it. Raises `MessageTooLarge`."""
        org, execution_id = submission.org, submission.execution_id
        sealed, shown = None, _NOTHING
        if submission.parameters:
            sealed = self._sealer.seal(_encode(submission.parameters), parameters_context(org, execution_id))
            shown = _shown(submission)
        request = self.request(submission, sealed, now)
        return request, self._queued(submission, shown, sealed, now)

    def request(self, submission: Submission, sealed: bytes | None, accepted_at: datetime) -> Request:
        """What an executor gets; `sealed` are its parameters."""
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

    def withdrawn(self, submission: Submission, reason: RunlaneError, now: datetime) -> Message:
        """Ends what was told of, and could not be queued for this reason."""
        execution_id, org, workflow = submission.execution_id, submission.org, submission.manifest.name
        identity = f"{execution_id}:withdrawn"
        event = Cancelled(
            id=identity,
            source=self.source,
            subject=execution_id,
            time=now,
            organization=org,
            workflow=workflow,
            data=CancelledData(by=_ENGINE, reason=f"It was not accepted: {reason.message}"),
        )
        return Message(
            subject=subjects.event(org, workflow, execution_id, "state.cancelled"),
            payload=encode(event),
            id=identity,
            expect_last=0,
            expect_on=subjects.state_line(org, workflow, execution_id),
        )

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

    def _queued(self, submission: Submission, shown: Raw, sealed: bytes | None, now: datetime) -> Message:
        execution_id, manifest = submission.execution_id, submission.manifest
        identity = f"{execution_id}:queued"
        event = Queued(
            id=identity,
            source=self.source,
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
        subject, payload = subjects.event(submission.org, manifest.name, execution_id, "queued"), encode(event)
        _check_size(payload)
        return Message(subject=subject, payload=payload, id=identity, expect_last=0)


def addressed(request: Request, lane: str, run_at: datetime | None) -> Message:
    """The request on its way into a lane, now or at `run_at`. Raises `MessageTooLarge`."""
    message = request_message(request, lane, request.execution_id, run_at)
    _check_size(message.payload)
    return message


def digest_context(org: str, execution_id: str) -> str:
    """What the parameters of an execution are digested for."""
    return f"{org}|{execution_id}|digest"


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


def _check_size(payload: bytes) -> None:
    if len(payload) > _LARGEST_PAYLOAD:
        raise MessageTooLarge(
            "The parameters are too large.", details={"size_bytes": len(payload), "limit_bytes": _LARGEST_PAYLOAD}
        )
