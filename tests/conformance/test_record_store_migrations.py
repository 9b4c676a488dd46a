"""Records that an earlier version wrote are found by what a later one looks for."""

from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, text

from runlane.adapters.sql import schema, upgrading
from runlane.adapters.sql.database import Database
from runlane.adapters.sql.store import open_record_store
from runlane.contracts.records import ExecutionQuery
from tests.support.memory_bus import Story, stored


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    found: str = request.getfixturevalue("postgresql_url")
    return found


async def test_failures_of_before_are_found_by_their_code(url: str) -> None:
    failed, well = Story("e1"), Story("e2")
    async with open_record_store(url, migrate=True) as store:
        await store.apply(stored([failed.queued(), failed.started(), failed.failed(), well.queued()]))
    await _to(url, "0005_collation")
    await schema.migrate(url)
    async with open_record_store(url) as store:
        page = await store.find(ExecutionQuery(orgs=["acme"], error="InternalServerError"))
        assert [item.execution_id for item in page.items] == ["e1"]
        assert (await store.find(ExecutionQuery(orgs=["acme"]))).items[0].failure is None


async def _to(url: str, revision: str) -> None:
    database = Database(url)

    def down(connection: Connection) -> None:
        config = upgrading.configuration()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == revision

    await database.write(down)
    await database.close()
