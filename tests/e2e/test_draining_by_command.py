"""`runlane drain` and `runlane dead` as an operator types them, against a whole engine."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.executions import finished, notes, submit


async def runlane(engine: Engine, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, with the administrator's key."""
    environment = {**os.environ, "RUNLANE_URL": engine.url, "RUNLANE_API_KEY": engine.credentials()["admin_key"]}
    command = [sys.executable, "-m", "runlane_cli.main", *arguments]
    return await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60)


async def test_a_drained_executor_finishes_its_work_and_another_process_takes_its_place(
    own_engine: Engine, tmp_path: Path
) -> None:
    [before] = own_engine.pids("executor")
    async with own_engine.client() as client:
        running = await submit(client, "waits", {"journal": str(tmp_path / "notes"), "seconds": 2})
        await eventually(lambda: notes(tmp_path / "notes"), within=20)

        drained = await runlane(own_engine, "drain")

        assert drained.returncode == 0, drained.stderr
        lines = drained.stdout.splitlines()
        assert lines[0].endswith(": 1 still run")
        assert lines[-1].endswith(": drained")
        assert (await finished(client, running))["status"] == "Success"
        assert notes(tmp_path / "notes") == ["begun", "ended"]
        await eventually(lambda: own_engine.pids("executor") not in ([], [before]), within=20)
        assert (await client.post("/workflows/echo", json={"value": 3})).json()["result"] == 3
    nobody = await runlane(own_engine, "drain", "no-such-executor")
    assert nobody.returncode == 2
    assert "There is no such executor." in nobody.stderr


async def test_a_poison_execution_is_found_among_the_dead_letters_and_discarded(
    own_engine: Engine, tmp_path: Path
) -> None:
    async with own_engine.client() as client:
        poison = await submit(client, "kills_its_process", {"journal": str(tmp_path / "notes")})
        assert (await finished(client, poison))["error"] == "WorkerCrashed"
    listed = await runlane(own_engine, "dead", "list", "--json")
    [letter] = json.loads(listed.stdout)["deadLetters"]
    assert (letter["kind"], letter["executionId"]) == ("crash_loop", poison)
    shown = await runlane(own_engine, "dead", "show", letter["id"])
    assert "crash_loop" in shown.stdout
    assert (await runlane(own_engine, "dead", "discard", letter["id"])).stdout == f"discarded {letter['id']}\n"
    assert "Nothing was given up." in (await runlane(own_engine, "dead", "list")).stdout
