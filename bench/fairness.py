"""`python -m bench.fairness [--flood N]`: one organisation floods the engine; what do the others feel of it?"""

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import uvloop

from bench.load import Connection, until
from tests.support.engine import Engine

WORKFLOWS = Path(__file__).parent / "workflows"
NAP_SECONDS = 0.05
SLOTS = 50
_CALLERS = 16


class Clients:
    """Calls on behalf of organisations, with the administrator's key."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._key = engine, engine.credentials()["admin_key"]

    def request(self, org: str, *, wait: bool) -> bytes:
        prefer = "wait=30" if wait else "respond-async"
        return (
            f"POST /workflows/nap HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {self._key}\r\n"
            f"X-Organization-Id: {org}\r\nPrefer: {prefer}\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        ).encode()

    async def submit(self, org: str, count: int) -> None:
        """So many executions in the background, as fast as they are taken."""
        left = iter(range(count))

        async def caller() -> None:
            connection = await Connection.open(self._engine.port)
            for _ in left:
                status, body = await connection.call(self.request(org, wait=False))
                if status != 202:
                    raise RuntimeError(f"HTTP {status}: {body[:300]!r}")
            connection.close()

        await asyncio.gather(*(caller() for _ in range(min(count, _CALLERS))))

    async def call(self, org: str, times: int) -> list[float]:
        """Calls one after the other, twenty a second at most; each one's milliseconds."""
        connection, took = await Connection.open(self._engine.port), []
        for _ in range(times):
            began = time.perf_counter()
            status, body = await connection.call(self.request(org, wait=True))
            took.append((time.perf_counter() - began) * 1000)
            if status != 200:
                raise RuntimeError(f"HTTP {status}: {body[:300]!r}")
        connection.close()
        return took


def done(engine: Engine) -> dict[str, int]:
    """How many executions of each organisation have ended."""
    with sqlite3.connect(f"file:{engine.data}/records.db?mode=ro", uri=True) as store:
        query = "SELECT org, count(*) FROM executions WHERE status = 'Success' GROUP BY org"
        return dict(store.execute(query).fetchall())


def percentile(values: list[float], part: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


async def _make_organisations(engine: Engine, names: list[str]) -> None:
    async with engine.client(admin=True) as client:
        for name in names:
            (await client.put(f"/orgs/{name}", json={"name": name})).raise_for_status()


async def measure_quiet(engine: Engine, flood: int) -> dict[str, float]:
    """A quiet organisation's calls alone, and while another's flood is worked off."""
    clients = Clients(engine)
    await _make_organisations(engine, ["flooder", "quiet"])
    await clients.call("quiet", 40)
    alone = await clients.call("quiet", 200)
    flooding = asyncio.create_task(clients.submit("flooder", flood))
    await until(lambda: done(engine).get("flooder", 0) > flood // 50, within=60)
    began, before = time.perf_counter(), done(engine)["flooder"]
    beside: list[float] = []
    while done(engine)["flooder"] < flood * 0.9:
        beside += await clients.call("quiet", 20)
    seconds, worked = time.perf_counter() - began, done(engine)["flooder"] - before + len(beside)
    await flooding
    await until(lambda: done(engine)["flooder"] >= flood, within=600)
    return {
        "quiet_alone_p50_ms": statistics.median(alone),
        "quiet_alone_p99_ms": percentile(alone, 0.99),
        "quiet_beside_flood_p50_ms": statistics.median(beside),
        "quiet_beside_flood_p99_ms": percentile(beside, 0.99),
        "quiet_calls_beside_flood": len(beside),
        "allowed_p99_ms": 2 * percentile(alone, 0.99) + NAP_SECONDS * 1000,
        "busy": worked * NAP_SECONDS / (seconds * SLOTS),
    }


async def measure_progress(engine: Engine) -> dict[str, float]:
    """Ten organisations with backlogs from 20 to 10,000: what part of each is done when the smallest five are."""
    clients = Clients(engine)
    sizes = {f"org{number}": 20 * 2**number for number in range(10)}
    await _make_organisations(engine, list(sizes))
    # The largest first: those who come later find the queue full.
    await asyncio.gather(*(clients.submit(org, size) for org, size in reversed(sizes.items())))
    small = list(sizes)[:5]
    await until(lambda: all(done(engine).get(org, 0) == sizes[org] for org in small), within=300)
    at_that_time = done(engine)
    await until(lambda: sum(done(engine).get(org, 0) for org in sizes) == sum(sizes.values()), within=300)
    return {f"{org} of {size}": at_that_time.get(org, 0) / size for org, size in sizes.items()}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fairness", description=__doc__)
    parser.add_argument("--flood", type=int, default=50_000)
    options = parser.parse_args()
    os.environ["RUNLANE_EXECUTOR_SLOTS"] = str(SLOTS)
    with tempfile.TemporaryDirectory(prefix="runlane-bench-") as directory:
        engine = Engine(Path(directory) / "data", WORKFLOWS)
        engine.start()
        try:
            print(json.dumps(uvloop.run(measure_quiet(engine, options.flood)), indent=2))
            print(json.dumps(uvloop.run(measure_progress(engine)), indent=2))
        finally:
            engine.stop()


if __name__ == "__main__":
    main()
