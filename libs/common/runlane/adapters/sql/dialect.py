"""Everything that one SQL dialect says differently from another: connecting, writing again, searching, what went wrong.

Only SQLite is spoken so far; another dialect is added here and nowhere else.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Column, ColumnElement, Delete, Engine, Table, bindparam, create_engine, delete, event, func
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError

from runlane.errors import ConfigurationError, StoreUnavailable

_REASONS = {
    "SQLITE_BUSY": "another process keeps it locked",
    "SQLITE_FULL": "the disk is full",
    "SQLITE_CANTOPEN": "its file cannot be opened",
    "SQLITE_READONLY": "its file is read-only",
    "SQLITE_CORRUPT": "its file is damaged",
    "SQLITE_NOTADB": "its file is not a database",
    "SQLITE_IOERR": "its disk fails",
}


def parse_url(url: str) -> URL:
    """The address of a record store; raises `ConfigurationError` for one that cannot be used."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError("RUNLANE_DATABASE_URL is not a database URL.", "RUNLANE_DATABASE_URL") from None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError(
            "RUNLANE_DATABASE_URL must name a SQLite file: sqlite+aiosqlite:///PATH.", "RUNLANE_DATABASE_URL"
        )
    return parsed.set(drivername="sqlite+pysqlite")


def exists(url: URL) -> bool:
    """Whether there is a database at all; connecting to a SQLite file that is not there would make one."""
    return Path(url.database or "").is_file()


def prepare(url: URL) -> None:
    """Make room for a database that is about to be made."""
    Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)


def open_engine(url: URL, *, writing: bool, connections: int, fsync: bool, busy_seconds: float) -> Engine:
    """An engine whose transactions are explicit: a writing one holds the write lock from its beginning."""
    # Parameters are what customers sent; they must not get into an error text.
    engine = create_engine(url, pool_size=connections, max_overflow=0, hide_parameters=True)
    pragmas = [f"busy_timeout={int(busy_seconds * 1000)}"]
    if writing:
        # NORMAL may lose the last commits when power fails, never more.
        pragmas += [f"synchronous={'FULL' if fsync else 'NORMAL'}"]
    else:
        pragmas += ["query_only=ON"]

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _: object) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None  # the driver begins nothing by itself
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
        if writing:
            _write_ahead(connection, busy_seconds)

    @event.listens_for(engine, "begin")
    def _begun(connection: object) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")  # type: ignore[attr-defined]

    return engine


def copy(url: URL, target: Path) -> None:
    """Copy a whole database, as it is in one moment, to a file. Nobody waits for it. Raises `StoreUnavailable`."""
    source = f"{Path(url.database or '').absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(source, uri=True)) as reading, closing(sqlite3.connect(target)) as writing:
            # In one step: after each pause it would begin again if somebody has written meanwhile.
            reading.backup(writing, pages=-1)
    except sqlite3.Error as problem:
        raise StoreUnavailable(f"The record store cannot be copied: {_reason(problem)}.") from None


def insert_or_replace(table: Table) -> str:
    """INSERT of all columns in their order, as the driver takes it; a newer row replaces the old one."""
    insert = sqlite.insert(table)
    return _sql(insert.on_conflict_do_update(set_={c.name: insert.excluded[c.name] for c in _values(table)}))


def insert_or_replace_older(table: Table) -> str:
    """The same for a table with a `sequence`: only a row with a lower one is replaced."""
    insert = sqlite.insert(table)
    newer = insert.excluded.sequence > table.c.sequence
    return _sql(
        insert.on_conflict_do_update(set_={c.name: insert.excluded[c.name] for c in _values(table)}, where=newer)
    )


def insert_or_complete(table: Table) -> str:
    """The same, but where the new row knows nothing the old one keeps what it knows."""
    insert = sqlite.insert(table)
    known = {c.name: func.coalesce(insert.excluded[c.name], c) for c in _values(table)}
    return _sql(insert.on_conflict_do_update(set_=known))


def insert_or_leave(table: Table) -> str:
    """The same, but a row that is there already stays as it is."""
    return _sql(sqlite.insert(table).on_conflict_do_nothing())


def holds(column: Column[str], text: str) -> ColumnElement[bool]:
    """Whether a text column contains exactly this text somewhere."""
    return func.instr(column, text) > 0


def unavailable(problem: DBAPIError) -> StoreUnavailable | None:
    """The error as callers know it, without a value in it; None when it is the data that cannot be stored."""
    if isinstance(problem, DataError | IntegrityError):
        return None
    return StoreUnavailable(f"The record store cannot answer: {_reason(problem.orig)}.")


def _reason(problem: BaseException | None) -> str:
    name = getattr(problem, "sqlite_errorname", type(problem).__name__)
    return next((text for code, text in _REASONS.items() if name.startswith(code)), name)


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


def delete_at(*key: Column[Any]) -> str:
    """DELETE of the row with this key."""
    return _sql(delete(key[0].table).where(*(column == bindparam(column.name) for column in key)))


def _sql(statement: sqlite.Insert | Delete) -> str:
    return str(statement.compile(dialect=sqlite.dialect()))


def _values(table: Table) -> list[Column[object]]:
    return [column for column in table.columns if not column.primary_key]
