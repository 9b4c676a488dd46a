"""`python -m tests.chaos`: one run of real processes under faults, and what the checker found. Prints its seed."""

import argparse
import asyncio
import contextlib
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvloop

from runlane.adapters.nats.connection import open_bus
from tests.chaos.checker import check, summary
from tests.chaos.clients import Clients, People
from tests.chaos.cluster import Cluster
from tests.chaos.evidence import Evidence, gather_evidence
from tests.chaos.faults import Faults
from tests.chaos.history import History
from tests.chaos.leaks import leaks
from tests.chaos.plan import Plan, make_plan, probes
from tests.chaos.preparing import canary, prepare
from tests.chaos.settling import settle
from tests.chaos.topology import TOPOLOGIES
from tests.support.postgresql import PostgresqlServer


class Setting(msgspec.Struct, frozen=True):
    """Where and how a plan is run. `switches`: what the shim turns off. `patience`: so many seconds without any
    progress are the end of waiting."""

    directory: Path
    switches: tuple[str, ...] = ("quick-sweep",)
    database_url: str | None = None
    patience: float = 120.0


async def run(plan: Plan, setting: Setting) -> Evidence:
    """Start a cluster, let clients and faults loose on it, wait until it has come to rest, and read what is there."""
    cluster = Cluster(plan.there, setting.directory, setting.switches, setting.database_url)
    this = asyncio.current_task()
    assert this is not None
    # Ended from outside, it takes its processes and its disk with it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    try:
        await cluster.start()
        if not cluster.own_disk:
            print("  NO DISK OF ITS OWN (mounting one needs root): full disks are left out", flush=True)
        if cluster.brokers.refused:
            print(f"  NO NAMESPACES ({cluster.brokers.refused}): proxies make the partitions", flush=True)
        async with client(cluster, "admin") as boss:
            stranger = await prepare(boss, plan.seed)
            async with client(cluster, "org") as asker, client(cluster, stranger, "strangers") as other:
                return await _drive(plan, setting, cluster, People(asker, boss, other))
    finally:
        await cluster.stop()
        cluster.unmount()


async def _drive(plan: Plan, setting: Setting, cluster: Cluster, people: People) -> Evidence:
    history = History(setting.directory / "clients.jsonl")
    secret = canary(plan.seed)
    began = time.monotonic()
    faults = Faults(cluster, history, began)
    clients = Clients(people, history, began, secret)
    working = asyncio.create_task(clients.run(plan.operations))
    await faults.run(plan.faults)
    await working
    print(f"  load over after {time.monotonic() - began:.0f} s, {faults.done} faults", flush=True)
    if faults.skipped:
        print(f"  faults that found no target: {', '.join(faults.skipped)}", flush=True)
    async with open_bus(cluster.settings, "chaos", shape=False) as bus:
        rested = await settle(bus, cluster.settings.record_store_url, setting.patience)
        print(f"  at rest after {rested:.0f} s more", flush=True)
        await clients.run(probes())
        # A tick while streams and tables are read one after the other would be in one of them alone.
        await cluster.end(*plan.there.schedulers)
        await settle(bus, cluster.settings.record_store_url, setting.patience)
        evidence = await gather_evidence(setting.directory, bus, cluster.settings.record_store_url)
    evidence.faults = faults.done
    evidence.leaks = leaks(setting.directory, secret)
    return evidence


def client(cluster: Cluster, who: str, org: str = "demo") -> httpx.AsyncClient:
    """A connection of `org` or `admin`, or with any other key."""
    assert cluster.credentials is not None
    key = {"org": cluster.credentials.org_key, "admin": cluster.credentials.admin_key}.get(who, who)
    headers = {"Authorization": f"Bearer {key}", "X-Organization-Id": org}
    # Who finds all of them taken waits for one: a small machine is not asked for more than it can do.
    limits = httpx.Limits(max_connections=300, max_keepalive_connections=300)
    return httpx.AsyncClient(base_url=cluster.url, headers=headers, limits=limits, timeout=httpx.Timeout(45, pool=None))


def main(arguments: list[str]) -> int:
    given = _parse(arguments)
    there = TOPOLOGIES[given.nodes]
    plan = make_plan(given.seed, given.executions, given.faults, given.seconds, tuple(given.only), there)
    print(
        f"seed {plan.seed}: {len(plan.operations)} operations, {len(plan.faults)} faults in {plan.seconds:g} s "
        f"{' '.join(given.switch)}",
        flush=True,
    )
    directory = Path(tempfile.mkdtemp(prefix=f"chaos-{plan.seed}-", dir=given.directory))
    with _database(given) as url:
        evidence = uvloop.run(run(plan, Setting(directory, tuple(given.switch), url)))
    violations = check(evidence)
    figures = {"violations": len(violations), **summary(evidence)}
    print(json.dumps(figures, indent=1), flush=True)
    if given.summary:
        given.summary.write_text(json.dumps(figures))
    for violation in violations[: given.show]:
        print(f"  VIOLATION {violation}", flush=True)
    print(f"seed {plan.seed}: {len(violations)} violations; logs and history in {directory}", flush=True)
    if not violations and not given.keep:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if violations else 0


@contextlib.contextmanager
def _database(given: Any) -> Iterator[str | None]:
    """The address of the record store: what was given, or a server of the run's own; None: SQLite."""
    if not given.postgresql:
        yield given.database_url
        return
    server = PostgresqlServer()
    server.make()
    try:
        yield server.create_database()
    finally:
        server.remove()


def _parse(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    # Some are refused and not asked for again.
    parser.add_argument("--executions", type=int, default=5200, help="how many are asked for")
    parser.add_argument("--faults", type=int, default=44)
    parser.add_argument("--seconds", type=float, default=90.0, help="over which both are spread")
    parser.add_argument("--only", nargs="*", default=[], help="kinds of work")
    parser.add_argument("--switch", nargs="*", default=["quick-sweep"], help="see shim.py")
    parser.add_argument("--nodes", type=int, choices=sorted(TOPOLOGIES), default=1, help="nats-servers; 3: all doubled")
    parser.add_argument("--database-url", default=None, help="PostgreSQL instead of SQLite")
    parser.add_argument("--postgresql", action="store_true", help="start one for the run")
    parser.add_argument("--directory", type=Path, default=None, help="where to put the run's files")
    parser.add_argument("--show", type=int, default=20, help="so many violations")
    parser.add_argument("--summary", type=Path, default=None, help="a file for the figures of the run")
    parser.add_argument("--keep", action="store_true", help="keep the files of a run without violations")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
