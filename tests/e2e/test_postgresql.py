"""The engine with PostgreSQL for its records: what is recorded, and what happens while the database is away."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.executions import finished, submit
from tests.support.postgresql import Postgresql

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
        await eventually(lambda: listed(client))  # a gateway is ready before it has reached the database
        found: list[str] = []
        after: str | None = None
        while True:
            page = await listed(client, {"after": after} if after else {})
            found += [item["executionId"] for item in page["executions"]]
            after = page["next"]
            if after is None:
                break
        assert found == ids[::-1]
    assert not (engine.data / "records.db").exists()


async def test_work_goes_on_while_postgresql_is_away_and_is_recorded_later(
    engine: Engine, postgresql_server: Postgresql
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
            found = {item["executionId"] for item in (await listed(client, {"limit": 20}))["executions"]}
            assert found == {before, *ids}, f"{len(found)} are listed"
            return True

        await eventually(recorded, within=60)


async def listed(client: httpx.AsyncClient, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """A page of those that the tests started, of seven if `params` does not say otherwise."""
    answer = await client.get("/executions", params={"workflow": "echo", "limit": 7} | (params or {}))
    assert answer.status_code == 200, answer.text
    page: dict[str, Any] = answer.json()
    return page
