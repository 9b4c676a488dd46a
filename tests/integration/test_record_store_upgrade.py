"""A record store of an earlier version is brought up to date with everything in it."""

from pathlib import Path

from alembic import command
from sqlalchemy import Connection

from runlane.adapters.sql.database import Database
from runlane.adapters.sql.store import open_record_store
from runlane.adapters.sql.upgrading import configuration
from runlane.contracts.audit import AuditQuery
from tests.support.memory_bus import Story, stored


async def test_a_store_without_an_audit_trail_gets_one_and_keeps_its_records(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'records.db'}"

    def first_version(connection: Connection) -> None:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")

    database = Database(url)
    await database.write(first_version)
    await database.close()
    story = Story()
    async with open_record_store(url, migrate=True) as store:
        await store.apply(stored([story.queued(), story.started(), story.succeeded()]))
        assert (await store.audit(AuditQuery(orgs=None))).items == []
    async with open_record_store(url, migrate=True) as store:
        found = await store.get("acme", "e1")
    assert found is not None
    assert found.status == "Success"
