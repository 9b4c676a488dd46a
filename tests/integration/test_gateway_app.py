"""The gateway as it is deployed: its own composition root over a real nats-server and SQLite, and as a process."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.adapters.sql.store import SqlRecordStore, open_record_store
from runlane.contracts import subjects
from runlane.ports import Delivery
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from runlane_gateway.app import open_room
from runlane_gateway.server import GatewayRoom
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, furnish

HEADERS = {"Authorization": "Bearer rl_acme_secret-acme"}


@pytest.fixture
def own(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, http_port=0, master_key=generate_master_key())


@pytest.fixture
async def room(own: Settings, bus: NatsBus) -> AsyncIterator[GatewayRoom]:
    await furnish(NatsDirectoryStore(bus))
    async with open_room(own) as opened:
        running = asyncio.create_task(opened.run())
        yield opened
        await asyncio.wait_for(opened.drain(), 10)
        await running


@pytest.fixture
async def client(room: GatewayRoom) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{room.port}", headers=HEADERS, timeout=20) as opened:
        yield opened


@pytest.fixture
async def store(own: Settings, client: httpx.AsyncClient) -> AsyncIterator[SqlRecordStore]:
    """The record store, made only after the gateway has started; yields once the gateway has noticed."""
    async with open_record_store(own.record_store_url, migrate=True) as opened:

        async def noticed() -> bool:
            return not (await client.get("/readyz")).json()["degraded"]

        await eventually(noticed)
        yield opened


@pytest.fixture
async def recording(bus: NatsBus, store: SqlRecordStore) -> AsyncIterator[None]:
    """Events are stored as they come, as the recorder does it."""
    arrived: asyncio.Queue[Delivery] = asyncio.Queue()

    async def apply() -> None:
        while True:
            delivery = await arrived.get()
            await store.apply(await bus.read(subjects.EVENTS, ">", after=delivery.sequence - 1, limit=1))
            delivery.ack()

    consumption = await bus.consume(subjects.EVENTS, subjects.RECORDER, arrived.put_nowait, lambda: 100)
    applying = asyncio.create_task(apply())
    yield
    applying.cancel()
    await consumption.stop()


async def test_it_serves_calls_before_there_is_a_record_store(client: httpx.AsyncClient) -> None:
    ready = await client.get("/readyz")
    assert (ready.status_code, list(ready.json()["degraded"])) == (200, ["records"])
    accepted = await client.post("/workflows/slow", json={})
    assert accepted.status_code == 202
    assert (await client.get(accepted.json()["pollUrl"])).json()["status"] == "Queued"
    assert (await client.get("/executions")).status_code == 503


async def test_calls_are_answered_recorded_and_listed(
    own: Settings, client: httpx.AsyncClient, recording: None, bus: NatsBus
) -> None:
    executor = Executor(bus, own.sealer())
    await executor.start()
    ids = []
    for number in range(5):
        answer = await client.post("/workflows/quick", json={"n": number})
        assert answer.status_code == 200
        ids.append(answer.json()["executionId"])
        page = (await client.get("/executions", params={"limit": 2})).json()
        assert page["executions"][0]["executionId"] == ids[-1]
        assert page["executions"][0]["status"] == "Success"
    older = (await client.get("/executions", params={"limit": 2, "after": page["next"]})).json()
    assert [item["executionId"] for item in older["executions"]] == [ids[2], ids[1]]
    assert (await client.get("/executions", params={"tag": "m365", "trigger": "http"})).json()["executions"]
    assert (await client.get("/executions", params={"after": "%%%"})).status_code == 400
    await bus.api(f"STREAM.PURGE.{subjects.EVENTS}", {})
    shown = (await client.get(f"/executions/{ids[0]}")).json()
    assert (shown["status"], shown["input"], shown["result"]) == ("Success", {"n": 0}, {"done": True})
    retried = await client.post(f"/executions/{ids[0]}/retry", headers={"Prefer": "wait=5"})
    assert retried.status_code == 200
    assert executor.parameters(executor.requests[-1]) == {"n": 0}
    assert (await client.get("/schedules/nightly/ticks")).json() == {"ticks": [], "next": None}


@contextmanager
def process(settings: Settings, **given: str) -> Iterator[subprocess.Popen[bytes]]:
    """The gateway as a process of its own."""
    environment = {
        **os.environ,
        "RUNLANE_NATS_URL": settings.nats_url,
        "RUNLANE_DATA_DIR": str(settings.data_dir),
        "RUNLANE_MASTER_KEY": settings.master_key or "",
        **given,
    }
    command = [sys.executable, "-c", "from runlane_gateway.app import main; main()"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as started:
        try:
            yield started
        finally:
            started.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_signal_drains_the_process_and_ends_it_with_0(own: Settings, bus: NatsBus) -> None:
    port = free_port()
    with process(own, RUNLANE_HTTP_PORT=str(port)) as started:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/readyz")).status_code == 200
                except httpx.TransportError:
                    return False

            await eventually(ready, within=20)
        started.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(started.wait, 15) == 0


async def test_a_port_that_is_taken_ends_the_process_with_2(own: Settings, bus: NatsBus, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with process(own, RUNLANE_HTTP_PORT=str(port)) as started:
            _, log = await asyncio.to_thread(started.communicate, None, 20)
            assert started.returncode == 2
    assert f"127.0.0.1:{port}" in log.decode()
