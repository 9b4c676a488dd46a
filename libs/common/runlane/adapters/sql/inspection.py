"""`runlane.inspection.Inspection` over SQL: rows as they are, read and written beside the door of the record store."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, delete, insert, select, tuple_, union

from runlane.contracts.events import Audited, Delivered, Ticked
from runlane.contracts.records import Record, tick_of
from runlane.inspection import Listed, Place, SideRow, What

from . import queries, rows, schema, writes
from .audit import audit_row
from .database import Database
from .deliveries import delivery_row
from .moments import moment_of
from .tables import audit, deliveries, executions, payloads, ticks, traces, transitions

_PARTS = (traces, transitions, payloads, executions)
#: What spoiled rows raise when they are read.
_SPOILED = (msgspec.DecodeError, msgspec.ValidationError, TypeError, ValueError, ArithmeticError, AttributeError)

_TABLES: dict[What, Table] = {"tick": ticks, "audit": audit, "delivery": deliveries}
_AT = {"tick": "scheduled_for", "audit": "at", "delivery": "at"}


class SqlInspection:
    """See `runlane.inspection.Inspection`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def records(self, places: Sequence[Place]) -> dict[Place, Record | None]:
        return await self._database.read(lambda connection: _records(connection, places))

    async def listed(self, after: Place | None, limit: int) -> list[Listed]:
        return await self._database.read(lambda connection: _listed(connection, after, limit))

    async def orphans(self) -> list[Place]:
        return await self._database.read(_orphans)

    def side(self, sequence: int, event: Ticked | Audited | Delivered) -> SideRow:
        match event:
            case Ticked():
                return _side("tick", rows.tick_row(sequence, tick_of(event)))
            case Audited():
                return _side("audit", audit_row(sequence, event))
            case Delivered():
                return _side("delivery", delivery_row(sequence, event))

    async def sides(self, what: What, ids: Sequence[tuple[str, str]]) -> list[SideRow]:
        return await self._database.read(lambda connection: _sides(connection, what, ids))

    async def sides_since(self, what: What, first: int) -> list[SideRow]:
        table = _TABLES[what]
        statement = select(table).where(table.c.sequence >= first)
        return await self._database.read(lambda connection: [_side(what, row) for row in connection.execute(statement)])

    async def replace(self, place: Place, record: Record | None) -> None:
        await self._database.write(lambda connection: _replace(connection, place, record))

    async def replace_side(self, was: SideRow | None, now: SideRow | None) -> bool:
        return await self._database.write(lambda connection: _replace_side(connection, was, now))


@asynccontextmanager
async def open_inspection(url: str) -> AsyncIterator[SqlInspection]:
    """The record store at a SQLAlchemy URL. Raises `StoreUnavailable`, `ConfigurationError`."""
    database = Database(url)
    try:
        await database.read(schema.check)
        yield SqlInspection(database)
    finally:
        await database.close()


def _records(connection: Connection, places: Sequence[Place]) -> dict[Place, Record | None]:
    found: dict[Place, Record | None] = {}
    for place in places:
        try:
            record = queries.get(connection, place[1], place[0])
        except _SPOILED:
            found[place] = None
            continue
        if record is not None:
            found[place] = record
        elif any(connection.execute(select(table).where(_is(table, place)).limit(1)).first() for table in _PARTS):
            found[place] = None
    return found


def _listed(connection: Connection, after: Place | None, limit: int) -> list[Listed]:
    table = executions.c
    sequences = (table.state_sequence, table.started_sequence, table.progress_sequence)
    statement = select(table.execution_id, table.org, table.listed_at, *sequences)
    if after is not None:
        statement = statement.where(tuple_(table.execution_id, table.org) > after)
    ordered = statement.order_by(table.execution_id, table.org).limit(limit)
    return [Listed((row[0], row[1]), max(row[3:]), moment_of(row[2])) for row in connection.execute(ordered)]


def _orphans(connection: Connection) -> list[Place]:
    parts = [
        select(table.c.execution_id, table.c.org).where(
            ~select(executions.c.org)
            .where(executions.c.execution_id == table.c.execution_id, executions.c.org == table.c.org)
            .exists()
        )
        for table in _PARTS[:-1]
    ]
    return [(row[0], row[1]) for row in connection.execute(union(*parts))]


def _replace(connection: Connection, place: Place, record: Record | None) -> None:
    for table in _PARTS:
        connection.execute(delete(table).where(_is(table, place)))
    if record is not None:
        writes.write_records(connection, {}, {place: record})


def _is(table: Table, place: Place) -> ColumnElement[bool]:
    return tuple_(table.c.execution_id, table.c.org) == place


def _sides(connection: Connection, what: What, ids: Sequence[tuple[str, str]]) -> list[SideRow]:
    table = _TABLES[what]
    found: list[SideRow] = []
    for org, id_ in ids:
        statement = select(table).where(*(table.c[name] == value for name, value in _key(what, org, id_).items()))
        found += [_side(what, row) for row in connection.execute(statement)]
    return found


def _replace_side(connection: Connection, was: SideRow | None, now: SideRow | None) -> bool:
    known = was or now
    assert known is not None
    there = _sides(connection, known.what, [(known.org, known.id)])
    if [row.row for row in there] != ([] if was is None else [was.row]):
        return False
    table = _TABLES[known.what]
    key = _key(known.what, known.org, known.id)
    connection.execute(delete(table).where(*(table.c[name] == value for name, value in key.items())))
    if now is not None:
        connection.execute(insert(table).values(now.row))
    return True


def _key(what: What, org: str, id_: str) -> dict[str, Any]:
    if what != "tick":
        return {"id": id_, "org": org}
    workflow, _, micros = id_.partition("/")
    return {"org": org, "workflow": workflow, "scheduled_for": int(micros)}


def _side(what: What, row: Sequence[Any]) -> SideRow:
    """`id` of a tick: the workflow and the microsecond for which it was scheduled."""
    values = dict(zip(_TABLES[what].columns.keys(), row, strict=True))
    id_ = f"{values['workflow']}/{values['scheduled_for']}" if what == "tick" else values["id"]
    return SideRow(what, values["org"], id_, moment_of(values[_AT[what]]), values["sequence"], tuple(row))
