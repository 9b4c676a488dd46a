"""Executions, trace entries, transitions and ticks as rows, and back. Both directions stand side by side here."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw

from runlane.contracts.events import Failure
from runlane.contracts.records import Record, Summary, Tick, Traceline, Transition
from runlane.contracts.requests import Caller, Trigger
from runlane.contracts.trace import TraceEntry

from .moments import from_micros, micros_of, moment_of, to_micros

Row = tuple[Any, ...]
Key = tuple[str, str]

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_caller = msgspec.json.Decoder(Caller)
_failure = msgspec.json.Decoder(Failure)
_entry: msgspec.json.Decoder[TraceEntry] = msgspec.json.Decoder(TraceEntry)


def key_of(summary: Summary) -> Key:
    """What identifies an execution in every table."""
    return summary.execution_id, summary.org


def execution_row(it: Summary) -> Row:
    """A row of `executions`, in the order of its columns."""
    return (
        it.execution_id,
        it.org,
        it.workflow,
        it.status,
        it.trigger.kind,
        it.trigger.reference,
        _caller_text(it.caller),
        _tags_text(tuple(it.tags)),
        micros_of(it.listed_at),
        to_micros(it.queued_at),
        to_micros(it.run_at),
        to_micros(it.started_at),
        to_micros(it.completed_at),
        it.duration_ms,
        it.attempt,
        it.executor,
        None if it.failure is None else _encode(it.failure),
        None if it.cancelled_by is None else _encode(it.cancelled_by),
        to_micros(it.resumes_at),
        it.progress,
        it.progress_message,
        it.state_sequence,
        it.started_sequence,
        it.progress_sequence,
        None if it.failure is None else it.failure.error,
    )


def summary_fields(row: Sequence[Any]) -> dict[str, Any]:
    """The fields of a `Summary` or `Record` from a row of `executions`."""
    return {
        "execution_id": row[0],
        "org": row[1],
        "workflow": row[2],
        "status": row[3],
        "trigger": Trigger(row[4], row[5]),
        "caller": _caller.decode(row[6]),
        "tags": [_tag(line) for line in row[7].split("\n") if line],
        "queued_at": from_micros(row[9]),
        "run_at": from_micros(row[10]),
        "started_at": from_micros(row[11]),
        "completed_at": from_micros(row[12]),
        "duration_ms": row[13],
        "attempt": row[14],
        "executor": row[15],
        "failure": None if row[16] is None else _failure.decode(row[16]),
        "cancelled_by": None if row[17] is None else _caller.decode(row[17]),
        "resumes_at": from_micros(row[18]),
        "progress": row[19],
        "progress_message": row[20],
        "state_sequence": row[21],
        "started_sequence": row[22],
        "progress_sequence": row[23],
    }


def payload_row(record: Record) -> Row | None:
    """A row of `payloads` with what the record knows, None when that is nothing."""
    if record.input is None and record.result is None:
        return None
    return (*key_of(record), _bytes(record.input), record.sealed_input, record.digest, _bytes(record.result))


def take_payload(record: Record, row: Sequence[Any]) -> None:
    """Complete a record with a row of `payloads` without its key."""
    record.input, record.sealed_input, record.digest, record.result = _raw(row[0]), row[1], row[2], _raw(row[3])


def trace_row(key: Key, line: Traceline) -> Row:
    """A row of `traces`."""
    return (*key, line.sequence, line.index, line.attempt, type(line.entry).__struct_config__.tag, _encode(line.entry))


def traceline(row: Sequence[Any]) -> Traceline:
    """A trace line from (sequence, idx, attempt, body)."""
    return Traceline(row[0], row[1], row[2], _entry.decode(row[3]))


def transition_row(key: Key, it: Transition) -> Row:
    """A row of `transitions`."""
    by = None if it.by is None else _caller_text(it.by)
    return (*key, it.sequence, micros_of(it.at), it.status, it.attempt, it.reason, to_micros(it.until), it.executor, by)


def transition(row: Sequence[Any]) -> Transition:
    """A transition from a row of `transitions` without its key."""
    by = None if row[7] is None else _caller.decode(row[7])
    return Transition(row[0], moment_of(row[1]), row[2], row[3], row[4], from_micros(row[5]), row[6], by)


def tick_row(sequence: int, it: Tick) -> Row:
    """A row of `ticks`, in the order of its columns."""
    return (
        it.org,
        it.workflow,
        micros_of(it.scheduled_for),
        it.outcome,
        micros_of(it.decided_at),
        it.schedule,
        it.time_zone,
        it.reason,
        it.execution_id,
        sequence,
    )


def tick(row: Sequence[Any]) -> Tick:
    """A tick from a row of `ticks`."""
    return Tick(
        org=row[0],
        workflow=row[1],
        scheduled_for=moment_of(row[2]),
        outcome=row[3],
        decided_at=moment_of(row[4]),
        schedule=row[5],
        time_zone=row[6],
        reason=row[7],
        execution_id=row[8],
    )


def tag_mark(tag: str) -> str:
    """What the tags column holds exactly where a row has this tag: JSON strings, each on a line of its own."""
    return f"\n{_encode(tag).decode()}\n"


# Callers and tags are few and come again with every execution.
@lru_cache(4096)
def _tags_text(tags: tuple[str, ...]) -> str:
    return "\n" + _encode_lines(tags).decode()


@lru_cache(4096)
def _caller_text(caller: Caller) -> bytes:
    return _encode(caller)


def _tag(line: str) -> str:
    return msgspec.json.decode(line, type=str)


def _bytes(raw: Raw | None) -> bytes | None:
    return None if raw is None else bytes(raw)


def _raw(body: bytes | None) -> Raw | None:
    return None if body is None else Raw(body)
