"""`python -m bench.ticks [--orgs N] [--schedules N]`: what runs every minute for very many; how late is the last?"""

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from pathlib import Path

import uvloop

from bench.load import until
from tests.support.engine import Engine

_IMPORTS = "from runlane import Context, workflow\n"
_WORKFLOW = """

@workflow(name="audit{n}", description="Every minute", execution_mode="scheduled", schedule="* * * * *")
async def audit{n}(context: Context) -> str:
    return context.org_id
"""

#: Of one minute's ticks: how many, and by how many microseconds the last was late in being decided, begun and done.
_TICKS = """
    SELECT count(*), max(ticks.decided_at) - :tick, max(started_at) - :tick, max(completed_at) - :tick
    FROM ticks JOIN executions ON executions.execution_id = ticks.execution_id
    WHERE ticks.scheduled_for = :tick AND executions.status = 'Success'
"""


async def found(engine: Engine, orgs: int) -> None:
    """Make the organisations, over HTTP as an operator would."""
    async with engine.client(admin=True) as client:
        numbers = iter(range(orgs))

        async def some() -> None:
            for number in numbers:
                answer = await client.put(f"/orgs/org{number}", json={"name": f"Client {number}"})
                answer.raise_for_status()

        await asyncio.gather(*(some() for _ in range(32)))


def _minute(engine: Engine, tick: int) -> tuple[int, float, float, float]:
    with sqlite3.connect(f"file:{engine.data}/records.db?mode=ro", uri=True) as store:
        count, *late = store.execute(_TICKS, {"tick": tick * 1_000_000}).fetchone()
    decided, started, completed = ((micros or 0) / 1e6 for micros in late)
    return count, decided, started, completed


async def measure(engine: Engine, orgs: int, schedules: int) -> dict[str, float]:
    """The first whole minute after all organisations are there."""
    began = time.perf_counter()
    await found(engine, orgs)
    made = time.perf_counter() - began
    tick = (int(time.time()) // 60 + 1) * 60
    # The organisation `demo` has them too.
    await until(lambda: _minute(engine, tick)[0] >= (orgs + 1) * schedules, within=240, every=0.5)
    count, decided, started, completed = _minute(engine, tick)
    return {
        "organisations_made_in_seconds": made,
        "ticks": count,
        "last_decided_after_seconds": decided,
        "last_started_after_seconds": started,
        "last_completed_after_seconds": completed,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ticks", description=__doc__)
    parser.add_argument("--orgs", type=int, default=10_000)
    parser.add_argument("--schedules", type=int, default=1, help="for each of them")
    parser.add_argument("--executors", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runlane-bench-") as directory:
        workflows = Path(directory) / "workflows"
        workflows.mkdir()
        code = [_WORKFLOW.format(n=number) for number in range(options.schedules)]
        (workflows / "audit.py").write_text("".join([_IMPORTS, *code]))
        engine = Engine(Path(directory) / "data", workflows, "--executors", str(options.executors))
        engine.start()
        try:
            print(json.dumps(uvloop.run(measure(engine, options.orgs, options.schedules)), indent=2))
        finally:
            engine.stop()


if __name__ == "__main__":
    main()
