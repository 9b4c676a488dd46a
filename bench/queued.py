"""`python -m bench.queued [--requests N]`: with a million requests waiting, is anything slower to submit or to start?

Executors are stopped (SIGSTOP) while one organisation's batches fill the queue. Submissions are timed before and after,
and so are another organisation's calls that wait for their result, before and while executors work the queue off.
"""

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from pathlib import Path

import uvloop

from bench.fairness import percentile
from bench.load import Connection, drive, post
from tests.support.engine import Engine

WORKFLOWS = Path(__file__).parent / "workflows"
_LINES = 10_000
_TIMES = 1_000


def _batch(key: str, org: str) -> bytes:
    body = b"{}\n" * _LINES
    head = (
        f"POST /workflows/noop_async/batch HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"X-Organization-Id: {org}\r\nContent-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def fill(engine: Engine, requests: int) -> tuple[float, int]:
    """Queue so many; how many a second that were, and how many lines were refused."""
    request, accepted, refused = _batch(engine.credentials()["admin_key"], "flooder"), 0, 0

    async def caller() -> None:
        nonlocal accepted, refused
        connection = await Connection.open(engine.port)
        while accepted < requests:
            status, body = await connection.call(request)
            if status not in (200, 202, 207):
                raise RuntimeError(f"HTTP {status}: {body[:300]!r}")
            told = json.loads(body)
            accepted, refused = accepted + told["accepted"], refused + told["refused"]
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(caller(), caller())
    return accepted / (time.perf_counter() - began), refused


def _told(took: list[float], what: str) -> dict[str, float]:
    return {f"{what}_p50_ms": percentile(took, 0.5), f"{what}_p99_ms": percentile(took, 0.99)}


def _signal(engine: Engine, number: signal.Signals) -> None:
    for pid in engine.pids("executor"):
        os.kill(pid, number)


def _memory_mib(engine: Engine) -> float:
    """What nats-server has resident."""
    lines = Path(f"/proc/{engine.pids('nats-server')[0]}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


async def measure(engine: Engine, requests: int) -> dict[str, float]:
    key = engine.credentials()["org_key"]
    async with engine.client(admin=True) as client:
        (await client.put("/orgs/flooder", json={"name": "Flooder"})).raise_for_status()
    call, submit = post("/workflows/noop_sync", key), post("/workflows/noop_async", key)
    await drive(engine.port, call, 1, 200, 200)
    figures = _told((await drive(engine.port, call, 1, _TIMES, 200))[1], "call_before")
    _signal(engine, signal.SIGSTOP)
    figures |= _told((await drive(engine.port, submit, 4, _TIMES, 202))[1], "submit_before")
    figures["nats_before_mib"] = _memory_mib(engine)
    figures["queued_per_second"], figures["lines_refused"] = await fill(engine, requests)
    figures["nats_queued_mib"] = _memory_mib(engine)
    figures |= _told((await drive(engine.port, submit, 4, _TIMES, 202))[1], "submit_queued")
    _signal(engine, signal.SIGCONT)
    # Leases that ended while they were stopped are given out again first.
    await drive(engine.port, call, 1, 200, 200)
    return figures | _told((await drive(engine.port, call, 1, _TIMES, 200))[1], "call_while_worked_off")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.queued", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runlane-bench-") as directory:
        engine = Engine(Path(directory) / "data", WORKFLOWS)
        engine.start()
        try:
            print(json.dumps(uvloop.run(measure(engine, options.requests)), indent=2))
        finally:
            _signal(engine, signal.SIGCONT)
            engine.stop()


if __name__ == "__main__":
    main()
