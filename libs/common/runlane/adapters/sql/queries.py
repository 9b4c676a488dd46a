"""Reads records and pages of ticks. Plain functions of a reading connection."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select, tuple_

from runlane.contracts.records import Record, TickPage, TickQuery

from . import rows
from .cursors import read_cursor, write_cursor
from .moments import micros_of
from .tables import executions, payloads, ticks, traces, transitions


def _of_execution(statement: Select[Any], table: Any) -> Select[Any]:
    return statement.where(table.c.execution_id == bindparam("id"), table.c.org == bindparam("org"))


_EXECUTION = _of_execution(select(executions), executions)
_PAYLOAD = _of_execution(
    select(payloads.c.input, payloads.c.sealed_input, payloads.c.digest, payloads.c.result), payloads
)
_TRANSITIONS = _of_execution(select(*list(transitions.c)[2:]), transitions).order_by(transitions.c.sequence)
_TRACE = _of_execution(select(traces.c.sequence, traces.c.idx, traces.c.attempt, traces.c.body), traces).order_by(
    traces.c.sequence, traces.c.idx
)


def get(connection: Connection, org: str, execution_id: str) -> Record | None:
    """One whole record."""
    key = {"id": execution_id, "org": org}
    found = connection.execute(_EXECUTION, key).first()
    if found is None:
        return None
    record = Record(**rows.summary_fields(found))
    payload = connection.execute(_PAYLOAD, key).first()
    if payload is not None:
        rows.take_payload(record, payload)
    record.transitions = [rows.transition(row) for row in connection.execute(_TRANSITIONS, key)]
    record.trace = [rows.traceline(row) for row in connection.execute(_TRACE, key)]
    return record


def list_ticks(connection: Connection, query: TickQuery) -> TickPage:
    """A page of ticks, newest first."""
    place = (ticks.c.scheduled_for, ticks.c.org, ticks.c.workflow)
    statement = select(ticks).order_by(*(column.desc() for column in place))
    if query.orgs is not None:
        statement = statement.where(ticks.c.org.in_(query.orgs))
    if query.workflow is not None:
        statement = statement.where(ticks.c.workflow == query.workflow)
    if query.after is not None:
        micros, names = read_cursor(query.after, 2)
        statement = statement.where(tuple_(*place) < (micros, *names))
    found, more = _page(connection, statement, query.limit)
    items = [rows.tick(row) for row in found]
    if not more:
        return TickPage(items, None)
    last = items[-1]
    return TickPage(items, write_cursor(micros_of(last.scheduled_for), last.org, last.workflow))


def _page(connection: Connection, statement: Select[Any], limit: int) -> tuple[Sequence[Any], bool]:
    """Up to `limit` rows, and whether there are more."""
    found = connection.execute(statement.limit(limit + 1)).all()
    return found[:limit], len(found) > limit
