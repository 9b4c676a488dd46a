"""The record of an execution and how events fold into it. Pure: the recorder, the gateway and `runlane verify` share it.

Folding is idempotent and tolerant of gaps: state changes count only when their stream sequence is higher than the last one
folded, trace entries are keyed by (stream sequence, index), so replaying or repeating events changes nothing.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import Raw, Struct, field

from runlane.contracts.messages import (
    AnyEvent,
    Caller,
    Cancelled,
    Failed,
    Failure,
    ProgressEntry,
    Queued,
    Retrying,
    Started,
    Succeeded,
    Suspended,
    TickOutcome,
    Ticked,
    TraceEntry,
    Traced,
    Trigger,
)

Status: TypeAlias = Literal[
    "Scheduled", "Queued", "PendingApproval", "Running", "Retrying", "Suspended", "Success", "Failed", "Cancelled"
]

FINISHED: frozenset[str] = frozenset({"Success", "Failed", "Cancelled"})


class Traceline(Struct, frozen=True):
    """A trace entry in its place: (sequence, index) orders and identifies it; `attempt` says which run wrote it."""

    sequence: int
    index: int
    attempt: int
    entry: TraceEntry


class Transition(Struct, frozen=True, omit_defaults=True):
    """One step of the state line beyond the plain queued → started → ended, for the timeline."""

    sequence: int
    at: datetime
    status: str
    attempt: int
    reason: str | None = None
    until: datetime | None = None
    executor: str | None = None


class Summary(Struct, kw_only=True):
    """An execution without its payloads and trace: a row of a list. Times are UTC."""

    execution_id: str
    org: str
    workflow: str
    status: Status = "Queued"
    trigger: Trigger = Trigger()
    caller: Caller = field(default_factory=lambda: Caller(id="unknown"))
    tags: list[str] = field(default_factory=list)
    queued_at: datetime | None = None
    run_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    duration_ms: int | None = None
    attempt: int = 0
    executor: str | None = None
    failure: Failure | None = None
    cancelled_by: Caller | None = None
    resumes_at: datetime | None = None
    progress: float | None = None
    progress_message: str | None = None
    state_sequence: int = 0

    @property
    def finished(self) -> bool:
        """Whether the status is final."""
        return self.status in FINISHED


class Record(Summary, kw_only=True):
    """Everything known of an execution."""

    input: Raw | None = None
    sealed_input: bytes | None = None
    digest: str | None = None
    result: Raw | None = None
    transitions: list[Transition] = field(default_factory=list)
    trace: list[Traceline] = field(default_factory=list)


class ExecutionQuery(Struct, frozen=True, kw_only=True):
    """Which executions, newest first. `orgs` None means all (only for who may see all). `after` is a page's `next`."""

    orgs: list[str] | None
    workflow: str | None = None
    statuses: list[str] = field(default_factory=list)
    trigger: str | None = None
    tag: str | None = None
    queued_from: datetime | None = None
    queued_before: datetime | None = None
    after: str | None = None
    limit: int = 50


class ExecutionPage(Struct, frozen=True):
    """One page; `next` is the opaque cursor of the page after it, None at the end."""

    items: list[Summary]
    next: str | None


class Tick(Struct, frozen=True, kw_only=True):
    """What became of one cron tick."""

    org: str
    workflow: str
    scheduled_for: datetime
    outcome: TickOutcome
    decided_at: datetime
    schedule: str
    time_zone: str
    reason: str | None = None
    execution_id: str | None = None


class TickQuery(Struct, frozen=True, kw_only=True):
    """Which ticks, newest first."""

    orgs: list[str] | None
    workflow: str | None = None
    after: str | None = None
    limit: int = 50


class TickPage(Struct, frozen=True):
    items: list[Tick]
    next: str | None


def tick_of(event: Ticked) -> Tick:
    """The tick that an event tells of."""
    data = event.data
    return Tick(
        org=event.organization,
        workflow=event.workflow,
        scheduled_for=data.scheduled_for,
        outcome=data.outcome,
        decided_at=event.time,
        schedule=data.schedule,
        time_zone=data.time_zone,
        reason=data.reason,
        execution_id=data.execution_id,
    )


