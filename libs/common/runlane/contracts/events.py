"""What travels on EVENTS: what has happened, as CloudEvents 1.0 JSON.

A request asks (imperative), an event tells (past tense). Everything in an event is sanitized at its source; what resume
needs in its true form travels beside it, sealed, and only where the sanitized form differs.
"""

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct, field

from runlane.contracts.approvals import ApprovalTerms
from runlane.contracts.requests import Caller, Trigger
from runlane.contracts.trace import SignalEntry, TraceEntry


class Failure(Struct, frozen=True, omit_defaults=True):
    """Why an execution failed: what the client may see, and what only operators may.

    `internal` is `{"type", "message", "traceback"}`, redacted, of what code raised, else None. `kind` names
    the error of SPEC §2 that an author's own class derives from.
    """

    error: str
    message: str
    details: dict[str, Any] = field(default_factory=dict)
    internal: dict[str, str] | None = None
    kind: str | None = None


class Event(Struct, frozen=True, kw_only=True, tag_field="type"):
    """The CloudEvents envelope of every execution event; `subject` is the execution id.

    `organization`, `workflow` and `attempt` are extension attributes (CloudEvents 1.0 §3.1).
    """

    id: str
    source: str
    subject: str
    time: datetime
    organization: str
    workflow: str
    attempt: int = 0
    specversion: str = "1.0"
    datacontenttype: str = "application/json"


class QueuedData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    trigger: Trigger
    caller: Caller
    input: Raw
    sealed_input: bytes | None = None
    digest: str | None = None
    run_at: datetime | None = None
    tags: list[str] = field(default_factory=list)
    needs_approval: bool = False


