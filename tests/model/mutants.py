"""Breaks the engine in one place at a time and has `tests/model` find it. Run by `make mutants`, not in CI.

Each mutation is made in a copy of the tree. One that no test notices is a hole in the models: it ends with status 1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from msgspec import Struct

ROOT = Path(__file__).parents[2]
_SOURCES = ("libs/common", "libs/cli", *(f"services/{it}" for it in ("gateway", "executor", "scheduler", "recorder")))
_EXECUTOR = "services/executor/runlane_executor"
_GATEWAY = "services/gateway/runlane_gateway"
_SCHEDULER = "services/scheduler/runlane_scheduler"
_STATES = ("test_model_state_line.py", "test_model_state_line_long.py")
_TICKS = ("test_model_scheduler.py",)
_ZONES = ("test_model_cron_zones.py",)


class Mutation(Struct, frozen=True):
    """`old`, which stands in `path` exactly once, becomes `new`; one of `tests` is to fail."""

    name: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...] = _STATES


MUTATIONS = [
    Mutation(
        "a delayed request's id is without its time",
        f"{_EXECUTOR}/stateline.py",
        ":{at.timestamp():.3f}:{self.executor}",
        ":{self.executor}",
    ),
    Mutation(
        "no wake-up before a decision",
        f"{_GATEWAY}/deciding.py",
        "        await self._bus.publish(wake_message(request_of(record), wake_at), timeout=PUBLISH_SECONDS)\n",
        "",
    ),
    Mutation(
        "what a dead child had on its way is not fenced",
        f"{_EXECUTOR}/runs.py",
        "            await self._reclaim(execution, reason)\n",
        "",
    ),
    Mutation(
        "two claims by one executor have the same id",
        f"{_EXECUTOR}/stateline.py",
        ":{tail}:{self.executor}:{next(self._moves)}",
        ":{tail}:{self.executor}",
    ),
    Mutation(
        "claims of several executors have the same id",
        f"{_EXECUTOR}/stateline.py",
        ":{tail}:{self.executor}:{next(self._moves)}",
        ":{tail}",
    ),
    Mutation(
        "traces are written whatever became of the claim",
        f"{_EXECUTOR}/stateline.py",
        "            expect_last=claim,\n",
        "            expect_last=None,\n",
    ),
    Mutation(
        "a request is acknowledged before its end is stored",
        f"{_EXECUTOR}/endings.py",
        "        now = self._clock.now()\n        match outcome:",
        "        now = self._clock.now()\n        execution.lease.delivery.ack()\n        match outcome:",
    ),
    Mutation(
        "a fenced run acknowledges its message",
        f"{_EXECUTOR}/endings.py",
        "            await self.settle(execution)\n",
        "            execution.lease.delivery.ack()\n",
    ),
    Mutation(
        "a waiting execution does not ask for its next run",
        f"{_EXECUTOR}/endings.py",
        "            await self._claims.ask_again(asking, event, sequence, execution.lease.lane)\n",
        "            del asking\n",
    ),
    Mutation(
        "the next run does not know the last state",
        f"{_EXECUTOR}/claim.py",
        "            last_state=sequence,\n",
        "            last_state=request.last_state,\n",
    ),
    Mutation(
        "whoever finds a claim takes it over",
        f"{_EXECUTOR}/claim.py",
        "isinstance(state, Started) and state.data.request == message",
        "isinstance(state, Started)",
    ),
    Mutation(
        "nobody follows up what a dead owner left",
        f"{_EXECUTOR}/claim.py",
        "                    return await self._follow_up(request, stored, state, lane)\n",
        "                    return Settled()\n",
    ),
    Mutation(
        "an event that was there before the wait does not end it",
        f"{_EXECUTOR}/claim.py",
        "self._clock.now() if await self._has_come(request, suspended, sequence) else suspended.until",
        "suspended.until",
    ),
    Mutation(
        "an approval put up has no end of its wait",
        f"{_GATEWAY}/accept.py",
        "            await self._bus.publish(expiry_message(request, terms.expires_at), timeout=PUBLISH_SECONDS)\n",
        "",
    ),
    Mutation(
        "an execution that was not accepted is not withdrawn",
        f"{_GATEWAY}/accept.py",
        "                await self._withdraw(submission, problem)\n            raise\n\n    async def _note",
        "                pass\n            raise\n\n    async def _note",
    ),
    Mutation(
        "a cancellation does not look at the state line",
        f"{_GATEWAY}/cancelling.py",
        "        expect_last=sequence,\n",
        "        expect_last=None,\n",
    ),
    Mutation(
        "a decision does not look at the state line",
        f"{_GATEWAY}/deciding.py",
        "            expect_last=sequence,\n",
        "            expect_last=None,\n",
    ),
    Mutation(
        "the fold takes the last event it is told for the latest",
        "libs/common/runlane/contracts/records.py",
        "        if sequence > record.state_sequence:\n",
        "        if True:\n",
    ),
    Mutation(
        "the fold keeps trace entries twice",
        "libs/common/runlane/contracts/records.py",
        "    return None if known[place].sequence == sequence else place\n",
        "    return place\n",
    ),
    Mutation(
        "ticks are recorded without a referee",
        f"{_SCHEDULER}/ticker.py",
        "            expect_last=after,\n",
        "            expect_last=None,\n",
        _TICKS,
    ),
    Mutation(
        "nobody carries out what a scheduler decided that stopped",
        f"{_SCHEDULER}/ticker.py",
        "            await self._finish(line, plan)\n",
        "            line.unfinished = None\n",
        _TICKS,
    ),
    Mutation(
        "a tick's record has the same id from all schedulers",
        f"{_SCHEDULER}/ticker.py",
        'id=f"{event.id}:{self._name}"',
        "id=event.id",
        _TICKS,
    ),
    Mutation(
        "what came too late to be started is not explained",
        f"{_SCHEDULER}/ticker.py",
        "            await self._executions.withdraw(plan, record.scheduled_for, reason)\n",
        "",
        _TICKS,
    ),
    Mutation(
        "the second of two like hours fires again",
        "libs/common/runlane/cron.py",
        "            if tick > after:\n                yield tick",
        "            yield tick",
        _ZONES,
    ),
]


def caught(mutation: Mutation) -> bool:
    """Whether a test fails once the mutation is made; `ValueError` if it no longer fits the code."""
    with tempfile.TemporaryDirectory() as place:
        tree = Path(place)
        for name in ("libs", "services", "tests", "pyproject.toml"):
            _copy(ROOT / name, tree / name)
        source = tree / mutation.path
        text = source.read_text()
        if text.count(mutation.old) != 1:
            raise ValueError(f"{mutation.name}: stands {text.count(mutation.old)} times in {mutation.path}")
        source.write_text(text.replace(mutation.old, mutation.new))
        files = [f"tests/model/{name}" for name in mutation.tests]
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-p",
            "no:cacheprovider",
            "--hypothesis-profile=mutants",
            *files,
        ]
        path = os.pathsep.join(str(tree / it) for it in _SOURCES)
        done = subprocess.run(command, cwd=tree, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    if done.returncode not in (0, 1):  # neither passed nor failed: it did not run
        raise ValueError(f"{mutation.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 1


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copy(source, target)
    else:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def main() -> int:
    words = sys.argv[1:]
    chosen = [it for it in MUTATIONS if not words or any(word in it.name for word in words)]
    survived = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for mutation, found in zip(chosen, pool.map(caught, chosen), strict=True):
            print("caught  " if found else "SURVIVED", mutation.name, flush=True)
            survived += not found
    print(f"{len(chosen) - survived} of {len(chosen)} mutations caught")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