def fold(record: Record | None, sequence: int, event: AnyEvent) -> Record | None:
    """Fold one event into its record (a new one if there is none) and return it; events of no execution change nothing."""
    if isinstance(event, Ticked):
        return record
    if record is None:
        record = Record(execution_id=event.subject, org=event.organization, workflow=event.workflow)
    if isinstance(event, Queued):
        _fold_queued(record, event)
    elif isinstance(event, Traced):
        _fold_trace(record, sequence, event.attempt, event.data.entries)
    elif sequence > record.state_sequence:
        record.state_sequence = sequence
        _fold_state(record, sequence, event)
    return record


def _fold_queued(record: Record, event: Queued) -> None:
    data = event.data
    record.trigger, record.caller, record.tags = data.trigger, data.caller, data.tags
    record.input, record.sealed_input, record.digest = data.input, data.sealed_input, data.digest
    record.queued_at, record.run_at = event.time, data.run_at
    if record.state_sequence == 0:
        record.status = "Scheduled" if data.run_at is not None and data.run_at > event.time else "Queued"


def _fold_state(
    record: Record, sequence: int, event: Started | Retrying | Suspended | Succeeded | Failed | Cancelled
) -> None:
    record.attempt = max(record.attempt, event.attempt)
    record.resumes_at = None
    match event:
        case Started(data=started):
            record.status, record.started_at = "Running", started.first_started_at
            record.executor = started.executor
            if started.reason is not None or event.attempt > 1:
                _note(record, sequence, event, "Running", reason=started.reason, executor=started.executor)
        case Retrying(data=retrying):
            record.status, record.failure = "Retrying", retrying.failure
            record.started_at, record.resumes_at = retrying.first_started_at, retrying.next_attempt_at
            _note(record, sequence, event, "Retrying", reason=retrying.failure.message, until=retrying.next_attempt_at)
            _fold_trace(record, sequence, event.attempt, retrying.trace)
        case Suspended(data=suspended):
            record.status = "PendingApproval" if suspended.reason == "approval" else "Suspended"
            record.resumes_at = suspended.until
            _note(record, sequence, event, "Suspended", reason=suspended.reason, until=suspended.until)
            _fold_trace(record, sequence, event.attempt, suspended.trace)
        case Succeeded(data=succeeded):
            _end(record, event.time, "Success", succeeded.duration_ms)
            record.result, record.failure, record.progress = succeeded.result, None, 100.0
            _fold_trace(record, sequence, event.attempt, succeeded.trace)
        case Failed(data=failed):
            _end(record, event.time, "Failed", failed.duration_ms)
            record.failure = failed.failure
            _fold_trace(record, sequence, event.attempt, failed.trace)
        case Cancelled(data=cancelled):
            started_at = record.started_at or event.time
            _end(record, event.time, "Cancelled", int((event.time - started_at).total_seconds() * 1000))
            record.cancelled_by = cancelled.by
            record.failure = Failure("Cancelled", cancelled.reason or "Cancelled on request")


def _end(record: Record, at: datetime, status: Status, duration_ms: int) -> None:
    record.status, record.completed_at, record.duration_ms = status, at, duration_ms


def _note(
    record: Record,
    sequence: int,
    event: Started | Retrying | Suspended,
    status: str,
    **known: Any,
) -> None:
    if all(seen.sequence != sequence for seen in record.transitions):
        record.transitions.append(
            Transition(sequence=sequence, at=event.time, status=status, attempt=event.attempt, **known)
        )


def _fold_trace(record: Record, sequence: int, attempt: int, entries: Iterable[TraceEntry]) -> None:
    if any(line.sequence == sequence for line in reversed(record.trace)):
        return
    for index, entry in enumerate(entries):
        record.trace.append(Traceline(sequence, index, attempt, entry))
        note_progress(record, entry)


def note_progress(summary: Summary, entry: TraceEntry) -> None:
    """Keep the latest progress where lists can show it."""
    if isinstance(entry, ProgressEntry):
        summary.progress, summary.progress_message = entry.percent, entry.message
