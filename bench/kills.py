"""Kills what runs an execution and measures when the execution runs again. Used by `bench.recovery`."""

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import httpx

from bench.load import until
from bench.rows import Row, load_average
from tests.support.engine import Engine, descendants
from tests.support.executions import submit

_PATIENCE = 60.0
_COMPANY = 20


async def child_killed(engine: Engine, times: int) -> list[Row]:
    """A child with one execution in it, and one with twenty: when does code begin again?"""
    alone = [value for _ in range(times) for value in await _kill_child(engine, 1)]
    busy = [max(await _kill_child(engine, _COMPANY)) for _ in range(max(3, times // 10))]
    return [
        Row(part="child", what="killed; its execution begins again", values=alone, goal=0.25, judged="p95", unit="ms",
            load=load_average()),
        Row(part="child", what=f"killed with {_COMPANY} in it; the last begins again", values=busy, unit="ms",
            note="each in a process of its own", load=load_average()),
    ]  # fmt: skip


async def executor_killed(engine: Engine, times: int) -> list[Row]:
    """One of two executors: when does the other begin what it had?"""
    values = []
    async with engine.client() as client:
        for number in range(times):
            await _all_there(engine)
            journal = engine.data / f"executor-{number}"
            await submit(client, "attempts", {"journal": str(journal)})
            [(pid, _)] = await _runs(journal, 1)
            [victim] = [it for it in engine.pids("executor") if pid in descendants(it)]
            # A lease is renewed every 1.5 s: kill at any moment of that.
            await asyncio.sleep(random.uniform(0, 1.5))
            killed = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            values.append((await _runs(journal, 2))[-1][1] - killed)
    return [
        Row(part="executor", what="killed, another lives; its execution begins again", values=values, goal=6.0,
            judged="p95", load=load_average()),
    ]  # fmt: skip


async def _kill_child(engine: Engine, executions: int) -> list[float]:
    """The seconds until each execution that was in the killed child began again."""
    children = 3  # two that work and a spare one
    await until(lambda: len(engine.pids("child")) == children, _PATIENCE)
    journal = engine.data / f"child-{time.monotonic_ns()}"
    async with engine.client() as client:
        await asyncio.gather(*(_begin(client, journal) for _ in range(2 * executions if executions > 1 else 1)))
    begun = await _runs(journal, 2 * executions if executions > 1 else 1)
    victim = begun[0][0]
    lost = sum(pid == victim for pid, _ in begun)
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    again = (await _runs(journal, len(begun) + lost))[len(begun) :]
    for pid in {pid for pid, _ in begun} - {victim}:
        os.kill(pid, signal.SIGKILL)  # what waits in the other child is to end too
    await _runs(journal, 2 * len(begun))
    return [moment - killed for _, moment in again]


async def _begin(client: httpx.AsyncClient, journal: Path) -> None:
    await submit(client, "attempts", {"journal": str(journal)})


async def _runs(journal: Path, count: int) -> list[tuple[int, float]]:
    """Process and beginning of each run, once there are so many."""
    found: list[tuple[int, float]] = []

    def there() -> bool:
        nonlocal found
        lines = journal.read_text().splitlines() if journal.exists() else []
        found = [(int(pid), float(moment)) for _, pid, moment in map(str.split, lines)]
        return len(found) >= count

    await until(there, _PATIENCE)
    return found


async def _all_there(engine: Engine) -> None:
    """Two executors, each with two children and a spare one."""
    await until(lambda: len(engine.pids("executor")) == 2 and len(engine.pids("child")) == 6, _PATIENCE)
