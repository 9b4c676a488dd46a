"""`python -m bench.scaling`: what a second executor adds, where executions take time and no processor."""

import asyncio
import json
import os
import tempfile
from pathlib import Path

import uvloop

from bench.fairness import NAP_SECONDS, WORKFLOWS, Clients, done
from bench.load import until
from tests.support.engine import Engine

SLOTS = 25


async def measure(engine: Engine, count: int) -> float:
    """Executions a second while all slots have work."""
    clients = Clients(engine)
    submitting = asyncio.create_task(clients.submit("demo", count))
    started = await until(lambda: done(engine).get("demo", 0) > count // 10, within=60)
    assert started >= 0
    before = done(engine)["demo"]
    seconds = await until(lambda: done(engine)["demo"] > count * 0.9, within=300)
    rate = (done(engine)["demo"] - before) / seconds
    await submitting
    await until(lambda: done(engine)["demo"] >= count, within=300)
    return rate


def main() -> None:
    os.environ["RUNLANE_EXECUTOR_SLOTS"] = str(SLOTS)
    rates: dict[int, float] = {}
    for executors in (1, 2):
        with tempfile.TemporaryDirectory(prefix="runlane-bench-") as directory:
            engine = Engine(Path(directory) / "data", WORKFLOWS, "--executors", str(executors))
            engine.start()
            try:
                rates[executors] = uvloop.run(measure(engine, 5_000 * executors))
            finally:
                engine.stop()
    possible = {executors: executors * SLOTS / NAP_SECONDS for executors in rates}
    print(json.dumps({"per_second": rates, "possible": possible, "growth": rates[2] / rates[1]}, indent=2))


if __name__ == "__main__":
    main()
