"""The record of an execution and how events fold into it. Pure: recorder, gateway and `runlane verify` share it.

Folding is idempotent, tolerant of gaps and indifferent to order: what can only be true once is set by the event with
the highest stream sequence, trace entries are keyed by (stream sequence, index). So events may come again, late or out
of turn, as they do after a recorder died with some of them in its hands.
"""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from msgspec import Raw, Struct, field

from runlane.contracts.events import (
    AnyEvent,
    ApprovalExpired,
    Approved,
    Audited,
    Cancelled,
    Decision,
    Declined,
    Delivered,
    Failed,
    Failure,
    PendingApproval,
    Queued,
    Rejected,
    Retrying,
    Signalled,
    Started,
    StateEvent,
    Succeeded,
    Suspended,
    TerminalEvent,
    Ticked,
    TickOutcome,
    Traced,
)
from runlane.contracts.requests import Caller, Trigger
from runlane.contracts.trace import ProgressEntry, TraceEntry

Status: TypeAlias = Literal[
    "Scheduled", "Queued", "PendingApproval", "Running", "Retrying", "Suspended", "Success", "Failed", "Cancelled"
]

FINISHED: frozenset[str] = frozenset({"Success", "Failed", "Cancelled"})

_BEFORE_ALL = datetime(1970, 1, 1, tzinfo=UTC)


class Traceline(Struct, frozen=True):
    """A trace entry in its place: (sequence, index) orders and identifies it; `attempt` says which run wrote it."""

    sequence: int
    index: int
    attempt: int
    entry: TraceEntry


class Transition(Struct, frozen=True, omit_defaults=True):
    """One step of the state line beyond the plain queued → started → ended, for the timeline.

    `by` is who decided, where somebody did.
    """

    sequence: int
    at: datetime
    status: str
    attempt: int
    reason: str | None = None
    until: datetime | None = None
    executor: str | None = None
    by: Caller | None = None


class Summary(Struct, kw_only=True):
    """An execution without its payloads and trace: a row of a list. Times are UTC.

    `failure` is why it failed or, while it is Retrying, why its last attempt did. The three sequences say which events
    status, executor and progress were taken from.
    """

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
    started_sequence: int = 0
    progress_sequence: int = 0

    @property
    def listed_at(self) -> datetime:
        """Where it stands in lists: when it was queued or, as long as that is unknown, the first time that is known."""
        return self.queued_at or self.started_at or self.completed_at or _BEFORE_ALL

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
    """Which executions, newest first. `orgs` None means all (only for who may see all). `after` is a page's `next`.

    `error` is the code of why it failed or, while it is Retrying, why its last attempt did.
    """

    orgs: list[str] | None
    workflow: str | None = None
    statuses: list[str] = field(default_factory=list)
    trigger: str | None = None
    tag: str | None = None
    error: str | None = None
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
    """Fold one event into its record, a new one if there is none; ticks and audit entries change nothing."""
    if isinstance(event, Ticked | Audited | Delivered):
        return record
    if record is None:
        record = Record(execution_id=event.subject, org=event.organization, workflow=event.workflow)
    if isinstance(event, Queued):
        _fold_queued(record, event)
    elif isinstance(event, Traced):
        _fold_trace(record, sequence, event.attempt, event.data.entries)
    elif isinstance(event, Signalled):
        _fold_trace(record, sequence, event.attempt, [event.data.entry])
    else:
        _fold_history(record, sequence, event)
        if sequence > record.state_sequence:
            record.state_sequence = sequence
            _fold_state(record, event)
    _derive(record)
    return record


def _fold_queued(record: Record, event: Queued) -> None:
    data = event.data
    record.trigger, record.caller, record.tags = data.trigger, data.caller, data.tags
    record.input, record.sealed_input, record.digest = data.input, data.sealed_input, data.digest
    record.queued_at, record.run_at = event.time, data.run_at
    if record.state_sequence == 0:
        record.status = "Scheduled" if data.run_at is not None and data.run_at > event.time else "Queued"


def _fold_history(record: Record, sequence: int, event: StateEvent) -> None:
    """What a state change leaves behind whatever came after it."""
    record.attempt = max(record.attempt, event.attempt)
    match event:
        case Started(data=started):
            _begun(record, started.first_started_at)
            if sequence > record.started_sequence:
                record.started_sequence, record.executor = sequence, started.executor
            if started.reason is not None or event.attempt > 1:
                _note(record, sequence, event, "Running", reason=started.reason, executor=started.executor)
        case Retrying(data=retrying):
            _begun(record, retrying.first_started_at)
            _note(record, sequence, event, "Retrying", reason=retrying.failure.message, until=retrying.next_attempt_at)
        case Suspended(data=suspended):
            _begun(record, suspended.first_started_at)
            _note(record, sequence, event, "Suspended", reason=suspended.reason, until=suspended.until)
        case PendingApproval() | Approved() | Declined() | Rejected() | ApprovalExpired():
            _fold_decision(record, sequence, event)
    if isinstance(event, Retrying | Suspended | PendingApproval | Succeeded | Failed) and event.data.trace:
        _fold_trace(record, sequence, event.attempt, event.data.trace)


