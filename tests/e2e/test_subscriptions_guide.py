"""The guide's receiver and commands against the whole engine, and a scheduler that is killed while it delivers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.documents import ROOT, blocks
from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.ports import quiet_port
from tests.support.raw_vendor import Vendor

GUIDE = ROOT / "docs" / "guide" / "subscriptions.md"
WORKFLOWS = Path(__file__).parent / "workflows"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setenv("RUNLANE_ALLOWED_HOSTS", "127.0.0.1")
    engine = Engine(tmp_path / "data", WORKFLOWS)
    engine.start()
    yield engine
    engine.stop()


def runlane(engine: Engine, *words: str, code: int = 0) -> str:
    """What a command of the administrator for `demo` printed."""
    known = {"RUNLANE_URL": engine.url, "RUNLANE_API_KEY": engine.credentials()["admin_key"], "RUNLANE_ORG": "demo"}
    command = [sys.executable, "-m", "runlane_cli.main", *words]
    ran = subprocess.run(command, env={**os.environ, **known}, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout


def test_the_receiver_of_the_guide_takes_what_is_sent(engine: Engine) -> None:
    port, (receiver,), (first, rotating) = (
        quiet_port(),
        blocks("python", documents=[GUIDE]),
        blocks("sh", documents=[GUIDE]),
    )
    url = f"http://127.0.0.1:{port}/runlane"
    adding, listing = [line.removeprefix("runlane ") for line in first.text.splitlines()]
    add = adding.replace("https://desk.example.com/runlane", url).partition(" --event")[0].split()
    add += ["--workflow", "echo", "--json"]  # another one has a schedule, and may run meanwhile
    made = json.loads(runlane(engine, *add))

    environment = {**os.environ, "WEBHOOK_SECRET": made["secret"], "PORT": str(port)}
    with subprocess.Popen(
        [sys.executable, "-c", receiver.text], env=environment, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            wait_for(port)
            assert "delivered: 204" in runlane(engine, "subscriptions", "test", made["id"])
            runlane(engine, *rotating.text.replace("ID", made["id"]).split()[1:])
            runlane(engine, "run", "echo")
            assert program.stdout is not None
            said = [program.stdout.readline(), program.stdout.readline()]
        finally:
            program.kill()

    assert said == ["dev.runlane.subscription.pinged \n", "dev.runlane.execution.succeeded echo\n"]
    assert "active" in runlane(engine, *listing.split())
    shown = runlane(engine, "subscriptions", "attempts", made["id"])
    assert shown.count("delivered") == 2
    assert made["secret"] not in engine.log() + shown


def test_every_other_command_says_what_it_did(engine: Engine) -> None:
    def told(*words: str, code: int = 0) -> Any:
        return json.loads(runlane(engine, "subscriptions", *words, "--json", code=code))

    made = told("add", f"http://127.0.0.1:{quiet_port()}/", "--event", "failed", "--workflow", "echo")
    assert (made["events"], made["workflows"]) == (["failed"], ["echo"])
    changed = told("set", made["id"], "--workflow", "", "--description", "all of them", "--disable")
    assert (changed["workflows"], changed["events"], changed["status"]) == ([], ["failed"], "disabled")
    assert told("show", made["id"])["description"] == "all of them"
    assert told("test", made["id"], code=1)["outcome"] == "given_up"
    assert [it["event"] for it in told("attempts", made["id"])["attempts"]]
    assert told("rotate", made["id"])["secret"] != made["secret"]
    assert told("set", made["id"], "--enable")["status"] == "active"
    assert told("list")["subscriptions"][0]["id"] == made["id"]
    assert told("remove", made["id"]) == {"removed": made["id"]}
    assert told("list")["subscriptions"] == []


async def test_nothing_is_missing_when_the_scheduler_is_killed_while_it_delivers(engine: Engine) -> None:
    receiver = Vendor()
    receiver.answer("POST /hook")
    await receiver.start()
    async with httpx.AsyncClient(
        base_url=engine.url, headers={"Authorization": f"Bearer {engine.credentials()['admin_key']}"}, timeout=30
    ) as client:
        made = await client.post("/subscriptions/demo", json={"url": f"{receiver.url}/hook"})
        assert made.status_code == 201, made.text
        ids = []
        for number in range(60):
            answer = await client.post("/workflows/echo", json={"value": number}, headers={"X-Organization-Id": "demo"})
            ids.append(answer.json()["executionId"])
            if number in (20, 40):
                await eventually(lambda: receiver.seen)
                for pid in engine.pids("scheduler"):
                    os.kill(pid, signal.SIGKILL)
        await eventually(lambda: {subject(body) for _, _, body in receiver.seen} >= set(ids), within=90)
    await asyncio.to_thread(engine.stop)
    await receiver.stop()


def subject(body: bytes) -> str:
    return str(json.loads(body)["subject"])


def wait_for(port: int) -> None:
    async def listens() -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    asyncio.run(eventually(listens))
