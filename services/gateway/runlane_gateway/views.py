"""An execution as HTTP shows it: camelCase for the API, PascalCase for SPEC §3's record."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from runlane.contracts.events import Decision, Failure, PendingApprovalData
from runlane.contracts.records import Record, Summary, Transition
from runlane.contracts.requests import Caller, Trigger
from runlane.contracts.trace import (
    CallEntry,
    CheckpointEntry,
    DroppedEntry,
    LogEntry,
    SignalEntry,
    StepEntry,
    TraceEntry,
    VariableEntry,
)
from runlane.redaction import Redactor


def poll_url(execution_id: str) -> str:
    """Where an execution can be looked at."""
    return f"/executions/{execution_id}"


def utc(moment: datetime) -> str:
    """`2025-10-10T14:30:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else utc(moment)


class AcceptedView(Struct, frozen=True, rename="camel"):
    """202: it will run, or runs still."""

    execution_id: str
    status: str
    poll_url: str


class ResultView(Struct, frozen=True, rename="camel"):
    """200: it succeeded."""

    execution_id: str
    status: str
    result: Raw


class SnapshotView(Struct, frozen=True):
    timestamp: str
    name: str
    data: Raw


class CallView(Struct, frozen=True):
    timestamp: str
    integration: str
    method: str
    endpoint: str
    status_code: int | None
    duration_ms: int
    success: bool
    error: str | UnsetType = UNSET


class LogView(Struct, frozen=True):
    timestamp: str
    level: str
    message: str
    data: Any = UNSET


class StepView(Struct, frozen=True):
    timestamp: str
    name: str
    duration_ms: int
    result: Raw


class DroppedView(Struct, frozen=True):
    timestamp: str
    what: str
    count: int


class CallerView(Struct, frozen=True):
    id: str
    email: str | None
    name: str | None


class EventView(Struct, frozen=True):
    """An event that it was sent."""

    timestamp: str
    name: str
    id: str
    data: Raw
    by: CallerView


class DecisionView(Struct, frozen=True):
    approved: bool
    by: CallerView
    timestamp: str
    reason: str | None
    digest: str


class OfficeHoursView(Struct, frozen=True, rename="camel"):
    start: str
    end: str
    days: list[str]
    time_zone: str


class ApprovalView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an execution in PendingApproval waits for. `digest`: of what is to be approved. `may_decide`: the caller."""

    message: str | None
    digest: str
    requested_at: str
    expires_at: str
    rule: str
    approvers: list[str]
    count: int
    allow_own: bool
    office_hours: OfficeHoursView | None
    decisions: list[DecisionView]
    may_decide: bool


class TransitionView(Struct, frozen=True, omit_defaults=True):
    """A step of the state line: a retry, a suspension, a take-over."""

    timestamp: str
    status: str
    attempt: int
    reason: str | None = None
    until: str | None = None
    executor: str | None = None
    by: CallerView | None = None


class TriggerView(Struct, frozen=True):
    kind: str
    reference: str | None


class SummaryView(Struct, kw_only=True, rename="camel"):
    """An execution in a list. `internal` only for those who may see it, `pollUrl` while it is unfinished."""

    execution_id: str
    workflow_name: str
    org_id: str
    status: str
    progress: float | None
    progress_message: str | None
    error: str | None
    message: str | None
    details: dict[str, Any] | None
    trigger: TriggerView
    executed_by: CallerView
    cancelled_by: CallerView | UnsetType = UNSET
    tags: list[str]
    attempt: int
    queued_at: str | None
    run_at: str | None
    started_at: str | None
    completed_at: str | None
    duration_ms: int | None
    resumes_at: str | None
    poll_url: str | UnsetType = UNSET
    internal: dict[str, str] | UnsetType = UNSET


class ExecutionView(SummaryView, kw_only=True, rename="camel"):
    """`GET /executions/{id}`."""

    input: Raw | None
    result: Raw | None
    state_snapshots: list[SnapshotView]
    integration_calls: list[CallView]
    logs: list[LogView]
    variables: dict[str, Raw]
    steps: list[StepView]
    events: list[EventView]
    approval: ApprovalView | UnsetType = UNSET
    transitions: list[TransitionView]
    dropped: list[DroppedView]


class RecordView(Struct, frozen=True, kw_only=True, rename="pascal"):
    """SPEC §3, names and nesting as they stand there. `InputData` and `Result` are JSON in strings."""

    execution_id: str
    workflow_name: str
    status: str
    started_at: str | None
    completed_at: str | None
    duration_ms: int | None
    input_data: str | None
    result: str | None
    state_snapshots: list[SnapshotView]
    integration_calls: list[CallView]
    logs: list[LogView]
    variables: dict[str, Raw]


class ExecutionPageView(Struct, frozen=True):
    """`next`: what to give as `after` for the page that follows; null at the end."""

    executions: list[SummaryView]
    next: str | None


def summary_view(summary: Summary, *, internals: bool) -> SummaryView:
    return SummaryView(**_summary(summary, internals))


def execution_view(record: Record, *, internals: bool, approval: ApprovalView | UnsetType = UNSET) -> ExecutionView:
    trace = _entries(record)
    return ExecutionView(
        **_summary(record, internals),
        input=record.input,
        result=record.result,
        state_snapshots=_snapshots(trace),
        integration_calls=_calls(trace),
        logs=_logs(trace),
        variables=_variables(trace),
        steps=[StepView(utc(e.at), e.key, e.duration_ms, e.result) for e in trace if isinstance(e, StepEntry)],
        events=[
            EventView(utc(e.at), e.name, e.id, e.data, caller_view(e.by)) for e in trace if isinstance(e, SignalEntry)
        ],
        approval=approval,
        transitions=[_transition(transition) for transition in record.transitions],
        dropped=[DroppedView(utc(e.at), e.what, e.count) for e in trace if isinstance(e, DroppedEntry)],
    )


def _transition(it: Transition) -> TransitionView:
    by = None if it.by is None else caller_view(it.by)
    return TransitionView(utc(it.at), it.status, it.attempt, it.reason, utc_or_none(it.until), it.executor, by)


def decision_view(decision: Decision) -> DecisionView:
    by = caller_view(decision.by)
    return DecisionView(decision.approved, by, utc(decision.at), decision.reason, decision.digest)


def approval_view(pending: PendingApprovalData, time_zone: str, *, may_decide: bool) -> ApprovalView:
    terms, hours = pending.terms, pending.terms.office_hours
    return ApprovalView(
        message=terms.message,
        digest=pending.digest,
        requested_at=utc(pending.asked_at),
        expires_at=utc(terms.expires_at),
        rule=terms.rule,
        approvers=terms.approvers,
        count=terms.count,
        allow_own=terms.allow_own,
        office_hours=None if hours is None else OfficeHoursView(hours.start, hours.end, list(hours.days), time_zone),
        decisions=[decision_view(decision) for decision in pending.decisions],
        may_decide=may_decide,
    )


def record_view(record: Record) -> RecordView:
    trace = _entries(record)
    return RecordView(
        execution_id=record.execution_id,
        workflow_name=record.workflow,
        status=record.status,
        started_at=utc_or_none(record.started_at),
        completed_at=utc_or_none(record.completed_at),
        duration_ms=record.duration_ms,
        input_data=None if record.input is None else bytes(record.input).decode(),
        result=None if record.result is None else _shortened(record.result),
        state_snapshots=_snapshots(trace),
        integration_calls=_calls(trace),
        logs=_logs(trace),
        variables=_variables(trace),
    )


def caller_view(caller: Caller) -> CallerView:
    return CallerView(caller.id, caller.email, caller.name)


def _summary(summary: Summary, internals: bool) -> dict[str, Any]:
    failure = summary.failure
    return {
        "execution_id": summary.execution_id,
        "workflow_name": summary.workflow,
        "org_id": summary.org,
        "status": summary.status,
        "progress": summary.progress,
        "progress_message": summary.progress_message,
        "error": failure and failure.error,
        "message": failure and failure.message,
        "details": failure and failure.details,
        "trigger": _trigger(summary.trigger),
        "executed_by": caller_view(summary.caller),
        "cancelled_by": caller_view(summary.cancelled_by) if summary.cancelled_by is not None else UNSET,
        "tags": summary.tags,
        "attempt": summary.attempt,
        "queued_at": utc_or_none(summary.queued_at),
        "run_at": utc_or_none(summary.run_at),
        "started_at": utc_or_none(summary.started_at),
        "completed_at": utc_or_none(summary.completed_at),
        "duration_ms": summary.duration_ms,
        "resumes_at": utc_or_none(summary.resumes_at),
        "poll_url": UNSET if summary.finished else poll_url(summary.execution_id),
        "internal": _internal(failure) if internals else UNSET,
    }


def _trigger(trigger: Trigger) -> TriggerView:
    return TriggerView(trigger.kind, trigger.reference)


def _internal(failure: Failure | None) -> dict[str, str] | UnsetType:
    return UNSET if failure is None or failure.internal is None else failure.internal


def _entries(record: Record) -> list[TraceEntry]:
    return [line.entry for line in sorted(record.trace, key=lambda line: (line.sequence, line.index))]


def _snapshots(trace: Iterable[TraceEntry]) -> list[SnapshotView]:
    return [SnapshotView(utc(e.at), e.name, e.data) for e in trace if isinstance(e, CheckpointEntry)]


def call_view(entry: CallEntry) -> CallView:
    return CallView(
        utc(entry.at),
        entry.integration,
        entry.method,
        entry.endpoint,
        entry.status_code,
        entry.duration_ms,
        entry.success,
        UNSET if entry.error is None else entry.error,
    )


def log_view(entry: LogEntry) -> LogView:
    return LogView(utc(entry.at), entry.level, entry.message, UNSET if entry.data is None else entry.data)


def _calls(trace: Iterable[TraceEntry]) -> list[CallView]:
    return [call_view(entry) for entry in trace if isinstance(entry, CallEntry)]


def _logs(trace: Iterable[TraceEntry]) -> list[LogView]:
    return [log_view(entry) for entry in trace if isinstance(entry, LogEntry)]


def _variables(trace: Iterable[TraceEntry]) -> dict[str, Raw]:
    return {entry.name: entry.value for entry in trace if isinstance(entry, VariableEntry)}


def _shortened(result: Raw) -> str:
    shortened: bytes = Redactor().sanitized(msgspec.json.decode(result)).json
    return shortened.decode()
