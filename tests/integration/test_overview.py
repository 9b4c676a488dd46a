"""`GET /overview`: an organisation's figures, and for those who may see it the engine's."""

from datetime import datetime

import httpx
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway

pytest_plugins = ["tests.support.gateway_fixtures"]


async def recorded(gateway: Gateway, bus: NatsBus) -> None:
    await gateway.records.apply(await bus.read(subjects.EVENTS, ">"))


async def test_what_ended_just_now_is_in_the_last_part(
    gateway: Gateway, executor: Executor, client: httpx.AsyncClient, bus: NatsBus
) -> None:
    for _ in range(3):
        assert (await client.post("/workflows/quick", json={}, headers={"Prefer": "wait=20"})).status_code == 200
    await recorded(gateway, bus)
    found = (await client.get("/overview?minutes=30")).json()
    assert len(found["parts"]) == 60
    assert found["partSeconds"] == 30
    assert found["total"]["succeeded"] == 3
    assert sum(part["succeeded"] for part in found["parts"][-2:]) == 3
    assert found["total"]["p50Ms"] == 5
    assert found["unfinished"]["Running"] == 0
    assert found["complete"]
    moments = [datetime.fromisoformat(part["at"]) for part in found["parts"]]
    assert {(one - other).total_seconds() for one, other in zip(moments[1:], moments, strict=False)} == {30.0}


async def test_another_organisation_sees_nothing_of_it(
    gateway: Gateway, executor: Executor, client: httpx.AsyncClient, bus: NatsBus
) -> None:
    await client.post("/workflows/quick", json={}, headers={"Prefer": "wait=20"})
    await recorded(gateway, bus)
    async with gateway.client("globex") as globex:
        found = (await globex.get("/overview")).json()
    assert found["total"]["succeeded"] == 0


async def test_queues_are_told_to_those_who_may_see_internals_only(
    gateway: Gateway, client: httpx.AsyncClient, bus: NatsBus
) -> None:
    for _ in range(4):
        assert (await client.post("/workflows/slow", json={})).status_code == 202
    async with gateway.client("admin") as admin:
        headers = {"X-Organization-Id": "acme"}

        async def told() -> dict[str, object] | None:
            engine = (await admin.get("/overview", headers=headers)).json()["engine"]
            return engine if sum(lane["waiting"] for lane in engine["lanes"]) == 4 else None

        engine = await eventually(told, within=20)
    assert engine is not None
    assert [lane["lane"] for lane in engine["lanes"]] == list(subjects.LANES)  # type: ignore[index]
    assert engine["recorder"]["behindEvents"] > 0  # type: ignore[index]  # there is no recorder here
    async with gateway.client("weak") as weak:
        assert (await weak.get("/overview")).status_code == 403
    assert (await client.get("/overview")).json()["engine"] is None


@pytest.mark.parametrize("minutes", ["0", "10081", "x", "1.5"])
async def test_a_time_that_is_none_is_the_callers_mistake(client: httpx.AsyncClient, minutes: str) -> None:
    answer = await client.get(f"/overview?minutes={minutes}")
    assert (answer.status_code, answer.json()["error"]) == (400, "ValidationError")


async def test_without_records_it_says_so(gateway: Gateway, client: httpx.AsyncClient) -> None:
    gateway.records.away = True
    assert (await client.get("/overview")).status_code == 503
    gateway.records.away = False
    assert (await client.get("/overview")).status_code == 200
