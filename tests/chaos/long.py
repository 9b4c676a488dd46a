"""`python -m tests.chaos.long`: many seeds one after the other, and a table of what each of them did."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

#: What the seeds have by turns: most of them one node and SQLite.
VARIANTS = (
    ("--faults", "52"),
    ("--faults", "52", "--postgresql"),
    ("--faults", "52"),
    ("--faults", "80", "--seconds", "150", "--nodes", "3", "--postgresql"),
)


class Outcome(msgspec.Struct, frozen=True):
    """What became of one seed. `summary` is empty where the run itself broke."""

    seed: int
    violations: int
    seconds: float
    summary: dict[str, Any]


def main(arguments: list[str]) -> int:
    given, more = _parse(arguments)
    outcomes = []
    for seed in range(given.first, given.first + given.seeds):
        outcomes.append(_run(seed, given, more))
        print(_line(outcomes[-1]), flush=True)
    executions, faults = (sum(it.summary.get(what, 0) for it in outcomes) for what in ("executions", "faults"))
    bad = [str(it.seed) for it in outcomes if it.violations or not it.summary]
    print(f"{len(outcomes)} seeds, {executions} executions, {faults} faults; seeds with violations: {bad or 'none'}")
    return 1 if bad else 0


def _run(seed: int, given: argparse.Namespace, more: list[str]) -> Outcome:
    """A process of its own for each, as `make chaos` has it; its words go to a file beside its directory."""
    given.directory.mkdir(parents=True, exist_ok=True)
    summary = given.directory / f"{seed}.json"
    summary.unlink(missing_ok=True)
    command = [sys.executable, "-m", "tests.chaos", "--seed", str(seed), "--summary", str(summary)]
    command += ["--directory", str(given.directory), *VARIANTS[seed % len(VARIANTS)], *more]
    began = time.monotonic()
    with (given.directory / f"{seed}.log").open("wb") as log:
        subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    found = json.loads(summary.read_bytes()) if summary.exists() else {}
    return Outcome(seed, found.get("violations", 0), time.monotonic() - began, found)


def _line(it: Outcome) -> str:
    told = ", ".join(f"{name} {count}" for name, count in it.summary.items() if isinstance(count, int))
    variant = " ".join(VARIANTS[it.seed % len(VARIANTS)])
    return f"seed {it.seed} ({variant}): {it.seconds:.0f} s; {told or 'THE RUN BROKE'}"


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos.long", epilog="Other options are those of `python -m tests.chaos`."
    )
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=20, help="how many")
    parser.add_argument("--directory", type=Path, default=Path("chaos-runs"), help="logs, and what failed")
    return parser.parse_known_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
