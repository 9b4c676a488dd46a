"""SQLite as `dialect` speaks it: one file, written by one at a time, read beside that."""

import json
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    bindparam,
    create_engine,
    event,
    func,
    literal_column,
    select,
)
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.selectable import NamedFromClause

from runlane.errors import StoreUnavailable

from .puts import Put, on_clash

if TYPE_CHECKING:
    from .dialect import Opening

_CACHE_KIB = 16_384
#: Of 4 KiB each.
_CHECKPOINT_PAGES = 16_000

_REASONS = {
    "SQLITE_BUSY": "another process keeps it locked",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_CANTOPEN": "its file cannot be opened",
    "SQLITE_READONLY": "its file is read-only",
    "SQLITE_CORRUPT": "its file is damaged",
    "SQLITE_NOTADB": "its file is not a database",
    "SQLITE_IOERR": "its disk fails",
}


def usable(url: URL) -> URL | None:
    """A file, whatever driver the address names."""
    if not url.database or url.database == ":memory:":
        return None
    return url.set(drivername="sqlite+pysqlite")


def exists(url: URL) -> bool:
    """Whether the file is there."""
    return Path(url.database or "").is_file()


def prepare(url: URL) -> None:
    """Make the file's directory."""
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)


def open_engine(url: URL, opening: "Opening") -> Engine:
    """An engine whose transactions are explicit: a writing one holds the write lock from its beginning."""
    # Parameters are what customers sent; they must not get into an error text.
    engine = create_engine(url, pool_size=opening.connections, max_overflow=0, hide_parameters=True)
    pragmas = [f"busy_timeout={int(opening.busy_seconds * 1000)}"]
    if opening.writing:
        # NORMAL may lose the last commits when power fails, never more.
        pragmas += [f"synchronous={'FULL' if opening.fsync else 'NORMAL'}"]
        # New rows of many organisations go to as many places of a large file: what a few batches have changed is
        # kept, and written to its place together.
        pragmas += [f"cache_size=-{_CACHE_KIB}", f"wal_autocheckpoint={_CHECKPOINT_PAGES}"]
    else:
        pragmas += ["query_only=ON"]

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _: object) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None  # the driver begins nothing by itself
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        if opening.writing:
            _write_ahead(connection, opening.busy_seconds)

    @event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if opening.writing else "BEGIN")

    return engine


def put(connection: Connection, put: Put, rows: Sequence[tuple[Any, ...]]) -> None:
    """One prepared statement, row by row."""
    connection.exec_driver_sql(_insert(put), list(rows))


def delete(connection: Connection, key: tuple[Column[Any], ...], keys: Sequence[tuple[Any, ...]]) -> None:
    """One prepared statement, key by key."""
    connection.exec_driver_sql(_delete(key), list(keys))


def copy(url: URL, target: Path) -> None:
    """Copy a whole database, as it is in one moment, to a file. Nobody waits for it. Raises `StoreUnavailable`."""
    source = f"{Path(url.database or '').absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(source, uri=True)) as reading, closing(sqlite3.connect(target)) as writing:
            # In one step: after each pause it would begin again if somebody has written meanwhile.
            reading.backup(writing, pages=-1)
    except sqlite3.Error as problem:
        raise StoreUnavailable(f"The record store cannot be copied: {_named(problem)}.") from None


def scopes(scopes: Sequence[tuple[str, str | None]]) -> FromClause:
    """The elements of a JSON array, in a table that is made once and read before any other."""
    given = func.json_each(json.dumps(scopes)).table_valued("value", name="given")
    org, status = (func.json_extract(given.c.value, f"$[{place}]") for place in (0, 1))
    return select(org.label("org"), status.label("status")).cte("scopes").prefix_with("MATERIALIZED")


def rows_of(table: NamedFromClause) -> Select[Any]:
    """SQLite's own number of a row."""
    return select(literal_column(f"{table.name}.rowid")).select_from(table)


def of_each(given: FromClause, table: NamedFromClause, newest: Select[Any]) -> Select[Any]:
    """There are no lateral joins; but rows are found by numbers that depend on the left side."""
    rowid: ColumnElement[int] = literal_column(f"{table.name}.rowid")
    return select(table).select_from(given.join(table, rowid.in_(newest)))


def reason(problem: DBAPIError) -> str:
    """In words, by SQLite's name of the error."""
    return _named(problem.orig)


def _named(problem: BaseException | None) -> str:
    name = getattr(problem, "sqlite_errorname", type(problem).__name__)
    return next((text for code, text in _REASONS.items() if name.startswith(code)), name)


@cache
def _insert(put: Put) -> str:
    return str(on_clash(sqlite.insert(put.table), put).compile(dialect=sqlite.dialect()))


@cache
def _delete(key: tuple[Column[Any], ...]) -> str:
    statement = delete_from(key[0].table).where(*(column == bindparam(column.name) for column in key))
    return str(statement.compile(dialect=sqlite.dialect()))


def _write_ahead(connection: sqlite3.Connection, busy_seconds: float) -> None:
    """Let readers go on while somebody writes. SQLite does not wait for locks here, and two may begin at once."""
    deadline = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as problem:
            if problem.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
