"""Folds batches of events into the tables, and removes what is too old. Plain functions of a writing connection."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from runlane.contracts.events import Audited, Delivered, Ticked, decode_event
from runlane.contracts.records import Record, fold, tick_of
from runlane.ports import Stored

from . import dialect, rows
from .audit import PUT_AUDIT, audit_row
from .deliveries import PUT_DELIVERY, delivery_row, prune_deliveries
from .moments import micros_of
from .puts import Put
from .rows import Key, Row
from .tables import executions, payloads, ticks, traces, transitions

_PUT_EXECUTION = Put(executions, "replace")
_PUT_PAYLOAD = Put(payloads, "complete")
_ADD_TRACE = Put(traces, "leave")
_ADD_TRANSITION = Put(transitions, "leave")
_PUT_TICK = Put(ticks, "replace older")

_KEYS = [(t.c.execution_id, t.c.org) for t in (traces, transitions, payloads, executions)]
_TICK_KEY = (ticks.c.org, ticks.c.workflow, ticks.c.scheduled_for)

#: A statement takes only so many parameters.
_IDS_AT_ONCE = 1000
_KNOWN = select(executions).where(executions.c.execution_id.in_(bindparam("ids", expanding=True)))


def apply(connection: Connection, events: Iterable[Stored]) -> None:
    """Bring the tables up to date with these events: each execution is written once, however many events it has here.

    Raises `msgspec.DecodeError` when one of them is no event.
    """
    decoded = [(stored.sequence, decode_event(stored.payload)) for stored in events]
    decoded.sort(key=lambda numbered: numbered[0])
    before = _known(
        connection, list({event.subject for _, event in decoded if not isinstance(event, Ticked | Audited | Delivered)})
    )
    records = {key: Record(**rows.summary_fields(row)) for key, row in before.items()}
    ticked: list[Row] = []
    audited: list[Row] = []
    delivered: list[Row] = []
    for sequence, event in decoded:
        if isinstance(event, Ticked):
            ticked.append(rows.tick_row(sequence, tick_of(event)))
            continue
        if isinstance(event, Audited):
            audited.append(audit_row(sequence, event))
            continue
        if isinstance(event, Delivered):
            delivered.append(delivery_row(sequence, event))
            continue
        key = (event.subject, event.organization)
        folded = fold(records.get(key), sequence, event)
        assert folded is not None  # what has no record was dealt with above
        records[key] = folded
    write_records(connection, before, records)
    dialect.put(connection, _PUT_TICK, ticked)
    dialect.put(connection, PUT_AUDIT, audited)
    dialect.put(connection, PUT_DELIVERY, delivered)


def prune(connection: Connection, before: datetime, limit: int) -> int:
    """Delete some executions that ended before then, old ticks and old deliveries; how many."""
    old = select(executions.c.execution_id, executions.c.org).where(executions.c.completed_at < micros_of(before))
    keys = [tuple(row) for row in connection.execute(old.order_by(executions.c.completed_at).limit(limit))]
    for key in _KEYS:
        dialect.delete(connection, key, keys)
    scheduled = select(ticks.c.org, ticks.c.workflow, ticks.c.scheduled_for)
    due = scheduled.where(ticks.c.scheduled_for < micros_of(before)).order_by(ticks.c.scheduled_for).limit(limit)
    gone = [tuple(row) for row in connection.execute(due)]
    dialect.delete(connection, _TICK_KEY, gone)
    return len(keys) + len(gone) + prune_deliveries(connection, before, limit)


def _known(connection: Connection, ids: Sequence[str]) -> dict[Key, Row]:
    found: dict[Key, Row] = {}
    for first in range(0, len(ids), _IDS_AT_ONCE):
        asked = {"ids": ids[first : first + _IDS_AT_ONCE]}
        found.update({(row[0], row[1]): tuple(row) for row in connection.execute(_KNOWN, asked)})
    return found


def write_records(connection: Connection, before: dict[Key, Row], records: dict[Key, Record]) -> None:
    """Write whole records. `before`: the rows of executions as they are, so that the same is not written again."""
    changed = [row for key, record in records.items() if (row := rows.execution_row(record)) != before.get(key)]
    contents = [told for record in records.values() if (told := rows.payload_row(record)) is not None]
    traced = [rows.trace_row(key, line) for key, record in records.items() for line in record.trace]
    moved = [rows.transition_row(key, step) for key, record in records.items() for step in record.transitions]
    dialect.put(connection, _PUT_EXECUTION, changed)
    dialect.put(connection, _PUT_PAYLOAD, contents)
    dialect.put(connection, _ADD_TRACE, traced)
    dialect.put(connection, _ADD_TRANSITION, moved)
