"""Copies of the record store, made while it is written to. Used by `runlane backup` and `runlane restore`."""

import asyncio
from pathlib import Path

from alembic.script import ScriptDirectory

from . import dialect, dialect_sqlite, schema, upgrading
from .database import Database


async def copy_database(url: str, target: Path) -> str:
    """Copy the record store as it is in one moment to a new file; returns the revision of its schema.

    Raises `StoreUnavailable` when it cannot be read or has no schema.
    """
    database = Database(url)
    try:
        if not await asyncio.to_thread(dialect.exists, database.url):
            raise schema.missing()
        await asyncio.to_thread(dialect_sqlite.copy, database.url, target)
    finally:
        await database.close()
    copied = Database(f"sqlite:///{target}")
    try:
        return await copied.read(schema.revision_of)
    finally:
        await copied.close()


def file_of(url: str) -> Path:
    """The file of a record store; raises `ConfigurationError` for a URL that names none."""
    return Path(dialect.parse_url(url).database or "")


def is_known(revision: str) -> bool:
    """Whether this version can use or upgrade a schema of this revision."""
    script = ScriptDirectory.from_config(upgrading.configuration())
    return any(known.revision == revision for known in script.walk_revisions())