class Queued(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.queued"):
    """Accepted. `digest` is a keyed digest of the parameters: an idempotency key must come with the same ones.

    With `run_at` in the future the execution is Scheduled rather than Queued. With `needs_approval` it is put up for
    approval next, and may not run before.
    """

    data: QueuedData


class StartedData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    executor: str
    request: str
    first_started_at: datetime
    resumed: bool = False
    losses: int = 0
    crashes: int = 0
    waited_seconds: float = 0.0
    workflow_version: str = ""
    reason: str | None = None


class Started(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.started"):
    """An executor claimed it.

    `request` is the work-queue message (`{stream}:{sequence}`) whose lease the run holds. `losses` counts how often an
    executor died under it, `crashes` how often a child process did; `reason` says why it was taken up again, None at
    first.
    """

    data: StartedData


class RetryingData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    failure: Failure
    next_attempt: int
    next_attempt_at: datetime
    first_started_at: datetime
    waited_seconds: float = 0.0
    trace: list[TraceEntry] = field(default_factory=list)


class Retrying(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.retrying"):
    """The attempt failed and another will follow."""

    data: RetryingData


class SuspendedData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    reason: str
    first_started_at: datetime
    until: datetime | None = None
    waited_seconds: float = 0.0
    trace: list[TraceEntry] = field(default_factory=list)


class Suspended(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.suspended"):
    """It waits without holding a slot: `reason` is `sleep` or `event:<name>`.

    `waited_seconds`, here and elsewhere: how long it was suspended before.
    """

    data: SuspendedData


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One person's word on an approval. `digest`: of what it was given for."""

    approved: bool
    by: Caller
    at: datetime
    digest: str
    reason: str | None = None


class ApprovalDecision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `context.wait_for_approval` returns: the word that decided, and all that were given."""

    approved: bool
    by: Caller
    at: datetime
    reason: str | None = None
    decisions: list[Decision] = field(default_factory=list)


class PendingApprovalData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    terms: ApprovalTerms
    digest: str
    asked_at: datetime
    decisions: list[Decision] = field(default_factory=list)
    run_at: datetime | None = None
    step: str | None = None
    first_started_at: datetime | None = None
    waited_seconds: float = 0.0
    trace: list[TraceEntry] = field(default_factory=list)


class PendingApproval(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.pending_approval"):
    """It waits for people; told again with each approval that is not yet the last one.

    `step` is None before it starts, else the wait in its code. `digest` is a keyed digest of what is to be approved:
    the parameters, or what the code says.
    """

    data: PendingApprovalData


class DecidedData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    decisions: list[Decision]
    asked_at: datetime
    run_at: datetime | None = None
    step: str | None = None
    first_started_at: datetime | None = None
    waited_seconds: float = 0.0


class Approved(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.approved"):
    """Enough people agreed: it goes to the queue, or goes on."""

    data: DecidedData


class Declined(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.declined"):
    """Somebody refused what the code had asked for: it goes on and is told so."""

    data: DecidedData


class RejectedData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    decisions: list[Decision]


class Rejected(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.rejected"):
    """Somebody refused it before it started. That ends it."""

    data: RejectedData


class ApprovalExpiredData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    expired_at: datetime
    decisions: list[Decision] = field(default_factory=list)


class ApprovalExpired(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.approval_expired"):
    """Too few approved it in time. That ends it."""

    data: ApprovalExpiredData


class SignalledData(Struct, frozen=True, kw_only=True):
    """`number` counts the events that an execution was sent, from 1."""

    number: int
    entry: SignalEntry


class Signalled(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.signalled"):
    """An event from outside came for it. Not a state: it may come while the execution runs."""

    data: SignalledData


class SucceededData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    result: Raw
    duration_ms: int
    trace: list[TraceEntry] = field(default_factory=list)


class Succeeded(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.succeeded"):
    """The function returned. `result` is redacted but never shortened."""

    data: SucceededData


class FailedData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    failure: Failure
    duration_ms: int
    trace: list[TraceEntry] = field(default_factory=list)


class Failed(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.failed"):
    """It ended in an error, for good."""

    data: FailedData


class CancelledData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    by: Caller
    reason: str | None = None


class Cancelled(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.cancelled"):
    """Somebody stopped it. Written by the canceller himself, so it holds from that moment."""

    data: CancelledData


class TracedData(Struct, frozen=True, kw_only=True):
    entries: list[TraceEntry]


class Traced(Event, frozen=True, kw_only=True, tag="dev.runlane.execution.traced"):
    """Some trace entries, in order."""

    data: TracedData


TickOutcome: TypeAlias = Literal["fired", "late", "caught_up", "skipped", "missed"]


class TickData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`execution_id`: what it started. `previous_execution_id`: what the last tick before it that fired had started."""

    scheduled_for: datetime
    outcome: TickOutcome
    reason: str | None = None
    execution_id: str | None = None
    previous_execution_id: str | None = None
    schedule: str = ""
    time_zone: str = "UTC"


class Ticked(Event, frozen=True, kw_only=True, tag="dev.runlane.schedule.ticked"):
    """A cron tick came and this became of it. `subject` is `{workflow}/{scheduled_for}`."""

    data: TickData


AuditOutcome: TypeAlias = Literal["intended", "done", "failed"]


class AuditData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who did what to which thing. `kind` and `key` name it (`config`, `region`); `before` and `after` are sanitized.

    `reason`: the error that made it fail. `address`, `agent` and `request_id` say where it came from.
    """

    actor: Caller
    action: str
    kind: str
    key: str
    outcome: AuditOutcome
    before: Any = None
    after: Any = None
    reason: str | None = None
    address: str | None = None
    agent: str | None = None
    request_id: str | None = None


class Audited(Event, frozen=True, kw_only=True, tag="dev.runlane.audit.recorded"):
    """Somebody changed something. Told before it happens (`intended`) and again with its outcome.

    Both have the same `subject`, the id of the audit entry, and the same `time`; the later one holds.
    """

    data: AuditData
    workflow: str = ""


#: `handshake`: a sender asked whether somebody is here, and was answered.
DeliveryOutcome: TypeAlias = Literal["accepted", "duplicate", "refused", "handshake"]


class DeliveryData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`execution_id`: what it started, or had started before. `sender_id`: the sender's own id of the delivery."""

    outcome: DeliveryOutcome
    scheme: str
    reason: str | None = None
    execution_id: str | None = None
    sender_id: str | None = None
    size_bytes: int = 0
    address: str | None = None


class Delivered(Event, frozen=True, kw_only=True, tag="dev.runlane.webhook.delivered"):
    """Somebody called a webhook. `subject` is the id of the delivery. Nothing of what was refused is kept."""

    data: DeliveryData


WaitingEvent: TypeAlias = PendingApproval | Approved | Declined

TerminalEvent: TypeAlias = Succeeded | Failed | Cancelled | Rejected | ApprovalExpired

StateEvent: TypeAlias = Started | Retrying | Suspended | WaitingEvent | TerminalEvent

ExecutionEvent: TypeAlias = Queued | StateEvent | Traced | Signalled

AnyEvent: TypeAlias = ExecutionEvent | Ticked | Audited | Delivered

#: The last token of a state event's subject.
STATE_TAILS: dict[type[Event], str] = {
    Started: "state.started",
    Retrying: "state.retrying",
    Suspended: "state.suspended",
    PendingApproval: "state.pending_approval",
    Approved: "state.approved",
    Declined: "state.declined",
    Succeeded: "state.succeeded",
    Failed: "state.failed",
    Cancelled: "state.cancelled",
    Rejected: "state.rejected",
    ApprovalExpired: "state.approval_expired",
}

TERMINAL: tuple[type[Event], ...] = (Succeeded, Failed, Cancelled, Rejected, ApprovalExpired)

_event_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)


def decode_event(payload: bytes) -> AnyEvent:
    """Raises `msgspec.DecodeError` (a `msgspec.ValidationError` where it is JSON of another shape)."""
    return _event_decoder.decode(payload)
