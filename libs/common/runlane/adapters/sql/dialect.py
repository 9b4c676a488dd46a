"""Everything that one SQL dialect says differently from another: connecting, writing again, searching, what went wrong.

SQLite and PostgreSQL are spoken, each in a module of its own; nothing else asks which one it is.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Connection, Engine, FromClause, Select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, IntegrityError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction
from sqlalchemy.sql.selectable import NamedFromClause
from sqlalchemy.types import Boolean

from runlane.errors import ConfigurationError, StoreUnavailable

from . import dialect_postgresql, dialect_sqlite
from .puts import Put

Rows = Sequence[tuple[Any, ...]]


class Opening(Struct, frozen=True, kw_only=True):
    """How an engine is opened. A `writing` one has transactions beside which nobody else writes."""

    writing: bool
    connections: int
    fsync: bool
    #: How long to wait for another writer.
    busy_seconds: float


class Dialect(Protocol):
    """What each dialect's module has."""

    def usable(self, url: URL) -> URL | None:
        """The address with our driver; None where it names no database that could hold records."""
        ...

    def exists(self, url: URL) -> bool:
        """Whether there may be a database at all, told without making one."""
        ...

    def prepare(self, url: URL) -> None:
        """Make room for a database that is about to be made."""
        ...

    def open_engine(self, url: URL, opening: Any) -> Engine: ...

    def put(self, connection: Connection, put: Put, rows: Rows) -> None: ...

    def delete(self, connection: Connection, key: tuple[Column[Any], ...], keys: Rows) -> None: ...

    def scopes(self, scopes: Sequence[tuple[str, str | None]]) -> FromClause:
        """A table of these, `org` and `status`."""
        ...

    def rows_of(self, table: NamedFromClause) -> Select[Any]:
        """What `of_each` wants to have of a table."""
        ...

    def of_each(self, given: FromClause, table: NamedFromClause, newest: Select[Any]) -> Select[Any]:
        """The columns of those rows of a table that `newest`, made of `rows_of` an alias, finds for each of `given`."""
        ...

    def reason(self, problem: DBAPIError) -> str:
        """Why it cannot answer, without a value in it."""
        ...


_SPOKEN: dict[str, Dialect] = {"sqlite": dialect_sqlite, "postgresql": dialect_postgresql}


def parse_url(url: str) -> URL:
    """The address of a record store; raises `ConfigurationError` for one that cannot be used."""
    try:
        # `postgres://` is what many hosts of databases hand out.
        parsed = make_url("postgresql://" + url.removeprefix("postgres://") if url.startswith("postgres://") else url)
    except (ArgumentError, ValueError):
        raise ConfigurationError("RUNLANE_DATABASE_URL is not a database URL.", "RUNLANE_DATABASE_URL") from None
    spoken = _SPOKEN.get(parsed.get_backend_name())
    usable = None if spoken is None else spoken.usable(parsed)
    if usable is None:
        raise ConfigurationError(
            "RUNLANE_DATABASE_URL must name a SQLite file (sqlite:///PATH) or a PostgreSQL database "
            "(postgresql://USER@HOST/DATABASE).",
            "RUNLANE_DATABASE_URL",
        )
    return usable


def exists(url: URL) -> bool:
    """Whether there is a database at all; connecting to a SQLite file that is not there would make one."""
    return _SPOKEN[url.get_backend_name()].exists(url)


def prepare(url: URL) -> None:
    """Make room for a database that is about to be made."""
    _SPOKEN[url.get_backend_name()].prepare(url)


def open_engine(url: URL, opening: Opening) -> Engine:
    """An engine whose transactions are as `opening` says."""
    return _SPOKEN[url.get_backend_name()].open_engine(url, opening)


def put(connection: Connection, put: Put, rows: Rows) -> None:
    """Write rows. Straight to the driver: these are the hot statements, and their rows are in the columns' order."""
    if rows:
        _SPOKEN[connection.dialect.name].put(connection, put, rows)


def delete(connection: Connection, key: tuple[Column[Any], ...], keys: Rows) -> None:
    """Delete the rows with these keys; a key may be the beginning of the table's."""
    if keys:
        _SPOKEN[connection.dialect.name].delete(connection, key, keys)


def scopes(connection: Connection, scopes: Sequence[tuple[str, str | None]]) -> FromClause:
    """A table of these, `org` and `status`."""
    return _SPOKEN[connection.dialect.name].scopes(scopes)


def rows_of(connection: Connection, table: NamedFromClause) -> Select[Any]:
    """See `Dialect.rows_of`."""
    return _SPOKEN[connection.dialect.name].rows_of(table)


def of_each(connection: Connection, given: FromClause, table: NamedFromClause, newest: Select[Any]) -> Select[Any]:
    """See `Dialect.of_each`."""
    return _SPOKEN[connection.dialect.name].of_each(given, table, newest)


class holds(GenericFunction[bool]):
    """`holds(column, text)`: whether a text column contains exactly this text somewhere."""

    type = Boolean()
    inherit_cache = True


@compiles(holds)
def _holds(element: ColumnElement[bool], compiler: SQLCompiler, **options: Any) -> str:
    return f"(instr({compiler.process(element.clauses, **options)}) > 0)"


@compiles(holds, "postgresql")
def _holds_in_postgresql(element: ColumnElement[bool], compiler: SQLCompiler, **options: Any) -> str:
    return f"(strpos({compiler.process(element.clauses, **options)}) > 0)"


def unavailable(name: str, problem: DBAPIError) -> StoreUnavailable | None:
    """The error as callers know it, without a value in it; None when it is the data that cannot be stored."""
    if isinstance(problem, DataError | IntegrityError):
        return None
    return StoreUnavailable(f"The record store cannot answer: {_SPOKEN[name].reason(problem)}.")
