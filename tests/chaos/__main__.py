"""`python -m tests.chaos`: one run of real processes under faults, and what the checker found. Prints its seed."""

import argparse
import asyncio
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import uvloop

from runlane.adapters.nats.connection import open_bus
from tests.chaos.checker import check, summary
from tests.chaos.clients import WEBHOOK_SECRET, Clients
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence, gather_evidence
from tests.chaos.faults import Faults
from tests.chaos.history import History
from tests.chaos.plan import Plan, make_plan
from tests.chaos.settling import settle


async def run(
    plan: Plan, directory: Path, switches: tuple[str, ...], database_url: str | None, patience: float = 150.0
) -> Evidence:
    """Start a cluster, let clients and faults loose on it, wait until it has come to rest, and read what is there."""
    cluster = Cluster(directory, switches, database_url)
    try:
        await cluster.start()
        async with client(cluster, "org") as asker, client(cluster, "admin") as boss:
            operations = (
                [it for it in plan.operations if it.kind != "webhook"] if not await _prepare(boss) else plan.operations
            )
            history = History(directory / "clients.jsonl")
            began = time.monotonic()
            faults = Faults(cluster, history, began)
            working = asyncio.create_task(Clients(asker, boss, history, began).run(operations))
            await faults.run(plan.faults)
            await working
            print(f"  load over after {time.monotonic() - began:.0f} s, {faults.done} faults", flush=True)
            if faults.skipped:
                print(f"  faults that found no target: {', '.join(faults.skipped)}", flush=True)
        async with open_bus(cluster.settings, "chaos", shape=False) as bus:
            rested = await settle(bus, cluster.settings.record_store_url, patience)
            print(f"  at rest after {rested:.0f} s more", flush=True)
            return await gather_evidence(directory, bus, cluster.settings.record_store_url)
    finally:
        await cluster.stop()
        cluster.unmount()


def client(cluster: Cluster, who: str) -> httpx.AsyncClient:
    assert cluster.credentials is not None
    key = cluster.credentials.org_key if who == "org" else cluster.credentials.admin_key
    headers = {"Authorization": f"Bearer {key}", "X-Organization-Id": "demo"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
    return httpx.AsyncClient(base_url=cluster.url, headers=headers, limits=limits, timeout=45)


async def _prepare(boss: httpx.AsyncClient) -> bool:
    """What an administrator does first, once the workflows are known; whether there are webhooks."""
    listed: dict[str, Any] = {}
    for _ in range(300):
        listed = (await boss.get("/workflows")).json()
        if len(listed["workflows"]) + len(listed["failures"]) > 0:
            break
        await asyncio.sleep(0.1)
    assert not listed["failures"], listed["failures"]
    put = await boss.put("/webhooks/demo/chaos_hook", json={"scheme": "standard", "secret": WEBHOOK_SECRET})
    if put.status_code == 404:
        print("  this engine has no webhooks yet: left out", flush=True)
        return False
    put.raise_for_status()
    return True


def main(arguments: list[str]) -> int:
    given = _parse(arguments)
    plan = make_plan(given.seed, given.executions, given.faults, given.seconds, tuple(given.only))
    print(
        f"seed {plan.seed}: {len(plan.operations)} operations, {len(plan.faults)} faults in {plan.seconds:g} s "
        f"{' '.join(given.switch)}",
        flush=True,
    )
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{plan.seed}-", dir=given.directory))
    evidence = uvloop.run(run(plan, directory, tuple(given.switch), given.database_url))
    violations = check(evidence)
    print(json.dumps(summary(evidence), indent=1), flush=True)
    for violation in violations[: given.show]:
        print(f"  VIOLATION {violation}", flush=True)
    print(f"seed {plan.seed}: {len(violations)} violations; logs and history in {directory}", flush=True)
    if not violations and not given.keep:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if violations else 0


def _parse(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--executions", type=int, default=5000)
    parser.add_argument("--faults", type=int, default=44)
    parser.add_argument("--seconds", type=float, default=90.0, help="over which both are spread")
    parser.add_argument("--only", nargs="*", default=[], help="kinds of work")
    parser.add_argument("--switch", nargs="*", default=["quick-sweep"], help="see shim.py")
    parser.add_argument("--database-url", default=None, help="PostgreSQL instead of SQLite")
    parser.add_argument("--directory", type=Path, default=None, help="where to put the run's files")
    parser.add_argument("--show", type=int, default=20, help="so many violations")
    parser.add_argument("--keep", action="store_true", help="keep the files of a run without violations")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
