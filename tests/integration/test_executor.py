"""The executor over a real nats-server: what it makes of requests, seen from the streams."""

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.topology import LEASE_SECONDS
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import (
    Cancelled,
    CancelledData,
    Failed,
    Retrying,
    Started,
    Succeeded,
    Traced,
    decode_event,
)
from runlane.contracts.requests import Caller, Request
from runlane.ports import Message
from runlane.settings import Settings
from runlane_executor import runs
from runlane_executor.app import open_room
from runlane_executor.intake import Intake
from tests.support.eventually import eventually
from tests.support.executor_client import Client

pytest_plugins = ["tests.support.executor_fixtures"]


async def test_a_request_runs_answers_and_leaves_the_queue(intake: Intake, caller: Client) -> None:
    heard: list[bytes] = []
    await caller.bus.listen("runlane.reply.me.*", lambda _, payload: heard.append(payload))
    request = caller.request("echo", {"value": [1, 2]}, reply_to="runlane.reply.me.x")
    await caller.submit(request)
    ended = await caller.ended(request)
    assert isinstance(ended, Succeeded)
    assert bytes(ended.data.result) == b"[1,2]"
    await eventually(lambda: heard)
    assert decode_event(heard[0]) == ended
    await eventually(caller.queue_is_empty)


async def test_the_same_request_twice_runs_once(intake: Intake, caller: Client, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    request = caller.request("waits", {"journal": str(journal), "seconds": 0.3})
    await caller.submit(request, "one")
    await caller.submit(request, "two")
    await caller.ended(request)
    await eventually(caller.queue_is_empty)
    assert journal.read_text().splitlines() == ["begun", "ended"]


async def test_a_cancelled_execution_is_not_run(intake: Intake, caller: Client, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    request = caller.request("waits", {"journal": str(journal)})
    event = Cancelled(
        id="c",
        source="/test",
        subject=request.execution_id,
        time=datetime.now(UTC),
        organization="acme",
        workflow="waits",
        data=CancelledData(by=Caller(id="tester")),
    )
    subject = subjects.event("acme", "waits", request.execution_id, "state.cancelled")
    line = subjects.state_line("acme", "waits", request.execution_id)
    await caller.bus.publish(Message(subject=subject, payload=encode(event), id="c1", expect_last=0, expect_on=line))
    await caller.submit(request)
    await eventually(caller.queue_is_empty)
    assert not journal.exists()


async def test_a_request_nobody_can_read_is_set_aside(intake: Intake, caller: Client) -> None:
    await caller.bus.publish(Message(subject=subjects.request("0", "acme", "echo"), payload=b"\xff{", id="bad"))

    async def buried() -> bool:
        return await caller.bus.last(subjects.DEAD, "runlane.dead.>") is not None

    await eventually(buried)
    await eventually(caller.queue_is_empty)
    request = caller.request("echo", {})
    await caller.submit(request)
    assert isinstance(await caller.ended(request), Succeeded)


async def test_an_unknown_workflow_fails_by_name(intake: Intake, caller: Client) -> None:
    request = caller.request("nowhere", {})
    await caller.submit(request)
    ended = await caller.ended(request)
    assert isinstance(ended, Failed)
    assert ended.data.failure.error == "WorkflowNotFound"


async def test_parameters_sealed_for_another_execution_do_not_open(intake: Intake, caller: Client) -> None:
    stolen = caller.request("echo", {"value": "theirs"}).sealed_parameters
    request = msgspec.structs.replace(caller.request("echo", {}), sealed_parameters=stolen)
    await caller.submit(request)
    ended = await caller.ended(request)
    assert isinstance(ended, Failed)
    assert ended.data.failure.error == "InternalServerError"


async def test_retries_are_states_on_one_line(intake: Intake, caller: Client, tmp_path: Path) -> None:
    request = caller.request("flaky", {"journal": str(tmp_path / "notes")})
    await caller.submit(request)
    await caller.ended(request)
    kinds = [type(event) for event in await caller.events(request)]
    assert kinds == [Started, Retrying, Started, Retrying, Started, Succeeded]


async def test_a_dead_child_is_replaced_and_its_work_taken_up(intake: Intake, caller: Client, tmp_path: Path) -> None:
    journal, gate = tmp_path / "notes", tmp_path / "gate"
    requests = [caller.request("steps", {"journal": str(journal), "gate": str(gate)}) for _ in range(4)]
    for request in requests:
        await caller.submit(request)
    await eventually(lambda: journal.exists() and journal.read_text().count("gate") == 4)
    for child in list(intake.runs.children._working):
        os.kill(child.pid, signal.SIGKILL)
    gate.touch()
    for request in requests:
        ended = await caller.ended(request)
        assert isinstance(ended, Succeeded)
        assert msgspec.json.decode(ended.data.result)["resumed"] is True
    ran = [line for line in journal.read_text().splitlines() if " step " in line]
    assert len(ran) == len(set(ran)) == 20


async def usurp(caller: Client, request: Request) -> int:
    """Take over what an executor runs, as another would."""
    line = subjects.state_line(request.org, request.workflow, request.execution_id)
    last = await caller.bus.last(subjects.EVENTS, line)
    assert last is not None
    return await caller.bus.publish(
        Message(subject=last.subject, payload=last.payload, id="usurper", expect_last=last.sequence, expect_on=line)
    )


async def test_a_fenced_run_can_write_nothing_more(intake: Intake, caller: Client, tmp_path: Path) -> None:
    journal, gate = tmp_path / "notes", tmp_path / "gate"
    request = caller.request("steps", {"journal": str(journal), "gate": str(gate)})
    await caller.submit(request)
    await eventually(lambda: journal.exists() and "gate" in journal.read_text())
    sequence = await usurp(caller, request)
    gate.touch()
    await eventually(lambda: not intake.runs.running)
    after = await caller.bus.read(subjects.EVENTS, subjects.all_events("acme", request.execution_id), after=sequence)
    assert after == []


async def test_a_lease_that_ended_under_its_owner_starts_no_second_run(
    bus: NatsBus, executor_settings: Settings, caller: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message is delivered again to the executor that runs it: it is still its own."""
    monkeypatch.setattr("runlane_executor.intake.HEARTBEAT_SECONDS", 3600)
    journal = tmp_path / "notes"
    async with open_room(executor_settings) as room:
        running = asyncio.create_task(room.run())
        request = caller.request("waits", {"journal": str(journal), "seconds": LEASE_SECONDS + 2})
        await caller.submit(request)
        assert isinstance(await caller.ended(request), Succeeded)
        running.cancel()
    assert journal.read_text().splitlines() == ["begun", "ended"]
    assert [type(event) for event in await caller.events(request)] == [Started, Traced, Succeeded]


async def test_what_was_taken_over_during_a_silence_is_stopped(intake: Intake, caller: Client, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    request = caller.request("waits", {"journal": str(journal)})
    await caller.submit(request)
    await eventually(lambda: journal.exists())
    await usurp(caller, request)
    await intake.runs.check_claims()
    await eventually(lambda: not intake.runs.running)


@pytest.mark.parametrize("resumed", [True, False])
async def test_what_was_taken_over_before_its_code_was_called_is_not_run(
    intake: Intake, caller: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resumed: bool
) -> None:
    """It ran steps again that its successor had stored by then: `make chaos-long`, seed 8, on a machine out of breath.

    A run that goes on where another left off sees that in its journal; any other looks where its start was held up.
    """
    journal = tmp_path / "notes"
    begun = datetime.now(UTC) if resumed else None
    request = caller.request("waits", {"journal": str(journal)}, first_started_at=begun)
    usurped = asyncio.Event()

    def after_usurpation(prepare: Callable[..., Any]) -> Callable[..., Any]:
        async def prepared(*arguments: Any) -> Any:
            await usurp(caller, request)
            usurped.set()
            return await prepare(*arguments)

        return prepared

    if resumed:
        monkeypatch.setattr(runs, "load_journal", after_usurpation(runs.load_journal))
    else:
        children = intake.runs.children
        monkeypatch.setattr(runs, "PROMPT_SECONDS", 0.0)
        monkeypatch.setattr(children, "pick", lambda: None)
        monkeypatch.setattr(children, "alone", after_usurpation(children.alone))
    await caller.submit(request)
    async with asyncio.timeout(20):
        await usurped.wait()
    await eventually(lambda: not intake.runs.running)

    assert not journal.exists()
    assert [type(event) for event in await caller.events(request)] == [Started, Started]


async def test_children_that_die_while_a_late_start_looks_for_its_claim_take_nothing_with_them(
    intake: Intake, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was handed to a child that had gone: nobody waited for an answer, and its lease was renewed for ever."""
    monkeypatch.setattr(runs, "PROMPT_SECONDS", 0.0)
    look = intake.runs._was_taken_over

    async def looks(execution: Any) -> bool:
        doomed = list(intake.runs.children._working)
        for child in doomed:
            os.kill(child.pid, signal.SIGKILL)
        await eventually(lambda: not any(child.alive for child in doomed))
        monkeypatch.setattr(intake.runs, "_was_taken_over", look)
        return await look(execution)

    monkeypatch.setattr(intake.runs, "_was_taken_over", looks)
    request = caller.request("echo", {"value": 1})
    await caller.submit(request)

    assert isinstance(await caller.ended(request), Succeeded)


async def test_what_is_slept_counts_for_no_limit(intake: Intake, caller: Client) -> None:
    request = caller.request("oversleeps", {})
    await caller.submit(request)

    ended = await caller.ended(request, within=30)

    assert isinstance(ended, Succeeded)


@pytest.mark.parametrize("days", [8.0, 7.0])
async def test_a_sleep_that_its_events_do_not_outlast_is_refused_at_once(
    intake: Intake, caller: Client, tmp_path: Path, days: float
) -> None:
    """It used to wake up without its steps, and to run them and sleep again for ever."""
    request = caller.request("long_sleep", {"journal": str(tmp_path / "notes"), "seconds": days * 86_400})
    await caller.submit(request)

    ended = await caller.ended(request)

    assert isinstance(ended, Failed)
    assert ended.data.failure.error == "HistoryExpired"
    assert (tmp_path / "notes").read_text().splitlines() == ["once", "before"]
    await eventually(caller.queue_is_empty)


async def test_what_has_lost_its_steps_does_not_run_them_again(intake: Intake, caller: Client, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    begun = datetime.now(UTC) - timedelta(days=7, seconds=1)
    parameters = {"journal": str(journal), "seconds": 0.1}
    of_a_known_state = caller.request("long_sleep", parameters, first_started_at=begun)
    of_a_forgotten_state = caller.request("long_sleep", parameters, first_started_at=begun, last_state=77)
    for request in (of_a_known_state, of_a_forgotten_state):
        await caller.submit(request)

        ended = await caller.ended(request)

        assert isinstance(ended, Failed)
        assert ended.data.failure.error == "HistoryExpired"
    assert not journal.exists()


async def test_what_is_young_enough_goes_on(intake: Intake, caller: Client, tmp_path: Path) -> None:
    begun = datetime.now(UTC) - timedelta(days=6)
    parameters = {"journal": str(tmp_path / "notes"), "seconds": 0.1}
    request = caller.request("long_sleep", parameters, first_started_at=begun, waited_seconds=6 * 86_400)
    await caller.submit(request)

    assert isinstance(await caller.ended(request), Succeeded)


async def test_a_timeout_names_the_limit_that_was_reached(intake: Intake, caller: Client) -> None:
    request = caller.request("slow_each_time", {})
    await caller.submit(request)

    ended = await caller.ended(request, within=30)

    assert isinstance(ended, Failed)
    assert ended.data.failure.message == "Workflow exceeded timeout of 1.5 seconds"
    assert [event.data.failure.message for event in await caller.events(request) if isinstance(event, Retrying)] == [
        "Workflow exceeded timeout of 1 seconds"
    ]


async def test_code_that_blocks_every_child_does_not_hold_up_new_work(
    intake: Intake, caller: Client, tmp_path: Path
) -> None:
    journal = tmp_path / "notes"
    for begun in (1, 2):
        await caller.submit(caller.request("blocks", {"journal": str(journal)}))
        await eventually(lambda n=begun: journal.exists() and journal.read_text().count("blocked") == n, within=20)
    await eventually(lambda: sum(child.blocked for child in intake.runs.children._working) >= 2)

    for value in range(5):
        request = caller.request("echo", {"value": value})
        await caller.submit(request)
        assert isinstance(await caller.ended(request, within=20), Succeeded)


async def test_what_has_no_time_left_when_it_starts_does_not_cost_its_process(intake: Intake, caller: Client) -> None:
    before = {child.pid for child in intake.runs.children._working}
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    request = caller.request("echo", {}, first_started_at=long_ago)
    await caller.submit(request)

    ended = await caller.ended(request)

    assert isinstance(ended, Failed)
    assert ended.data.failure.error == "TimeoutError"
    assert {child.pid for child in intake.runs.children._working} == before
