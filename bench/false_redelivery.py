"""`python -m bench.false_redelivery`: is work taken from executors that are alive but starved of CPU? It must not be.

As many processes as there are cores compute for ever; meanwhile executions run that outlast the lease of 5 s. Whatever
was delivered twice shows as an attempt beyond the first, as lost executor or as refused write. Exits 1 if any is.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import uvloop

from bench.load import drive, post, until
from tests.support.engine import Engine

WORKFLOWS = Path(__file__).parent / "patient_workflows"
_CALLERS = 32
_WITHIN_SECONDS = 3600


@contextmanager
def hogs(count: int) -> Iterator[None]:
    """So many processes that compute without a pause."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for hog in running:
            hog.kill()
            hog.wait()


async def run(engine: Engine, executions: int, seconds: float) -> dict[str, float]:
    """What was found of so many executions of so many seconds each."""
    request = post("/workflows/patient", engine.credentials()["org_key"], json.dumps({"seconds": seconds}).encode())
    began = time.perf_counter()
    await drive(engine.port, request, _CALLERS, executions, 202)
    await until(lambda: _count(engine, "completed_at IS NOT NULL") >= executions, within=_WITHIN_SECONDS)
    return {
        "executions": executions,
        "more_than_one_attempt": _count(engine, "attempt > 1"),
        "not_successful": _count(engine, "status <> 'Success'"),
        "seconds": time.perf_counter() - began,
    }


def _count(engine: Engine, condition: str) -> int:
    with closing(sqlite3.connect(f"file:{engine.data}/records.db?mode=ro", uri=True)) as store:
        count: int = store.execute(f"SELECT count(*) FROM executions WHERE {condition}").fetchone()[0]
        return count


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.false_redelivery", description=__doc__)
    parser.add_argument("--executions", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=7.0, help="how long each lasts; a lease is 5 s")
    parser.add_argument("--hogs", type=int, default=os.cpu_count() or 4)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runlane-bench-") as directory:
        engine = Engine(Path(directory) / "data", WORKFLOWS, "--executors", "2")
        engine.start()
        try:
            with hogs(options.hogs):
                found = uvloop.run(run(engine, options.executions, options.seconds))
        finally:
            engine.stop()
    found["hogs"] = options.hogs
    for name, value in found.items():
        print(f"{name:<24} {value:,.1f}" if isinstance(value, float) else f"{name:<24} {value:,}")
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2))
    sys.exit(1 if found["more_than_one_attempt"] or found["not_successful"] else 0)


if __name__ == "__main__":
    main()
