"""The engine with PostgreSQL for its records: what is recorded, and what happens while the database is away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.executions import finished, submit
from tests.support.postgresql import PostgresqlServer

WORKFLOWS = Path(__file__).parent / "workflows"


@pytest.fixture
async def engine(tmp_path: Path, postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    monkeypatch.setenv("RUNLANE_DATABASE_URL", postgresql_url)
    engine = Engine(tmp_path / "data", WORKFLOWS)
    await asyncio.to_thread(engine.start)
    yield engine
    await asyncio.to_thread(engine.stop)


async def test_records_are_kept_and_found_in_postgresql(engine: Engine) -> None:
    async with engine.client() as client:
        ids = [await submit(client, "echo", {"value": number}) for number in range(30)]
        for execution_id in ids:
            assert (await finished(client, execution_id))["status"] == "Success"
        found: list[str] = []
        after: str | None = None
        while True:
            page = (await client.get("/executions", params={"limit": 7} | ({"after": after} if after else {}))).json()
            found += [item["executionId"] for item in page["executions"]]
            after = page["next"]
            if after is None:
                break
        assert found == ids[::-1]
    assert not (engine.data / "records.db").exists()


async def test_work_goes_on_while_postgresql_is_away_and_is_recorded_later(
    engine: Engine, postgresql_server: PostgresqlServer
) -> None:
    async with engine.client() as client:
        before = await submit(client, "echo", {})
        await finished(client, before)
        postgresql_server.kill()
        ids = [await submit(client, "echo", {"value": number}) for number in range(10)]
        for execution_id in ids:
            assert (await finished(client, execution_id))["status"] == "Success", "the stream knows"
        postgresql_server.start()

        async def recorded() -> bool:
            answer = await client.get("/executions", params={"limit": 20})
            assert answer.status_code == 200, answer.text
            listed = {item["executionId"] for item in answer.json()["executions"]}
            assert listed == {before, *ids}, f"{len(listed)} are listed"
            return True

        await eventually(recorded, within=60)
