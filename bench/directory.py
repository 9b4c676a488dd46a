"""A large directory: 10,000 organisations with ten config values each, in every service of a real engine."""

import asyncio
import json
import statistics
import time
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts.directory import ConfigValue, Entry, Org
from runlane.directory import Directory, config_key, org_key
from runlane.settings import Settings
from tests.support.engine import Engine

ORGS, KEYS = 10_000, 10
_AT_ONCE = 2_000
_CHANGES = 50


async def measure_directory(engine: Engine) -> dict[str, float]:
    """Fill the directory of a running engine, start it again and look at what each service makes of it."""
    async with _bus(engine) as bus:
        await _fill(NatsDirectoryStore(bus))
    await asyncio.to_thread(engine.stop)
    began = time.perf_counter()
    await asyncio.to_thread(engine.start)
    figures = {"ready_seconds": time.perf_counter() - began}
    async with _bus(engine) as bus:
        began = time.perf_counter()
        directory = await Directory().follow(NatsDirectoryStore(bus))
        figures["load_seconds"] = time.perf_counter() - began
        assert len(list(directory.orgs())) >= ORGS
        figures["seen_ms_p50"] = await _seen(engine, directory)
    for service in ("gateway", "executor", "scheduler", "recorder"):
        figures[f"{service}_mib"] = sum(_resident_mib(pid) for pid in engine.pids(service))
    return figures


def entries() -> Iterable[tuple[str, Entry]]:
    now = datetime.now(UTC)
    for number in range(ORGS):
        org = f"client-{number:05}"
        known = Org(id=org, name=f"Client {number} Ltd", tenant_id=f"{number:036}", tags=["gold", "eu"])
        yield org_key(org), known
        for key in range(KEYS):
            name = f"setting_name_{key}"
            value = ConfigValue(org=org, key=name, value=f"value {number}", changed_at=now, changed_by="key1")
            yield config_key(org, name), value


async def _fill(store: NatsDirectoryStore) -> None:
    waiting = list(entries())
    for first in range(0, len(waiting), _AT_ONCE):
        batch = waiting[first : first + _AT_ONCE]
        await asyncio.gather(*(store.put(key, msgspec.json.encode(entry)) for key, entry in batch))


async def _seen(engine: Engine, directory: Directory) -> float:
    """Milliseconds from a change being asked for over HTTP to its being in another process's memory."""
    took, heard = [], asyncio.Event()
    directory.on_change(lambda key: heard.set())
    async with engine.client(admin=True) as client:
        for number in range(_CHANGES):
            heard.clear()
            began = time.perf_counter()
            asking = asyncio.create_task(client.put("/orgs/client-00001/config/bench", json={"value": number}))
            await heard.wait()
            took.append((time.perf_counter() - began) * 1000)
            (await asking).raise_for_status()
    return statistics.median(took)


def _bus(engine: Engine) -> AbstractAsyncContextManager[NatsBus]:
    state = json.loads((engine.data / "runlane.json").read_text())
    given = {name: state[name] for name in ("nats_url", "nats_user", "nats_password")}
    return open_bus(Settings(data_dir=engine.data, **given), "bench", shape=False)


def _resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024
