"""PostgreSQL as `dialect` speaks it, over psycopg: a batch of rows is one statement with an array for each column.

Whoever writes holds one advisory lock for the length of the transaction, so that of several recorders one folds events
into a record at a time, as with SQLite. Commits are always flushed, or a crash of the server alone would lose some.
"""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    FromClause,
    Select,
    Text,
    cast,
    create_engine,
    event,
    func,
    select,
    text,
    true,
    tuple_,
)
from sqlalchemy import delete as delete_from
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.selectable import NamedFromClause

from runlane.errors import ConfigurationError

from .puts import Put, key_places, on_clash

if TYPE_CHECKING:
    from .dialect import Opening

#: "runlane" in ASCII: the lock of whoever writes. It is one per database.
_WRITER = 0x72756E6C616E65
#: Seconds until a server that does not answer counts as gone.
_CONNECT_SECONDS = 5
_SILENT_SECONDS = 15

#: By the beginning of SQLSTATE, longest first.
_REASONS = {
    "28": "it refuses our user or password",
    "3D000": "there is no such database",
    "42P01": "a table is missing",
    "42501": "our user lacks a permission",
    "25006": "this connection is read-only",
    "53100": "the disk is full",
    "53300": "it has too many connections",
    "55P03": "another process keeps it locked",
    "57P": "it is starting or shutting down",
    "40": "another transaction was in the way",
    "XX": "it is damaged",
}


def usable(url: URL) -> URL | None:
    """A named database, whatever driver the address names."""
    return url.set(drivername="postgresql+psycopg") if url.database else None


def exists(url: URL) -> bool:
    """Connecting never makes one, so it will be seen then."""
    return True


def prepare(url: URL) -> None:
    """A database is made by its administrator."""


def open_engine(url: URL, opening: "Opening") -> Engine:
    """An engine whose writing transactions wait for each other, and whose reading ones see one snapshot."""
    engine = _create(url, opening)
    milliseconds = int(opening.busy_seconds * 1000)

    @event.listens_for(engine, "connect")
    def _connected(connection: DBAPIConnection, _: object) -> None:
        _speak_utf8_without_nul(connection)
        with connection.cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(f"SET lock_timeout = {milliseconds}")
        connection.commit()

    if opening.writing:

        @event.listens_for(engine, "begin")
        def _begun(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")

    return engine


def put(connection: Connection, put: Put, rows: Sequence[tuple[Any, ...]]) -> None:
    """One statement for all rows."""
    if put.clash == "replace older":
        # One statement may not touch a row twice; rows come in the order of their sequence.
        places = key_places(tuple(put.table.primary_key.columns))
        rows = list({tuple(row[place] for place in places): row for row in rows}.values())
    connection.exec_driver_sql(_insert(put), _by_column(rows))


def delete(connection: Connection, key: tuple[Column[Any], ...], keys: Sequence[tuple[Any, ...]]) -> None:
    """One statement for all keys."""
    connection.exec_driver_sql(_delete(key), _by_column(keys))


def scopes(scopes: Sequence[tuple[str, str | None]]) -> FromClause:
    """Two arrays side by side, compared as the columns are."""
    arrays = (cast([scope[place] for scope in scopes], postgresql.ARRAY(Text)) for place in (0, 1))
    given = func.unnest(*arrays).table_valued("org", "status").render_derived("given")
    return select(given.c.org.collate("C").label("org"), given.c.status.collate("C").label("status")).subquery("scopes")


def rows_of(table: NamedFromClause) -> Select[Any]:
    """All of it."""
    return select(table)


def of_each(given: FromClause, table: NamedFromClause, newest: Select[Any]) -> Select[Any]:
    """A join whose right side knows the left."""
    each = newest.lateral("each_newest")
    return select(each).select_from(given.join(each, true()))


def reason(problem: DBAPIError) -> str:
    """In words, by SQLSTATE; without one it was never reached, or refused us, or went away."""
    state = getattr(problem.orig, "sqlstate", None)
    if state is None and "FATAL" in str(problem.orig):  # psycopg knows no code for a refused connection
        return "it refuses us; are user, password and database right?"
    if state is None or state.startswith("08"):
        return "it cannot be reached"
    return next((told for code, told in _REASONS.items() if state.startswith(code)), f"SQLSTATE {state}")


def _create(url: URL, opening: "Opening") -> Engine:
    options: dict[str, Any] = {} if opening.writing else {"postgresql_readonly": True}
    level = "READ COMMITTED" if opening.writing else "REPEATABLE READ"
    try:
        return create_engine(
            url,
            pool_size=opening.connections,
            max_overflow=0,
            pool_pre_ping=True,  # a connection may have died with an earlier server
            hide_parameters=True,  # they are what customers sent and must not get into an error text
            execution_options={"isolation_level": level, **options},
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "tcp_user_timeout": _SILENT_SECONDS * 1000,
                "keepalives_idle": _SILENT_SECONDS,
                "application_name": "runlane",
            },
        )
    except ModuleNotFoundError:
        raise ConfigurationError(
            "RUNLANE_DATABASE_URL names PostgreSQL; its driver comes with `pip install 'runlane[postgresql]'`.",
            "RUNLANE_DATABASE_URL",
        ) from None


def _speak_utf8_without_nul(connection: Any) -> None:
    """PostgreSQL's texts cannot hold NUL, and an author's can: what is shown of it is U+FFFD."""
    from psycopg.types.string import StrDumper

    class WithoutNul(StrDumper):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)

    connection.adapters.register_dumper(str, WithoutNul)


def _by_column(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {f"c{place}": list(values) for place, values in enumerate(zip(*rows, strict=True))}


def _dialect() -> PGDialect:
    return PGDialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]


@cache
def _insert(put: Put) -> str:
    columns = list(put.table.columns)
    rows = text(f"SELECT * FROM {_unnest(columns)}").columns(*columns)  # nosec B608  # of our own types alone
    insert = postgresql.insert(put.table).from_select([column.name for column in columns], rows)
    return str(on_clash(insert, put).compile(dialect=_dialect()))


@cache
def _delete(key: tuple[Column[Any], ...]) -> str:
    rows = text(f"SELECT * FROM {_unnest(key)}").columns(*key)  # nosec B608  # of our own types alone
    statement = delete_from(key[0].table).where(tuple_(*key).in_(rows))
    return str(statement.compile(dialect=_dialect()))


def _unnest(columns: Sequence[Column[Any]]) -> str:
    dialect = _dialect()
    types = [column.type.compile(dialect=dialect).partition("(")[0] for column in columns]
    return "unnest(" + ", ".join(f"CAST(:c{n} AS {type_}[])" for n, type_ in enumerate(types)) + ")"
