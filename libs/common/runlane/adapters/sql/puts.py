"""How a row is written where one with its key is there already. Dialects make statements of theirs from it."""

from typing import Any, Literal, TypeVar

from msgspec import Struct
from sqlalchemy import Column, Table, func
from sqlalchemy.dialects import postgresql, sqlite

#: replace: the new row replaces the old one. replace older: only one with a lower `sequence`. complete: where the new
#: row knows nothing, the old one keeps what it knows. leave: the old one stays as it is.
Clash = Literal["replace", "replace older", "complete", "leave"]

_Insert = TypeVar("_Insert", sqlite.Insert, postgresql.Insert)


class Put(Struct, frozen=True):
    """To write rows of a table: all its columns, in their order. No key twice at once, except to leave or to replace
    older rows: of those the last one counts."""

    table: Table
    clash: Clash


def on_clash(insert: _Insert, put: Put) -> _Insert:
    """An INSERT that does what `put` says where there is a row with the same key."""
    key = list(put.table.primary_key.columns)
    if put.clash == "leave":
        return insert.on_conflict_do_nothing(index_elements=key)
    new, values = insert.excluded, [column for column in put.table.columns if not column.primary_key]
    told: dict[str, Any] = {column.name: new[column.name] for column in values}
    if put.clash == "complete":
        told = {column.name: func.coalesce(new[column.name], column) for column in values}
    newer = new.sequence > put.table.c.sequence if put.clash == "replace older" else None
    return insert.on_conflict_do_update(index_elements=key, set_=told, where=newer)


def key_places(key: tuple[Column[Any], ...]) -> list[int]:
    """Where the columns of a key stand in a row of their table."""
    columns = list(key[0].table.columns)
    return [columns.index(column) for column in key]
