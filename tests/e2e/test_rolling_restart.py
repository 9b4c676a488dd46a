"""Every service is restarted, one after the other, under load: no call fails, nothing is lost, nothing runs twice."""

import asyncio
import contextlib
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from tests.support.eventually import eventually
from tests.support.executions import notes
from tests.support.gateway_bus import furnish
from tests.support.ports import quiet_port

HEADERS = {"Authorization": "Bearer rl_acme_secret-acme"}
CODE = """
import asyncio, os
from runlane import Context, workflow

def note(journal, line):
    handle = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, f"{line}\\n".encode())
    os.close(handle)

@workflow(name="double", description="Doubles", execution_mode="sync", timeout_seconds=60)
async def double(context: Context, n: int, journal: str) -> int:
    note(journal, n)
    await asyncio.sleep(0.02)
    return 2 * n

@workflow(name="versioned", description="Which code runs", execution_mode="async", timeout_seconds=60)
async def versioned(context: Context, journal: str, gate: str = "") -> str:
    note(journal, "begun")
    while gate and not os.path.exists(gate):
        await asyncio.sleep(0.02)
    return "VERSION"
"""


class Service:
    """One process of a service, restarted in place."""

    def __init__(self, kind: str, environment: dict[str, str], log: Path) -> None:
        self.kind, self.log = kind, log
        self.port = quiet_port()
        name = "RUNLANE_HTTP_PORT" if kind == "gateway" else "RUNLANE_HEALTH_PORT"
        self._environment = {**environment, name: str(self.port)}
        self.process: asyncio.subprocess.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "runlane_cli.serve",
                self.kind,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        await eventually(lambda: self.readiness(200), within=60)

    async def readiness(self, status: int) -> bool:
        assert self.process.returncode is None, self.log.read_text()[-3000:]
        with contextlib.suppress(httpx.TransportError):
            async with httpx.AsyncClient(timeout=2) as client:
                return (await client.get(f"{self.url}/readyz")).status_code == status
        return False

    async def stopped(self) -> None:
        assert await asyncio.wait_for(self.process.wait(), 60) == 0, self.log.read_text()[-3000:]


class Caller:
    """Calls through both gateways in turn, but for one that said that it leaves, as a balancer does. A call is repeated
    only if it was never sent."""

    def __init__(self, gateways: list[Service], journal: Path) -> None:
        self._clients = {one: httpx.AsyncClient(base_url=one.url, headers=HEADERS, timeout=45) for one in gateways}
        self._turn, self._numbers = itertools.cycle(gateways), itertools.count(1)
        self.leaving: Service | None = None
        self._journal = journal
        self.answered: list[int] = []
        self.failures: list[str] = []

    async def load(self, until: asyncio.Event) -> None:
        while not until.is_set():
            number = next(self._numbers)
            try:
                answer = await self.call("POST", "/workflows/double", {"n": number, "journal": str(self._journal)})
            except httpx.HTTPError as problem:
                self.failures.append(f"{number}: {problem!r}")
                continue
            if answer.status_code == 200 and answer.json()["result"] == 2 * number:
                self.answered.append(number)
            else:
                self.failures.append(f"{number}: {answer.status_code} {answer.text}")

    async def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        while True:
            try:
                gateway = next(one for one in self._turn if one is not self.leaving)
                return await self._clients[gateway].request(method, path, json=body)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                await asyncio.sleep(0.01)

    async def aclose(self) -> None:
        for client in self._clients.values():
            await client.aclose()


@pytest.fixture
async def services(settings: Settings, bus: NatsBus, tmp_path: Path) -> AsyncIterator[list[Service]]:
    """Two of each, over one broker and one database."""
    await furnish(NatsDirectoryStore(bus))
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "flows.py").write_text(CODE)
    environment = {
        **os.environ,
        "RUNLANE_NATS_URL": settings.nats_url,
        "RUNLANE_DATA_DIR": str(tmp_path),
        "RUNLANE_MASTER_KEY": generate_master_key(),
        "RUNLANE_WORKFLOWS": str(tmp_path / "code"),
        "RUNLANE_QUEUE_MAX_BYTES": str(settings.queue_max_bytes),
        "RUNLANE_EXECUTOR_CHILDREN": "1",
    }
    kinds = ("recorder", "executor", "scheduler", "gateway")
    started = [Service(kind, environment, tmp_path / f"{kind}{n}.log") for kind in kinds for n in (1, 2)]
    running: list[Service] = []
    try:
        for service in started:
            await service.start()
            running.append(service)
        yield started
    finally:
        for service in reversed(running):
            with contextlib.suppress(ProcessLookupError):
                service.process.kill()
            await service.process.wait()


async def test_restarting_every_service_under_load_fails_no_call(services: list[Service], tmp_path: Path) -> None:
    gateways = [service for service in services if service.kind == "gateway"]
    async with contextlib.aclosing(Caller(gateways, tmp_path / "notes")) as caller:
        await _restart_all(services, caller, tmp_path)


async def _restart_all(services: list[Service], caller: Caller, tmp_path: Path) -> None:
    old = await _begin_versioned(caller, tmp_path)
    (tmp_path / "code" / "flows.py").write_text(CODE.replace("VERSION", "SECOND"))
    enough = asyncio.Event()
    load = [asyncio.create_task(caller.load(enough)) for _ in range(8)]
    try:
        for service in services:
            before = len(caller.answered)
            await eventually(lambda b=before: caller.failures or len(caller.answered) > b + 20, within=60)
            service.process.send_signal(signal.SIGTERM)
            if service.kind == "gateway":
                await eventually(lambda s=service: s.readiness(503), within=20)
                caller.leaving = service
            if service.kind == "executor":
                (tmp_path / "gate").touch()
            await service.stopped()
            await service.start()
            caller.leaving = None
        before = len(caller.answered)
        await eventually(lambda: len(caller.answered) > before + 20, within=60)
    finally:
        enough.set()
        await asyncio.wait_for(asyncio.gather(*load), 60)

    assert caller.failures == []
    assert sorted(map(int, notes(tmp_path / "notes"))) == sorted(caller.answered), "one ran twice, or for nobody"
    record = (await caller.call("GET", f"/executions/{old}?wait=20")).json()
    assert (record["status"], record["result"], notes(tmp_path / "old")) == ("Success", "VERSION", ["begun"])
    new = (await caller.call("POST", "/workflows/versioned", {"journal": str(tmp_path / "new")})).json()["executionId"]
    assert (await caller.call("GET", f"/executions/{new}?wait=20")).json()["result"] == "SECOND"


async def _begin_versioned(caller: Caller, tmp_path: Path) -> str:
    body = {"journal": str(tmp_path / "old"), "gate": str(tmp_path / "gate")}

    async def begun() -> str | None:
        answer = await caller.call("POST", "/workflows/versioned", body)
        return str(answer.json()["executionId"]) if answer.status_code == 202 else None

    execution_id = await eventually(begun, within=30)
    assert execution_id is not None
    await eventually(lambda: notes(tmp_path / "old"), within=20)
    return execution_id
