"""Brings a database's schema up to date, and says when it is not. The recorder migrates; everyone else only checks."""

import asyncio

from sqlalchemy import Connection, inspect

from runlane.errors import StoreUnavailable

from . import dialect
from .database import Database
from .tables import REVISION

_LOCK_SECONDS = 30.0


async def migrate(url: str) -> None:
    """Create or upgrade the schema. Processes that do so at once wait for each other. Raises `StoreUnavailable`."""
    database = Database(url, busy_seconds=_LOCK_SECONDS)
    await asyncio.to_thread(dialect.prepare, database.url)
    try:
        await database.write(_upgrade)
    finally:
        await database.close()


def check(connection: Connection) -> None:
    """Raises `StoreUnavailable` when the schema is not the one that this code knows."""
    found = revision_of(connection)
    if found != REVISION:
        raise StoreUnavailable(
            f"The record store has schema {found} and this version needs {REVISION}: its recorder brings it there."
        )


def revision_of(connection: Connection) -> str:
    """The revision of the schema that is there; raises `StoreUnavailable` when there is none."""
    if not inspect(connection).has_table("alembic_version"):
        raise missing()
    return str(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar())


def missing() -> StoreUnavailable:
    """There is no schema."""
    return StoreUnavailable("The record store has no schema yet: a recorder makes it when it starts.")


def _upgrade(connection: Connection) -> None:
    try:
        check(connection)
    except StoreUnavailable:
        from .upgrading import upgrade

        upgrade(connection)
