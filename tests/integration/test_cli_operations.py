"""`runlane overview` and `runlane executions bulk-…` against a gateway that serves."""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import structlog

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane_cli.main import main
from tests.support.gateway_bus import Executor, Gateway

pytest_plugins = ["tests.support.gateway_fixtures"]


class Ran(NamedTuple):
    code: object
    out: str
    err: str


Command = Callable[..., Awaitable[Ran]]


@pytest.fixture
def runlane(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Command]:
    """Run a command line in a thread, in an empty directory, as the administrator for acme."""
    monkeypatch.chdir(tmp_path)
    for name, value in (("URL", gateway.url), ("API_KEY", "rl_admin_secret-admin"), ("ORG", "acme")):
        monkeypatch.setenv(f"RUNLANE_{name}", value)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    def command(words: tuple[str, ...]) -> object:
        monkeypatch.setattr(sys, "argv", ["runlane", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    async def run(*words: str) -> Ran:
        capsys.readouterr()
        code = await asyncio.to_thread(command, words)
        return Ran(code, *capsys.readouterr())

    yield run
    structlog.reset_defaults()


@pytest.fixture
async def waiting(gateway: Gateway, client: httpx.AsyncClient, bus: NatsBus) -> None:
    for _ in range(3):
        await client.post("/workflows/slow", json={})
    await gateway.records.apply(await bus.read(subjects.EVENTS, ">"))


async def test_overview_shows_what_waits_and_the_lanes(runlane: Command, waiting: None) -> None:
    shown = await runlane("overview")
    assert shown.code == 0
    figures = [line.split() for line in shown.out.splitlines()]
    assert ["Queued", "3"] in figures
    assert ["0", "3", "0"] in [words[:3] for words in figures]
    found = json.loads((await runlane("overview", "--minutes", "15", "--json")).out)
    assert found["partSeconds"] == 15
    assert found["unfinished"]["Queued"] == 3


async def test_bulk_cancel_says_how_many_and_does_nothing_until_somebody_agrees(
    runlane: Command, waiting: None, client: httpx.AsyncClient
) -> None:
    asked = await runlane("executions", "bulk-cancel", "--workflow", "slow")
    assert (asked.code, "3 execution(s)" in asked.err, "--yes" in asked.err) == (2, True, True)
    assert {one["status"] for one in (await client.get("/executions")).json()["executions"]} == {"Queued"}
    done = await runlane("executions", "bulk-cancel", "--workflow", "slow", "--reason", "enough", "--yes")
    assert (done.code, done.out) == (0, "3 cancelled\n")


async def test_bulk_retry_starts_again_what_was_cancelled(
    runlane: Command, waiting: None, gateway: Gateway, bus: NatsBus
) -> None:
    assert (await runlane("executions", "bulk-cancel", "--yes")).code == 0
    await gateway.records.apply(await bus.read(subjects.EVENTS, ">"))
    done = await runlane("executions", "bulk-retry", "--status", "Cancelled", "--yes", "--json")
    assert (done.code, json.loads(done.out)) == (0, {"done": 3, "refused": []})
    nothing = await runlane("executions", "bulk-retry", "--status", "Running", "--yes")
    assert (nothing.code, nothing.out) == (0, "0 started again\n")


async def test_what_was_refused_is_told_and_is_exit_code_1(
    runlane: Command, waiting: None, gateway: Gateway, bus: NatsBus, client: httpx.AsyncClient
) -> None:
    executor = Executor(bus, gateway.parts.sealer)
    await executor.start()
    for one in (await client.get("/executions")).json()["executions"]:
        await client.get(f"/executions/{one['executionId']}", params={"wait": 20})
    done = await runlane("executions", "bulk-cancel", "--status", "Queued", "--yes")
    assert (done.code, done.out) == (1, "0 cancelled\n")
    assert "3 were refused" in done.err
    assert "ended already" in done.err
