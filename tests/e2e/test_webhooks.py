"""Webhooks as senders and operators use them, against the whole engine; the gateway dies in the middle."""

import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.executions import finished, notes
from tests.support.webhooks import GITHUB, STANDARD, github, standard

HOOK = "/webhooks/demo/noted_hook"
EVENTS = "/webhooks/demo/event_hook"


async def settle(admin: httpx.AsyncClient, path: str, **settings: Any) -> None:
    answer = await admin.put(path, json={"ratePerMinute": 1_000_000, "burst": 10_000, **settings})
    assert answer.status_code == 200, answer.text


async def test_the_same_delivery_a_hundred_times_at_once_runs_once(
    engine: Engine, client: httpx.AsyncClient, admin: httpx.AsyncClient, tmp_path: Path
) -> None:
    journal = tmp_path / "notes"
    await settle(admin, HOOK, scheme="standard", secret=STANDARD)
    delivery = standard({"journal": str(journal), "number": 7})
    async with httpx.AsyncClient(base_url=engine.url, timeout=40) as sender:
        answers = await asyncio.gather(*(sender.post(HOOK, **delivery) for _ in range(100)))
        assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
        execution_id = answers[0].json()["executionId"]
        record = await finished(client, execution_id)
        assert (record["status"], record["trigger"]["kind"]) == ("Success", "webhook")
        again = await sender.post(HOOK, **delivery)
    assert again.content == answers[0].content
    assert notes(journal) == [f"7 {execution_id}"]


async def test_no_delivery_is_lost_or_run_twice_when_the_gateway_dies(own_engine: Engine, tmp_path: Path) -> None:
    """Senders do what senders do: whatever is not 202 they send again."""
    journal, count = tmp_path / "notes", 120
    async with own_engine.client(admin=True) as admin:
        await settle(admin, HOOK, scheme="github", secret=GITHUB)
    sent = {n: github({"journal": str(journal), "number": n}) for n in range(count)}
    answered: dict[int, set[str]] = {n: set() for n in sent}
    limits = httpx.Limits(max_connections=16)
    async with httpx.AsyncClient(base_url=own_engine.url, timeout=40, limits=limits) as sender:

        async def deliver(number: int) -> bool:
            try:
                answer = await sender.post(HOOK, **sent[number])
            except httpx.TransportError:
                return False
            if answer.status_code == 202:
                answered[number].add(answer.json()["executionId"])
            return answer.status_code == 202

        async def kill_in_the_middle() -> None:
            await eventually(lambda: len([n for n in answered if answered[n]]) > count // 4, within=30, every=0.001)
            own_engine.kill_service("gateway")

        await asyncio.gather(kill_in_the_middle(), *(deliver(n) for n in sent))
        assert any(not ids for ids in answered.values()), "the gateway died too late to matter"
        for number in sent:
            await eventually(lambda n=number: deliver(n), within=60)  # type: ignore[misc]  # bound now
    assert {len(ids) for ids in answered.values()} == {1}, "one delivery has one execution, whoever answered"
    await eventually(lambda: len(notes(journal)) >= count, within=60)
    async with own_engine.client() as client:
        for ids in answered.values():
            assert (await finished(client, *ids))["status"] == "Success"
    ran = Counter(int(line.split()[0]) for line in notes(journal))
    assert ran == dict.fromkeys(range(count), 1)


def run(engine: Engine, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    known = {"RUNLANE_URL": engine.url, "RUNLANE_API_KEY": engine.credentials()["admin_key"], "RUNLANE_ORG": "demo"}
    command = [sys.executable, "-m", "runlane_cli.main", "webhooks", *arguments]
    env = {**os.environ, **known}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, input=stdin)


async def test_the_command_line_settles_rotates_lists_and_replays(engine: Engine, client: httpx.AsyncClient) -> None:
    settled = run(engine, "set", "event_hook", "--scheme", "github", "--secret", "-", "--body-as", "event",
                  "--headers-as", "about", "--pass-header", "X-GitHub-Event", stdin=f"{GITHUB}\n")  # fmt: skip
    assert settled.returncode == 0, settled.stderr
    assert GITHUB not in settled.stdout
    url = run(engine, "url", "event_hook").stdout.strip()
    assert url == f"{engine.url}{EVENTS}"
    async with httpx.AsyncClient(timeout=40) as sender:
        answer = await sender.post(url, **github({"action": "opened"}, delivery="d-1"))
        assert answer.status_code == 202
        refused = await sender.post(url, **github({"action": "opened"}, "another-secret-of-24-bytes!!"))
        assert refused.json() == {"error": "BadRequest", "message": "Failed to process webhook"}
        record = await finished(client, answer.json()["executionId"])
        assert record["result"] == {
            "event": {"action": "opened"},
            "about": {"x-github-event": "issues"},
            "by": "webhook:event_hook",
        }
        listed = await eventually(lambda: _listed(engine, 2), within=20)
        assert sorted(it["outcome"] for it in listed) == ["accepted", "refused"]
        assert "the signature is missing or wrong" in run(engine, "deliveries", "event_hook").stdout
        accepted = next(it["id"] for it in listed if it["outcome"] == "accepted")
        replayed = run(engine, "replay", "event_hook", accepted)
        assert (await finished(client, replayed.stdout.strip()))["result"]["event"] == {"action": "opened"}
        rotated = json.loads(run(engine, "rotate", "event_hook", "--json").stdout)
        for secret in (GITHUB, rotated["secret"]):
            assert (await sender.post(url, **github({}, secret))).status_code == 202
        assert run(engine, "rotate", "event_hook", "--finish").returncode == 0
        assert (await sender.post(url, **github({}))).status_code == 400
    kept = run(engine, "set", "event_hook", "--rate", "30")
    assert kept.returncode == 0, kept.stderr
    shown = json.loads(run(engine, "show", "event_hook", "--json").stdout)
    assert (shown["bodyAs"], shown["ratePerMinute"], len(shown["secrets"])) == ("event", 30, 1)
    assert "event_hook" in run(engine, "list").stdout
    assert run(engine, "delete", "event_hook").returncode == 0
    wrong = run(engine, "set", "event_hook", "--scheme", "slack")
    assert wrong.returncode != 0
    assert "secret" in wrong.stderr


def _listed(engine: Engine, count: int) -> list[dict[str, Any]] | None:
    found: list[dict[str, Any]] = json.loads(run(engine, "deliveries", "event_hook", "--json").stdout)["deliveries"]
    return found if len(found) >= count else None
