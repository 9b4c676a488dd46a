"""`python -m bench.recovery [PART …] [--quick] [--json FILE]`: takes parts away and measures the way back."""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench.__main__ import machine
from bench.backlog import backlog
from bench.kills import child_killed, executor_killed
from bench.outages import OUTAGES, outage
from bench.restarts import SERVICES, services_killed
from bench.rows import HEADING, Row
from tests.support.engine import Engine

WORKFLOWS = Path(__file__).parent / "recovery_workflows"
PARTS = ("child", "executor", *SERVICES, *OUTAGES, "backlog")

_FULL = {"child": 100, "executor": 20, "rounds": 12, "outage": 60, "backlog": 1_000_000}
_QUICK = {"child": 10, "executor": 2, "rounds": 2, "outage": 10, "backlog": 100_000}


@contextmanager
def engine(*options: str) -> Iterator[Engine]:
    """One on a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="runlane-recovery-") as directory:
        started = Engine(Path(directory) / "data", WORKFLOWS, *options)
        started.start()
        try:
            yield started
        finally:
            started.stop()


def measure(parts: list[str], size: dict[str, int]) -> Iterator[Row]:
    """Each part on an engine of its own, one after the other; services share one."""
    if "child" in parts:
        yield from _on_engine(lambda it: child_killed(it, size["child"]))
    if "executor" in parts:
        yield from _on_engine(lambda it: executor_killed(it, size["executor"]), "--executors", "2")
    if services := set(SERVICES) & set(parts):
        yield from _on_engine(lambda it: services_killed(it, size["rounds"], services))
    for name in OUTAGES:
        if name in parts:
            yield from _on_engine(lambda it, name=name: outage(it, name, size["outage"]))  # type: ignore[misc]
    if "backlog" in parts:
        with tempfile.TemporaryDirectory(prefix="runlane-recovery-") as directory:
            yield from uvloop.run(backlog(Path(directory), size["backlog"]))


def _on_engine(work: Callable[[Engine], Coroutine[Any, Any, list[Row]]], *options: str) -> list[Row]:
    with engine(*options) as started:
        return uvloop.run(work(started))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.recovery", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter of each")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args()
    rows = []
    print(" · ".join(f"{name} {value}" for name, value in machine().items()), HEADING, sep="\n")
    for row in measure(options.parts or list(PARTS), _QUICK if options.quick else _FULL):
        rows.append(row)
        print(row.line())
        sys.stdout.flush()
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine(), "rows": [it.document() for it in rows]}, indent=2))
    if any(row.verdict == "short" for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
