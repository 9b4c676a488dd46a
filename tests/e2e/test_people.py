"""People and events against the whole engine: restarts, kill -9, the command line."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.executions import finished, notes, submit

RULE = "/orgs/demo/approval-rules/delete_organization"


async def in_status(client: httpx.AsyncClient, execution_id: str, status: str, within: float = 40) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        shown: dict[str, Any] = (await client.get(f"/executions/{execution_id}")).json()
        assert shown.get("status") == status, shown
        return shown

    found = await eventually(look, within=within, every=0.1)
    assert found is not None
    return found


async def test_what_waits_outlives_the_death_of_everything(own_engine: Engine, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    async with own_engine.client() as client:
        pending = await submit(client, "delete_organization", {"name": "x", "journal": str(journal)})
        asking = await submit(client, "asks", {"journal": str(journal)})
        listening = await submit(client, "listens", {"names": ["paid", "shipped"]})
        await in_status(client, asking, "PendingApproval")
        await in_status(client, listening, "Suspended")
        await client.post(f"/executions/{listening}/events/shipped", json={"n": 2})
    own_engine.kill()
    own_engine.start()
    async with own_engine.client() as client, own_engine.client(admin=True) as admin:

        async def everything_is_in_the_inbox() -> bool:
            inbox = (await admin.get("/approvals")).json()["approvals"]
            return {entry["executionId"] for entry in inbox} == {pending, asking}

        await eventually(everything_is_in_the_inbox, within=20)
        for execution_id in (pending, asking):
            answer = await admin.post(f"/executions/{execution_id}/approve", json={"reason": "fine"})
            assert answer.status_code == 200, answer.text
        await client.post(f"/executions/{listening}/events/paid", json={"n": 1})
        assert (await finished(client, pending))["result"] == "deleted x"
        assert (await finished(client, asking))["result"]["approved"] is True
        assert (await finished(client, listening))["result"] == [{"n": 1}, {"n": 2}]
    assert sorted(notes(journal)) == ["after", "before", "deleted x"]


async def test_it_expires_while_everything_is_down(own_engine: Engine) -> None:
    async with own_engine.client() as client, own_engine.client(admin=True) as admin:
        assert (await admin.put(RULE, json={"expiresSeconds": 1})).status_code == 200
        execution_id = await submit(client, "delete_organization", {"name": "x"})
    own_engine.kill()
    own_engine.start()
    async with own_engine.client() as client:
        record = await finished(client, execution_id)
        assert (record["status"], record["error"]) == ("Cancelled", "ApprovalExpired")


async def test_no_approval_is_lost_or_doubled_when_the_gateway_is_killed(own_engine: Engine, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    async with own_engine.client() as client, own_engine.client(admin=True) as admin:
        ids = [
            await submit(client, "delete_organization", {"name": n, "journal": str(journal)}) for n in "abcdefghijkl"
        ]

        async def approve(execution_id: str) -> None:
            while True:
                try:
                    answer = await admin.post(f"/executions/{execution_id}/approve")
                    if answer.status_code == 200:
                        return
                    assert answer.status_code in (409, 500, 503), answer.text
                    if answer.json()["details"].get("status") in ("Running", "Success"):
                        return  # the answer to an earlier attempt got lost
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)

        approving = [asyncio.create_task(approve(execution_id)) for execution_id in ids]
        await approving[0]
        own_engine.kill_service("gateway")
        await asyncio.wait_for(asyncio.gather(*approving), 60)
        for execution_id in ids:
            assert (await finished(client, execution_id, within=45))["status"] == "Success"
    assert sorted(notes(journal)) == [f"deleted {n}" for n in "abcdefghijkl"]


async def test_a_killed_executor_needs_no_second_approval(own_engine: Engine, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    async with own_engine.client() as client, own_engine.client(admin=True) as admin:
        execution_id = await submit(
            client, "asks_then_works", {"journal": str(journal), "gate": str(tmp_path / "gate")}
        )
        await in_status(client, execution_id, "PendingApproval")
        assert (await admin.post(f"/executions/{execution_id}/approve")).status_code == 200
        await eventually(lambda: "approved" in notes(journal), within=20)
        own_engine.kill_service("executor")
        (tmp_path / "gate").touch()
        record = await finished(client, execution_id, within=45)
        assert (record["status"], record["result"]) == ("Success", "done"), record
    assert [step["status"] for step in record["transitions"]].count("PendingApproval") == 1


async def test_the_command_line(engine: Engine, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNLANE_")}

    def runlane(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "runlane_cli.main", *words, "--data", str(engine.data)]
        ran = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stderr
        return ran.stdout

    async with engine.client() as client:
        first = await submit(client, "delete_organization", {"name": "one"})
        second = await submit(client, "delete_organization", {"name": "two"})
        listening = await submit(client, "listens", {"names": ["paid"]})

        async def listed() -> bool:
            ids = {entry["executionId"] for entry in json.loads(runlane("approvals", "list", "--json"))["approvals"]}
            return {first, second} <= ids

        await eventually(listed, within=20)
        assert first in runlane("approvals", "list")
        shown = json.loads(runlane("approvals", "show", first, "--json"))
        assert shown["input"] == {"name": "one"}
        assert "as declared" in runlane("approvals", "show", first)
        runlane("approve", first, "--digest", "wrong", code=2)
        assert "Queued" in runlane("approve", first, "--reason", "fine", "--digest", shown["approval"]["digest"])
        assert "Cancelled" in runlane("reject", second, "--reason", "not this one")
        runlane("approvals", "show", second, code=2)
        assert "delivery-1" in runlane(
            "executions", "send-event", listening, "paid", "--param", "n=1", "--id", "delivery-1"
        )
        assert (await finished(client, first))["result"] == "deleted one"
        assert (await finished(client, second))["message"] == "not this one"
        assert (await finished(client, listening))["result"] == [{"n": 1}]
        assert "not this one" in runlane("executions", "show", second)
    runlane("approvals", "set-rule", "delete_organization", "--not-required", "--hours", "08:00-18:00", "--org", "demo")
    assert "08:00-18:00" in runlane("approvals", "rules", "--org", "demo")
    runlane("approvals", "set-rule", "*", "--count", "99", "--org", "demo", code=2)
    runlane("approvals", "delete-rule", "delete_organization", "--org", "demo")
    assert "no approval rules" in runlane("approvals", "rules", "--org", "demo")