def _fold_decision(
    record: Record, sequence: int, event: PendingApproval | Approved | Declined | Rejected | ApprovalExpired
) -> None:
    """Who decided what, when and why."""
    data = event.data
    last = data.decisions[-1] if data.decisions else None
    by, why = (None, None) if last is None else (last.by, last.reason)
    match event:
        case PendingApproval(data=pending):
            if pending.first_started_at is not None:
                _begun(record, pending.first_started_at)
            terms, given = pending.terms, pending.decisions
            told = terms.message if last is None else _one_of_several(last, len(given), terms.count)
            _note(record, sequence, event, "PendingApproval", reason=told, until=terms.expires_at, by=by)
        case ApprovalExpired(data=expired):
            _note(record, sequence, event, "ApprovalExpired", until=expired.expired_at)
        case _:
            _note(record, sequence, event, type(event).__name__, reason=why, by=by)


def _one_of_several(last: Decision, given: int, count: int) -> str:
    return f"{given} of {count} approvals" + (f": {last.reason}" if last.reason else "")


def _fold_state(record: Record, event: StateEvent) -> None:
    """What only the latest state change says."""
    record.failure, record.resumes_at = None, None
    match event:
        case Started():
            record.status = "Running"
        case Retrying(data=retrying):
            record.status, record.failure, record.resumes_at = "Retrying", retrying.failure, retrying.next_attempt_at
        case Suspended(data=suspended):
            record.status, record.resumes_at = "Suspended", suspended.until
        case PendingApproval():
            record.status = "PendingApproval"
        case Approved(data=decided) | Declined(data=decided):
            later = decided.run_at is not None and decided.run_at > event.time
            record.status = "Scheduled" if later else "Queued"
        case _:
            _fold_end(record, event)


def _fold_end(record: Record, event: TerminalEvent) -> None:
    match event:
        case Succeeded(data=succeeded):
            _end(record, event.time, "Success", succeeded.duration_ms)
            record.result = succeeded.result
        case Failed(data=failed):
            _end(record, event.time, "Failed", failed.duration_ms)
            record.failure = failed.failure
        case Cancelled(data=cancelled):
            _end(record, event.time, "Cancelled", 0)
            record.cancelled_by = cancelled.by
            record.failure = Failure("Cancelled", cancelled.reason or "Cancelled on request")
        case Rejected(data=rejected):
            _end(record, event.time, "Cancelled", 0)
            record.cancelled_by, record.failure = rejected.decisions[-1].by, rejection(rejected.decisions[-1])
        case ApprovalExpired():
            _end(record, event.time, "Cancelled", 0)
            record.failure = EXPIRED


#: Why an execution ended that was not approved in time.
EXPIRED = Failure("ApprovalExpired", "It was not approved in time.")


def rejection(decision: Decision) -> Failure:
    """Why an execution ended that somebody refused."""
    return Failure("ApprovalRejected", decision.reason or "It was rejected.")


def _derive(record: Record) -> None:
    """What follows from several events, in whichever order they came."""
    if record.status == "Success":
        record.progress = 100.0
    elif record.status == "Cancelled" and record.started_at is not None and record.completed_at is not None:
        record.duration_ms = max(0, int((record.completed_at - record.started_at).total_seconds() * 1000))


def _begun(record: Record, at: datetime) -> None:
    record.started_at = at if record.started_at is None else min(record.started_at, at)


def _end(record: Record, at: datetime, status: Status, duration_ms: int) -> None:
    record.status, record.completed_at, record.duration_ms = status, at, duration_ms


def _note(
    record: Record,
    sequence: int,
    event: StateEvent,
    status: str,
    **known: Any,
) -> None:
    place = _place(record.transitions, sequence)
    if place is not None:
        noted = Transition(sequence=sequence, at=event.time, status=status, attempt=event.attempt, **known)
        record.transitions.insert(place, noted)


def _fold_trace(record: Record, sequence: int, attempt: int, entries: Sequence[TraceEntry]) -> None:
    place = _place(record.trace, sequence)
    if place is None:
        return
    record.trace[place:place] = [Traceline(sequence, index, attempt, entry) for index, entry in enumerate(entries)]
    for entry in entries:
        note_progress(record, sequence, entry)


def _place(known: Sequence[Traceline] | Sequence[Transition], sequence: int) -> int | None:
    """Where something of this sequence belongs, None when it is there already. Nearly always that is the end."""
    if not known or known[-1].sequence < sequence:
        return len(known)
    place = bisect_left(known, sequence, key=_sequence_of)
    return None if known[place].sequence == sequence else place


def _sequence_of(line: Traceline | Transition) -> int:
    return line.sequence


def note_progress(summary: Summary, sequence: int, entry: TraceEntry) -> None:
    """Keep the latest progress where lists can show it."""
    if isinstance(entry, ProgressEntry) and sequence >= summary.progress_sequence:
        summary.progress_sequence = sequence
        summary.progress, summary.progress_message = entry.percent, entry.message
