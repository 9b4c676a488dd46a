"""`python -m bench.recovery [PART …] [--quick] [--postgresql]`: takes parts away and measures the way back."""

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import uvloop

from bench.__main__ import machine
from bench.backlog import backlog
from bench.kills import child_killed, executor_killed
from bench.outages import OUTAGES, database_away, outage
from bench.restarts import SERVICES, services_killed
from bench.rows import HEADING, Row
from bench.standby import recorder_lost
from tests.support.engine import Engine
from tests.support.postgresql import PostgresqlServer

WORKFLOWS = Path(__file__).parent / "recovery_workflows"
PARTS = ("child", "executor", *SERVICES, "standby", *OUTAGES, "backlog")

_FULL = {"child": 100, "executor": 20, "rounds": 12, "standby": 12, "outage": 60, "backlog": 1_000_000}
_QUICK = {"child": 10, "executor": 2, "rounds": 2, "standby": 3, "outage": 10, "backlog": 100_000}


@contextmanager
def engine(*options: str) -> Iterator[Engine]:
    """One on a directory, and where there is a PostgreSQL a database, of its own."""
    with tempfile.TemporaryDirectory(prefix="runlane-recovery-") as directory:
        _fresh_database()
        started = Engine(Path(directory) / "data", WORKFLOWS, *options)
        started.start()
        try:
            yield started
        finally:
            started.stop()


#: The server that holds the records under `--postgresql`.
_servers: list[PostgresqlServer] = []


def _fresh_database() -> None:
    for server in _servers:
        os.environ["RUNLANE_DATABASE_URL"] = server.create_database()


@contextmanager
def _postgresql() -> Iterator[None]:
    server = PostgresqlServer()
    server.make()
    _servers.append(server)
    OUTAGES["database"] = database_away(server)
    try:
        yield
    finally:
        server.remove()


def measure(parts: list[str], size: dict[str, int]) -> Iterator[Row]:
    """Each part on an engine of its own, one after the other; services share one."""
    if "child" in parts:
        yield from _on_engine(lambda it: child_killed(it, size["child"]))
    if "executor" in parts:
        yield from _on_engine(lambda it: executor_killed(it, size["executor"]), "--executors", "2")
    if services := set(SERVICES) & set(parts):
        yield from _on_engine(lambda it: services_killed(it, size["rounds"], services))
    if "standby" in parts:
        yield from _on_engine(lambda it: recorder_lost(it, size["standby"]))
    for name, away in OUTAGES.items():
        if name in parts:
            yield from _on_engine(lambda it, name=name, away=away: outage(it, name, away, size["outage"]))  # type: ignore[misc]
    if "backlog" in parts:
        _fresh_database()
        with tempfile.TemporaryDirectory(prefix="runlane-recovery-") as directory:
            yield from uvloop.run(backlog(Path(directory), size["backlog"]))


def _on_engine(work: Callable[[Engine], Coroutine[Any, Any, list[Row]]], *options: str) -> list[Row]:
    with engine(*options) as started:
        return uvloop.run(work(started))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter of each")
    parser.add_argument("--postgresql", action="store_true", help="records in a PostgreSQL that is started for it")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    rows = []
    print(" · ".join(f"{name} {value}" for name, value in machine().items()), HEADING, sep="\n")
    with _postgresql() if options.postgresql else nullcontext():
        for row in measure(options.parts or list(PARTS), _QUICK if options.quick else _FULL):
            rows.append(row)
            print(row.line(), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine(), "rows": [it.document() for it in rows]}, indent=2))
    if any(row.verdict == "short" for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
