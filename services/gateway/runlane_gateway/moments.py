"""What an event or a whole record tells, moment by moment, as the live tail shows it. Pure; used by `live`."""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from runlane.contracts.events import (
    AnyEvent,
    ApprovalExpired,
    Approved,
    Audited,
    Cancelled,
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
    Ticked,
    Traced,
)
from runlane.contracts.records import EXPIRED, Record, Traceline, Transition, rejection
from runlane.contracts.trace import (
    CallEntry,
    CheckpointEntry,
    DroppedEntry,
    LogEntry,
    ProgressEntry,
    SecretEntry,
    SignalEntry,
    StepEntry,
    TraceEntry,
    VariableEntry,
)

from .views import call_view, caller_view, decision_view, log_view, utc, utc_or_none


class Moment(Struct, frozen=True):
    """One thing to tell. (sequence, index) orders and identifies it."""

    sequence: int
    index: int
    name: str
    data: object


def moments_of_event(sequence: int, event: AnyEvent, internals: bool) -> Iterator[Moment]:
    """A stored event: the trace it carries, then the state it brought."""
    if isinstance(event, Ticked | Audited | Delivered):
        return
    if isinstance(event, Queued):
        status = "Queued" if event.data.run_at is None else "Scheduled"
        yield Moment(sequence, 0, "queued", _queued(status, utc(event.time), utc_or_none(event.data.run_at)))
        return
    if isinstance(event, Signalled):
        yield _traced(sequence, 0, event.data.entry)
        return
    entries = event.data.entries if isinstance(event, Traced) else getattr(event.data, "trace", [])
    for index, entry in enumerate(entries):
        yield _traced(sequence, index, entry)
    if not isinstance(event, Traced):
        state = {"timestamp": utc(event.time), "attempt": event.attempt, **_state(event, internals)}
        yield Moment(sequence, len(entries), "state", state)


def moments_of_record(record: Record, internals: bool) -> list[Moment]:
    """The same, told from a finished record. It does not know the sequence of its first start: that comes first."""
    queued = _queued("Queued", utc_or_none(record.queued_at), utc_or_none(record.run_at))
    told = [Moment(0, 0, "queued", queued)]
    if record.started_at is not None:
        told.append(Moment(0, 1, "state", {"timestamp": utc(record.started_at), "status": "Running", "attempt": 1}))
    told += [_traced(line.sequence, line.index, line.entry) for line in record.trace]
    told += [
        Moment(
            step.sequence,
            _length(record.trace, step.sequence),
            "state",
            _step(step),
        )
        for step in record.transitions
        if step.sequence != record.state_sequence
    ]
    told.append(
        Moment(record.state_sequence, _length(record.trace, record.state_sequence), "state", _end(record, internals))
    )
    return sorted(told, key=lambda moment: (moment.sequence, moment.index))


def _step(step: Transition) -> dict[str, Any]:
    told = {"timestamp": utc(step.at), "status": step.status, "attempt": step.attempt, "reason": step.reason}
    return told if step.by is None else {**told, "by": caller_view(step.by)}


def _queued(status: str, timestamp: str | None, run_at: str | None) -> dict[str, Any]:
    return {"timestamp": timestamp, "status": status, "runAt": run_at}


def _end(record: Record, internals: bool) -> dict[str, Any]:
    told = {"timestamp": utc_or_none(record.completed_at), "status": record.status, "attempt": record.attempt}
    if record.status == "Success":
        return {**told, "result": record.result, "durationMs": record.duration_ms}
    return {**told, **(_failure(record.failure, internals) if record.failure else {}), "durationMs": record.duration_ms}


def _state(event: StateEvent, internals: bool) -> dict[str, Any]:
    match event:
        case Started(data=started):
            return {"status": "Running", "executor": started.executor, "reason": started.reason}
        case Retrying(data=retrying):
            return {
                "status": "Retrying",
                "nextAttemptAt": utc(retrying.next_attempt_at),
                **_failure(retrying.failure, internals),
            }
        case Suspended(data=suspended):
            return {"status": "Suspended", "reason": suspended.reason, "resumesAt": utc_or_none(suspended.until)}
        case Succeeded(data=succeeded):
            return {"status": "Success", "result": succeeded.result, "durationMs": succeeded.duration_ms}
        case Failed(data=failed):
            return {"status": "Failed", **_failure(failed.failure, internals), "durationMs": failed.duration_ms}
        case Cancelled(data=cancelled):
            message = cancelled.reason or "Cancelled on request"
            return {"status": "Cancelled", "message": message, "cancelledBy": caller_view(cancelled.by)}
        case _:
            return _decision(event)


def _decision(event: PendingApproval | Approved | Declined | Rejected | ApprovalExpired) -> dict[str, Any]:
    match event:
        case PendingApproval(data=pending):
            given = [decision_view(decision) for decision in pending.decisions]
            expires = utc(pending.terms.expires_at)
            return {
                "status": "PendingApproval",
                "reason": pending.terms.message,
                "expiresAt": expires,
                "decisions": given,
            }
        case Approved(data=decided) | Declined(data=decided):
            later = decided.run_at is not None and decided.run_at > event.time
            given = [decision_view(decision) for decision in decided.decisions]
            return {"status": "Scheduled" if later else "Queued", "reason": type(event).__name__, "decisions": given}
        case Rejected(data=rejected):
            last = rejected.decisions[-1]
            return {"status": "Cancelled", **_failure(rejection(last), False), "cancelledBy": caller_view(last.by)}
        case ApprovalExpired():
            return {"status": "Cancelled", **_failure(EXPIRED, False)}


def _failure(failure: Failure, internals: bool) -> dict[str, Any]:
    told = {"error": failure.error, "message": failure.message, "details": failure.details}
    return {**told, "internal": failure.internal} if internals and failure.internal is not None else told


def _traced(sequence: int, index: int, entry: TraceEntry) -> Moment:
    """A trace entry without what is sealed in it."""
    match entry:
        case LogEntry():
            return Moment(sequence, index, "log", log_view(entry))
        case CallEntry():
            return Moment(sequence, index, "call", call_view(entry))
        case CheckpointEntry():
            return _moment(sequence, index, "checkpoint", entry, {"name": entry.name, "data": entry.data})
        case VariableEntry():
            return _moment(sequence, index, "variable", entry, {"name": entry.name, "value": entry.value})
        case StepEntry():
            told = {"name": entry.key, "duration_ms": entry.duration_ms, "result": entry.result}
            return _moment(sequence, index, "step", entry, told)
        case SignalEntry():
            told = {"name": entry.name, "id": entry.id, "data": entry.data, "by": caller_view(entry.by)}
            return _moment(sequence, index, "event", entry, told)
        case ProgressEntry():
            told = {"percent": entry.percent, "message": entry.message}
            return _moment(sequence, index, "progress", entry, told)
        case SecretEntry():
            return _moment(sequence, index, "secret", entry, {"name": entry.name})
        case DroppedEntry():
            return _moment(sequence, index, "dropped", entry, {"what": entry.what, "count": entry.count})


def _moment(sequence: int, index: int, name: str, entry: TraceEntry, told: dict[str, Any]) -> Moment:
    return Moment(sequence, index, name, {"timestamp": utc(entry.at), **told})


def _length(trace: Iterable[Traceline], sequence: int) -> int:
    return sum(1 for line in trace if line.sequence == sequence)
