"""kill -9 of every part in the middle of work: one complete record all the same."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.support.engine import Engine, alive
from tests.support.eventually import eventually
from tests.support.executions import finished, notes, submit
from tests.support.stopping import stop

RESULT = {"values": [1, 2, 3, 4, 5], "secret_kept": True, "reached": 3, "checkpoint_kept": True}


@pytest.mark.parametrize("victim", ["child", "executor", "gateway", "recorder", "scheduler", "nats-server"])
async def test_an_execution_survives_the_death_of(own_engine: Engine, tmp_path: Path, victim: str) -> None:
    journal, gate = tmp_path / "notes", tmp_path / "gate"
    async with own_engine.client() as client:
        ids = [await submit(client, "steps", {"journal": str(journal), "gate": str(gate)}) for _ in range(3)]
        await eventually(lambda: sum(line.endswith("gate") for line in notes(journal)) == 3)
        own_engine.kill_service(victim)
        await eventually(lambda: len(own_engine.pids(victim)) >= 1, within=20)
        gate.touch()
        for execution_id in ids:
            record = await finished(client, execution_id, within=45)
            assert record["status"] == "Success", (record.get("error"), record["transitions"])
            resumed = record["result"].pop("resumed")
            assert record["result"] == RESULT
            assert resumed == (victim in ("child", "executor"))
            done = [line for line in notes(journal) if line.startswith(f"{execution_id} step")]
            assert done == [f"{execution_id} step {n}" for n in range(1, 6)], "a finished step ran again"
            assert len(record["steps"]) == 5
            assert record["completedAt"]


async def test_everything_goes_on_after_a_restart_on_the_same_data(own_engine: Engine, tmp_path: Path) -> None:
    journal, gate = tmp_path / "notes", tmp_path / "gate"
    async with own_engine.client() as client:
        running = await submit(client, "steps", {"journal": str(journal), "gate": str(gate)})
        delayed = await submit(client, "echo", {"value": 7}, params={"delaySeconds": 2})
        done = (await client.post("/workflows/echo", json={"value": 1})).json()["executionId"]
        await eventually(lambda: any(line.endswith("gate") for line in notes(journal)))
    own_engine.kill()
    gate.touch()
    own_engine.start()
    async with own_engine.client() as client:
        assert (await finished(client, done))["status"] == "Success"
        record = await finished(client, running)
        assert record["result"] == {**RESULT, "resumed": True}
        assert (await finished(client, delayed))["result"] == 7


async def test_calls_under_way_while_the_gateway_dies_are_not_lost(own_engine: Engine, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    parameters = {"journal": str(journal), "seconds": 1}
    async with own_engine.client() as client:

        async def call(n: int) -> str:
            while True:
                try:
                    headers = {"Idempotency-Key": f"k{n}", "Prefer": "wait=30"}
                    answer = await client.post("/workflows/waits", json=parameters, headers=headers)
                    if answer.is_success:
                        return str(answer.json()["executionId"])
                except httpx.TransportError:
                    await asyncio.sleep(0.1)

        calls = [asyncio.create_task(call(n)) for n in range(10)]
        await eventually(lambda: notes(journal).count("begun") == 10)
        own_engine.kill_service("gateway")
        ids = await asyncio.wait_for(asyncio.gather(*calls), 40)
        for execution_id in ids:
            assert (await finished(client, execution_id))["status"] == "Success"
    assert sorted(notes(journal)) == ["begun"] * 10 + ["ended"] * 10


async def test_without_nats_new_work_is_refused_at_once_and_records_are_still_read(own_engine: Engine) -> None:
    async with own_engine.client() as client:
        done = await submit(client, "echo", {"value": 1})
        await finished(client, done)

        async def recorded() -> bool:
            page = (await client.get("/executions")).json()
            return [item["status"] for item in page["executions"]] == ["Success"]

        await eventually(recorded)
        [pid] = own_engine.pids("nats-server")
        stop(pid)
        try:
            for refused in (
                client.post("/workflows/echo", json={"value": 2}),
                client.post(f"/executions/{done}/retry"),
                client.put("/orgs/demo/config/region", json={"value": "emea"}),
                client.put("/orgs/demo/secrets/token", json={"value": "x"}),
                client.delete("/orgs/demo/config/nothing"),
            ):
                answer = await refused
                assert answer.status_code == 503
                assert int(answer.headers["Retry-After"]) >= 1
                # Two seconds are promised; a loaded machine needs a few more to say so.
                assert answer.elapsed.total_seconds() < 4, answer.request.url
            assert (await client.get(f"/executions/{done}")).json()["status"] == "Success"
        finally:
            os.kill(pid, signal.SIGCONT)

        async def served() -> bool:
            return (await client.post("/workflows/echo", json={"value": 3})).status_code == 200

        await eventually(served, within=20)


async def test_nothing_is_left_running_after_a_stop(own_engine: Engine) -> None:
    pids = [
        pid
        for name in ("gateway", "executor", "child", "recorder", "scheduler", "nats-server")
        for pid in own_engine.pids(name)
    ]
    assert len(pids) >= 6
    own_engine.stop()
    # The kernel ends children with their executor, and init reaps them: a moment later.
    await eventually(lambda: not [pid for pid in pids if alive(pid)], within=20)
