"""`runlane drain` and `runlane dead` as an operator types them, against a whole engine."""

import asyncio
import json
import os
import sys
from pathlib import Path

from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.executions import finished, notes, submit


async def begin(engine: Engine, *arguments: str) -> asyncio.subprocess.Process:
    """The command, with the administrator's key."""
    environment = {**os.environ, "RUNLANE_URL": engine.url, "RUNLANE_API_KEY": engine.credentials()["admin_key"]}
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "runlane_cli.main", *arguments]
    return await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)


async def runlane(engine: Engine, *arguments: str) -> tuple[int | None, str, str]:
    """Its exit code, what it printed, and what it said of errors."""
    process = await begin(engine, *arguments)
    printed, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, printed.decode(), errors.decode()


async def test_a_drained_executor_finishes_its_work_and_another_process_takes_its_place(
    own_engine: Engine, tmp_path: Path
) -> None:
    [before] = own_engine.pids("executor")
    journal, gate = tmp_path / "notes", tmp_path / "gate"
    async with own_engine.client() as client:
        running = await submit(client, "steps", {"journal": str(journal), "gate": str(gate)})
        await eventually(lambda: any(line.endswith(" gate") for line in notes(journal)), within=20)

        draining = await begin(own_engine, "drain")
        assert draining.stdout is not None
        first = await asyncio.wait_for(draining.stdout.readline(), 60)
        gate.touch()
        rest, complaint = await asyncio.wait_for(draining.communicate(), 60)

        assert draining.returncode == 0, complaint
        assert first.endswith(b": 1 still run\n")
        assert rest.endswith(b": drained\n")
        assert (await finished(client, running))["status"] == "Success"
        assert len(notes(journal)) == len(set(notes(journal))), "something ran twice"
        await eventually(lambda: own_engine.pids("executor") not in ([], [before]), within=20)
        assert (await client.post("/workflows/echo", json={"value": 3})).json()["result"] == 3
    code, _, errors = await runlane(own_engine, "drain", "no-such-executor")
    assert code == 2
    assert "There is no such executor." in errors


async def test_a_poison_execution_is_found_among_the_dead_letters_and_discarded(
    own_engine: Engine, tmp_path: Path
) -> None:
    async with own_engine.client() as client:
        poison = await submit(client, "kills_its_process", {"journal": str(tmp_path / "notes")})
        assert (await finished(client, poison))["error"] == "WorkerCrashed"
    _, listed, _ = await runlane(own_engine, "dead", "list", "--json")
    [letter] = json.loads(listed)["deadLetters"]
    assert (letter["kind"], letter["executionId"]) == ("crash_loop", poison)
    _, shown, _ = await runlane(own_engine, "dead", "show", letter["id"])
    assert "crash_loop" in shown
    assert (await runlane(own_engine, "dead", "discard", letter["id"]))[1] == f"discarded {letter['id']}\n"
    assert "Nothing was given up." in (await runlane(own_engine, "dead", "list"))[1]
