"""Takes the recorder that records away for good and measures when the other one records. Used by `bench.recovery`."""

import asyncio
import json
import random
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import httpx

from bench.load import until
from bench.records import Records
from bench.rows import NOT_DONE, Row, load_average
from bench.traffic import Traffic
from runlane_cli.natsserver import free_port
from tests.support.engine import Engine

_RATE = 20.0
_PATIENCE = 60.0
_GOAL_SECONDS = 5.0
_COUNTER = "runlane_recorder_events_applied_total"
_TRIES = 20


async def recorder_lost(engine: Engine, times: int) -> list[Row]:
    """Two recorders; the one that gets the events is lost with its machine: when is a call made then recorded?"""
    records, values = Records(engine.data), []
    async with Traffic(engine, "noop_sync", _RATE) as traffic:
        for _ in range(times):
            values.append(await _lose(engine, records, traffic))
    lost = await records.missing(traffic.acknowledged(), "noop_sync", _PATIENCE)
    records.close()
    load = load_average()
    return [
        Row(part="standby", what="recorder lost, another lives; a call made then is recorded", values=values,
            goal=_GOAL_SECONDS, load=load, note=traffic.answers()),
        Row(part="standby", what=NOT_DONE, values=[lost], goal=1, unit="", load=load),
    ]  # fmt: skip


async def _lose(engine: Engine, records: Records, traffic: Traffic) -> float:
    """A second recorder is started until it is the one that gets the events, and then killed."""
    for _ in range(_TRIES):
        port = free_port()
        second = _second(engine, port)
        if await _records(port):
            break
        second.kill()
        second.wait(20)
    else:
        raise RuntimeError("a second recorder never gets the events")
    # It asks about once a second: at any moment of that.
    await asyncio.sleep(random.uniform(0, 1))
    second.kill()
    killed = time.monotonic()
    second.wait(20)

    def recorded() -> bool:
        begun = [it for it in traffic.calls[-2000:] if it.began > killed and it.execution]
        return any(records.has(str(it.execution)) for it in begun[:3])

    await until(recorded, _PATIENCE)
    return time.monotonic() - killed


async def _records(port: int) -> bool:
    """Whether the recorder with this health port records what happens now, a while after its start."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for _ in range(_TRIES):
            with suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    break
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        before = await _count(client)
        await asyncio.sleep(1)
        return await _count(client) > before


async def _count(client: httpx.AsyncClient) -> float:
    text = (await client.get("/metrics")).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{_COUNTER} "))


def _recorder(engine: Engine) -> int:
    pid: int = json.loads((engine.data / "runlane.json").read_text())["services"]["recorder"]
    return pid


def _second(engine: Engine, port: int) -> subprocess.Popen[bytes]:
    """Another recorder as the first one was started."""
    first = Path(f"/proc/{_recorder(engine)}")
    command = (first / "cmdline").read_bytes().split(b"\0")[:-1]
    pairs = (it.partition(b"=") for it in (first / "environ").read_bytes().split(b"\0") if it)
    environment = {name: value for name, _, value in pairs} | {b"RUNLANE_HEALTH_PORT": str(port).encode()}
    with (engine.data / "second-recorder.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)
