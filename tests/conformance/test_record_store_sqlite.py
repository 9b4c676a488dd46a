"""What only a record store in a SQLite file can do wrong: schema, locks, damage, settings."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event

from runlane.adapters.sql import schema, upgrading
from runlane.adapters.sql.database import Database
from runlane.adapters.sql.store import SqlRecordStore, open_record_store
from runlane.adapters.sql.tables import REVISION, metadata
from runlane.contracts.records import ExecutionQuery
from runlane.errors import ConfigurationError, StoreUnavailable
from tests.support.memory_bus import Story, stored


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "records.db"


@pytest.fixture
def url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


@pytest.fixture
async def impatient(url: str) -> AsyncIterator[SqlRecordStore]:
    """A store that does not wait long for a lock."""
    await schema.migrate(url)
    database = Database(url, busy_seconds=0.05)
    yield SqlRecordStore(database)
    await database.close()


async def open_and_close(url: str) -> None:
    async with open_record_store(url):
        pass


def test_a_store_without_a_schema_says_so_and_makes_no_file(file: Path, url: str) -> None:
    with pytest.raises(StoreUnavailable, match="no schema yet"):
        asyncio.run(open_and_close(url))
    assert not file.exists()
    file.touch()
    with pytest.raises(StoreUnavailable, match="no schema yet"):
        asyncio.run(open_and_close(url))


async def test_a_store_with_another_schema_is_not_used(file: Path, url: str) -> None:
    await schema.migrate(url)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(StoreUnavailable, match=f"schema 9999 and this version needs {REVISION}"):
        await open_and_close(url)


async def test_migrations_end_at_the_tables_as_the_code_describes_them(url: str) -> None:
    await schema.migrate(url)
    await schema.migrate(url)

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    database = Database(url)
    assert await database.read(differences) == []
    await database.close()
    assert ScriptDirectory.from_config(upgrading.configuration()).get_current_head() == REVISION


async def test_processes_that_migrate_at_once_all_succeed(file: Path, url: str) -> None:
    code = f"import asyncio; from runlane.adapters.sql.schema import migrate; asyncio.run(migrate({url!r}))"
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=subprocess.PIPE) for _ in range(6)
    ]
    ended = await asyncio.gather(*(process.communicate() for process in processes))
    assert [process.returncode for process in processes] == [0] * 6, ended
    async with open_record_store(url) as store:
        await store.ping()


async def test_a_directory_that_is_not_there_is_made_by_whoever_migrates(tmp_path: Path) -> None:
    async with open_record_store(f"sqlite+aiosqlite:///{tmp_path / 'new' / 'data' / 'r.db'}", migrate=True) as store:
        await store.ping()


async def test_a_locked_store_says_so_and_goes_on_later(file: Path, impatient: SqlRecordStore) -> None:
    events = stored([Story().queued(digest="do not show")])
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable) as problem:
            await impatient.apply(events)
        assert "another process keeps it locked" in problem.value.message
        other.rollback()
    await impatient.apply(events)
    assert await impatient.get("acme", "e1") is not None


async def test_readers_do_not_wait_for_a_writer(file: Path, impatient: SqlRecordStore) -> None:
    await impatient.apply(stored([Story().queued()]))
    with closing(sqlite3.connect(file)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM executions")
        assert await impatient.get("acme", "e1") is not None
        assert len((await impatient.find(ExecutionQuery(orgs=None))).items) == 1


async def test_two_writers_at_once_lose_nothing(url: str) -> None:
    story = Story()
    messages = stored([story.queued(), story.started(), *(story.traced(story.log(f"{n}")) for n in range(60))])

    async def apply(store: SqlRecordStore, part: int) -> None:
        for message in messages[part::2]:
            await store.apply([message])

    async with open_record_store(url, migrate=True) as one, open_record_store(url) as other:
        await asyncio.gather(apply(one, 0), apply(other, 1))
        found = await one.get("acme", "e1")
    assert found is not None
    assert (found.status, found.caller.id, len(found.trace)) == ("Running", "key1", 60)


async def test_whoever_reads_cannot_write(url: str) -> None:
    await schema.migrate(url)
    database = Database(url)
    with pytest.raises(StoreUnavailable, match="read-only"):
        await database.read(lambda connection: connection.exec_driver_sql("DELETE FROM executions"))
    await database.close()


async def test_a_batch_may_be_larger_than_what_one_statement_takes(url: str) -> None:
    stories = [Story(f"e{n}") for n in range(2500)]
    async with open_record_store(url, migrate=True) as store:
        await store.apply(stored([story.queued(tags=["kept"]) for story in stories]))
        await store.apply(stored([story.started() for story in stories], 2501))
        page = await store.find(ExecutionQuery(orgs=None, tag="kept", statuses=["Running"], limit=2500))
    assert len(page.items) == 2500


async def test_what_goes_wrong_is_told_without_values(file: Path, impatient: SqlRecordStore) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("DROP TABLE payloads")
    with pytest.raises(StoreUnavailable) as problem:
        await impatient.apply(stored([Story().queued(digest="do not show")]))
    assert "do not show" not in repr(problem.value)
    assert problem.value.__cause__ is None
    assert await impatient.get("acme", "e2") is None


def test_a_file_that_is_no_database_is_told_apart_from_a_busy_one(file: Path, url: str) -> None:
    file.write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreUnavailable, match="not a database"):
        asyncio.run(open_and_close(url))
    with pytest.raises(StoreUnavailable, match="not a database"):
        asyncio.run(schema.migrate(url))


@pytest.mark.parametrize(("fsync", "expected"), [(True, 2), (False, 1)])
async def test_durability_is_what_was_asked_for(url: str, fsync: bool, expected: int) -> None:
    database = Database(url, fsync=fsync)
    pragma = await database.write(lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar())
    mode = await database.write(lambda connection: connection.exec_driver_sql("PRAGMA journal_mode").scalar())
    await database.close()
    assert (pragma, mode) == (expected, "wal")


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite+aiosqlite://", "sqlite:///:memory:", "postgresql://h", "mysql://h/d"]
)
async def test_a_url_that_cannot_be_used_is_a_mistake_in_the_settings(url: str) -> None:
    with pytest.raises(ConfigurationError) as problem:
        async with open_record_store(url, migrate=True):
            pass
    assert problem.value.config_key == "RUNLANE_DATABASE_URL"


async def test_an_execution_that_came_and_went_in_one_batch_is_written_once(url: str) -> None:
    stories = [Story(f"e{n}") for n in range(10)]
    events = [event for story in stories for event in (story.queued(), story.started(), story.succeeded())]
    written: list[tuple[str, int]] = []

    def heard(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if statement.startswith("INSERT"):
            written.append((statement.split()[2], len(parameters) if many else 1))

    async with open_record_store(url, migrate=True) as store:
        event.listen(Engine, "before_cursor_execute", heard)
        try:
            await store.apply(stored(events))
            await store.apply(stored(events))
        finally:
            event.remove(Engine, "before_cursor_execute", heard)
    assert written == [("executions", 10), ("payloads", 10), ("payloads", 10)]


async def test_a_value_too_large_for_the_database_is_not_called_an_absence(url: str) -> None:
    story = Story()
    story.attempt = 2**70
    async with open_record_store(url, migrate=True) as store:
        with pytest.raises((ValueError, ArithmeticError)):
            await store.apply(stored([Story("e0").queued(), story.started()]))
        assert await store.get("acme", "e0") is None
