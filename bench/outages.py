"""Takes database or broker away for a while, under load, and measures the way back. Used by `bench.recovery`."""

import asyncio
import json
import os
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bench.records import Records
from bench.rows import NOT_DONE, Row, load_average
from bench.traffic import Traffic
from tests.support.engine import Engine
from tests.support.postgresql import PostgresqlServer

_RATE = 200.0
_GOAL_SECONDS = 60.0
_PATIENCE = 180.0
_WORKFLOW = "noop_async"
#: Drained is who has recorded everything that was acknowledged until so long ago.
_UP_TO_DATE_SECONDS = 1.0


@asynccontextmanager
async def database_locked(engine: Engine) -> AsyncIterator[None]:
    """Another process writes to the record store and does not come to an end."""
    connection = sqlite3.connect(engine.data / "records.db", isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


@asynccontextmanager
async def broker_stopped(engine: Engine) -> AsyncIterator[None]:
    """nats-server keeps its connections and says nothing."""
    pid = _broker(engine)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def broker_killed(engine: Engine) -> AsyncIterator[None]:
    """nats-server is gone, and whoever would start it again is stopped."""
    pid = _broker(engine)
    assert engine.process is not None
    engine.process.send_signal(signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    try:
        yield
    finally:
        engine.process.send_signal(signal.SIGCONT)


Outage = Callable[[Engine], AbstractAsyncContextManager[None]]
OUTAGES: dict[str, Outage] = {
    "database": database_locked,
    "nats-stopped": broker_stopped,
    "nats-killed": broker_killed,
}


def database_away(server: PostgresqlServer) -> Outage:
    """PostgreSQL is killed, as by a crash, and started again."""

    @asynccontextmanager
    async def away(_: Engine) -> AsyncIterator[None]:
        server.kill()
        try:
            yield
        finally:
            await asyncio.to_thread(server.start)

    return away


async def outage(engine: Engine, name: str, away: Outage, seconds: float) -> list[Row]:
    """200 executions per second before, during and after; how long is the way back, and is anything lost?"""
    records = Records(engine.data)
    async with Traffic(engine, _WORKFLOW, _RATE) as traffic:
        await asyncio.sleep(5)
        began = time.monotonic()
        async with away(engine):
            await asyncio.sleep(seconds)
        over = time.monotonic()
        accepted = await _accepted(traffic, over) - over
        drained = await _up_to_date(records, traffic) - over
    lost = await records.missing(traffic.acknowledged(), _WORKFLOW, _PATIENCE)
    records.close()
    said = f"{_RATE:g}/s; answered meanwhile {traffic.answers(began, over)}; afterwards {traffic.answers(over)}"
    load = load_average()
    return [
        Row(part=name, what=f"{seconds:g} s away; calls are accepted again", values=[accepted], load=load, note=said),
        Row(part=name, what=f"{seconds:g} s away; backlog drained", values=[drained], goal=_GOAL_SECONDS, load=load),
        Row(part=name, what=NOT_DONE, values=[lost], goal=1, unit="", load=load),
    ]


async def _accepted(traffic: Traffic, over: float) -> float:
    """When the first call was accepted after the outage."""
    while True:
        found = [it.ended for it in traffic.calls[-5000:] if it.status == 202 and it.ended > over]
        if found or time.monotonic() - over > _PATIENCE:
            return min(found, default=float("inf"))
        await asyncio.sleep(0.02)


async def _up_to_date(records: Records, traffic: Traffic) -> float:
    """When everything acknowledged until a second ago was recorded, though more keeps coming."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        acknowledged = traffic.acknowledged(before=time.monotonic() - _UP_TO_DATE_SECONDS)
        if acknowledged <= records.succeeded(_WORKFLOW):
            return time.monotonic()
        await asyncio.sleep(0.1)
    return float("inf")


def _broker(engine: Engine) -> int:
    pid: int = json.loads((engine.data / "runlane.json").read_text())["services"]["nats-server"]
    return pid
