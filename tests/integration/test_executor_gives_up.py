"""What an executor gives up ends visibly and is kept as a dead letter; what it hands back is no loss."""

import asyncio
import os
import signal
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import Failed, Queued, QueuedData, Started, Succeeded, Suspended
from runlane.contracts.requests import Caller, Request, Trigger
from runlane.deadletters import DeadLetter, read_letter
from runlane.ids import new_execution_id
from runlane.ports import Message
from runlane.settings import Settings
from runlane_executor.app import open_room
from runlane_executor.intake import Intake
from tests.support.eventually import eventually
from tests.support.executions import notes
from tests.support.executor_client import Client

pytest_plugins = ["tests.support.executor_fixtures"]


async def letters(bus: NatsBus) -> list[tuple[DeadLetter, bytes]]:
    return [read_letter(stored) for stored in await bus.read(subjects.DEAD, subjects.ALL_DEAD)]


async def only_letter(bus: NatsBus) -> tuple[DeadLetter, bytes]:
    [letter] = await eventually(lambda: letters(bus), within=20)
    return letter


async def queued(client: Client, execution_id: str, workflow: str = "echo") -> Request:
    """An execution that was accepted; only what names it in the answer holds."""
    event = Queued(
        id=f"{execution_id}:queued",
        source="/test",
        subject=execution_id,
        time=datetime.now(UTC),
        organization="acme",
        workflow=workflow,
        data=QueuedData(trigger=Trigger(), caller=Caller("tester"), input=msgspec.Raw(b"{}")),
    )
    subject = subjects.event("acme", workflow, execution_id, "queued")
    await client.bus.publish(Message(subject=subject, payload=encode(event), id=event.id, expect_last=0))
    return msgspec.structs.replace(client.request(workflow, {}), execution_id=execution_id)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b"\xff{", "unreadable"),
        (b"[" * 100_000, "unreadable"),
        (b'{"execution_id":"ID","attempt":"many"}', "unreadable"),
        (b'{"execution_id":"ID","version":2,"org":"acme","workflow":"echo"}', "newer_version"),
    ],
    ids=["bytes", "deep", "shape", "newer"],
)
async def test_an_execution_whose_request_cannot_be_read_does_not_stay_queued(
    intake: Intake, caller: Client, payload: bytes, kind: str
) -> None:
    execution_id = new_execution_id()
    request = await queued(caller, execution_id)
    payload = payload.replace(b"ID", execution_id.encode())
    await caller.bus.publish(Message(subject=subjects.request("0", "acme", "echo"), payload=payload, id=execution_id))

    ended = await caller.ended(request)

    assert isinstance(ended, Failed)
    assert (ended.data.failure.error, ended.data.failure.details) == ("BadMessage", {"kind": kind})
    letter, kept = await only_letter(caller.bus)
    assert (letter.kind, letter.execution_id, letter.org, letter.workflow) == (kind, execution_id, "acme", "echo")
    assert letter.ended
    assert kept == payload
    await eventually(caller.queue_is_empty)


async def test_what_names_no_execution_that_was_accepted_ends_none(intake: Intake, caller: Client) -> None:
    await caller.bus.publish(Message(subject=subjects.request("0", "acme", "echo"), payload=b"{", id="nobody"))
    letter, _ = await only_letter(caller.bus)
    assert not letter.ended
    assert await caller.bus.last(subjects.EVENTS, subjects.ALL_EVENTS) is None


async def test_an_unreadable_message_ends_no_execution_that_another_message_runs(
    intake: Intake, caller: Client, tmp_path: Path
) -> None:
    request = caller.request("waits", {"journal": str(tmp_path / "notes"), "seconds": 1})
    await caller.submit(request)
    await eventually(lambda: notes(tmp_path / "notes"))
    broken = Message(subject=subjects.request("0", "acme", "waits"), payload=b"{", id=f"{request.execution_id}:x")
    await caller.bus.publish(broken)
    letter, _ = await only_letter(caller.bus)
    assert not letter.ended
    assert isinstance(await caller.ended(request), Succeeded)


async def test_an_unknown_workflow_is_kept_as_a_dead_letter(intake: Intake, caller: Client) -> None:
    request = caller.request("nowhere", {"a": 1})
    await caller.submit(request)
    assert isinstance(await caller.ended(request), Failed)
    letter, kept = await only_letter(caller.bus)
    assert (letter.kind, letter.execution_id) == ("unknown_workflow", request.execution_id)
    assert msgspec.json.decode(kept, type=Request) == request


@pytest.mark.parametrize(("workflow", "most"), [("kills_its_process", 1), ("kills_its_process_thrice", 3)])
async def test_a_poison_execution_takes_down_no_more_processes_than_its_max_attempts(
    intake: Intake, caller: Client, tmp_path: Path, workflow: str, most: int
) -> None:
    request = caller.request(workflow, {"journal": str(tmp_path / "notes")})
    await caller.submit(request)

    ended = await caller.ended(request)

    assert isinstance(ended, Failed)
    assert ended.data.failure.error == "WorkerCrashed"
    assert ended.data.failure.details == {"exit_code": 13, "crashes": most}
    assert notes(tmp_path / "notes") == ["begun"] * most
    letter, _ = await only_letter(caller.bus)
    assert (letter.kind, letter.execution_id) == ("crash_loop", request.execution_id)


async def test_crashes_are_counted_across_executors(intake: Intake, caller: Client, tmp_path: Path) -> None:
    request = caller.request("kills_its_process_thrice", {"journal": str(tmp_path / "notes")}, crashes=2)
    await caller.submit(request)
    assert isinstance(await caller.ended(request), Failed)
    assert notes(tmp_path / "notes") == ["begun"]


async def test_a_child_that_was_killed_from_outside_is_no_crash_of_its_execution(
    intake: Intake, caller: Client, tmp_path: Path
) -> None:
    journal, gate = tmp_path / "notes", tmp_path / "gate"
    request = caller.request("steps", {"journal": str(journal), "gate": str(gate)})
    await caller.submit(request)
    for times in (1, 2):
        await eventually(lambda n=times: [line.endswith("gate") for line in notes(journal)].count(True) == n, within=20)
        child = intake.runs.running[request.execution_id].child
        assert child is not None
        os.kill(child.pid, signal.SIGKILL)
    await eventually(lambda: [line.endswith("gate") for line in notes(journal)].count(True) == 3, within=20)
    gate.touch()
    assert isinstance(await caller.ended(request), Succeeded)
    assert await letters(caller.bus) == []


async def test_what_the_broker_gives_up_is_kept_and_taken_off_the_queue(
    intake: Intake, caller: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    await eventually(lambda: intake._listening)

    async def never(lease: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(intake, "_take", never)
    request = await queued(caller, new_execution_id())
    subject = subjects.request("0", "acme", "echo")
    sequence = await caller.bus.publish(Message(subject=subject, payload=encode(request), id=request.execution_id))
    advisory = {"stream": "REQUESTS", "consumer": "executors-0", "stream_seq": sequence, "deliveries": 7}
    caller.bus.send(subjects.GIVEN_UP.replace("*.*", "REQUESTS.executors"), msgspec.json.encode(advisory))

    ended = await caller.ended(request)

    assert isinstance(ended, Failed)
    assert ended.data.failure.details == {"kind": "undeliverable"}
    letter, _ = await only_letter(caller.bus)
    assert (letter.kind, letter.deliveries) == ("undeliverable", 7)

    async def gone() -> bool:
        return not await caller.bus.read(subjects.REQUESTS, subjects.ALL_REQUESTS)

    await eventually(gone)


async def test_what_is_handed_back_is_no_loss_and_goes_on_elsewhere(
    bus: NatsBus, executor_settings: Settings, caller: Client, tmp_path: Path
) -> None:
    journal, gate = tmp_path / "notes", tmp_path / "gate"
    request = caller.request("steps", {"journal": str(journal), "gate": str(gate)})
    hasty = msgspec.structs.replace(executor_settings, drain_grace=11)
    for times in range(1, 13):  # more often than executors may be lost
        async with open_room(hasty) as room:
            room._limits = msgspec.structs.replace(room._limits, drain_grace=0.05)
            running = asyncio.create_task(room.run())
            if times == 1:
                await caller.submit(request)
            await eventually(lambda n=times: [x.endswith("gate") for x in notes(journal)].count(True) == n, within=30)
            if times == 12:
                gate.touch()
                await caller.ended(request)
            await room.drain()
            assert "executor" in room.problems()
            await asyncio.wait_for(running, 10)

    ended = await caller.ended(request)
    assert isinstance(ended, Succeeded)
    assert [line for line in notes(journal) if " step " in line] == [
        f"{request.execution_id} step {n}" for n in range(1, 6)
    ]
    events = await caller.events(request)
    assert {event.data.losses for event in events if isinstance(event, Started)} == {0}
    assert sum(isinstance(event, Suspended) for event in events) == 11


async def test_an_executor_that_is_told_to_drain_finishes_what_it_has_and_ends(
    bus: NatsBus, executor_settings: Settings, caller: Client, tmp_path: Path
) -> None:
    async with open_room(executor_settings) as room:
        running = asyncio.create_task(room.run())
        request = caller.request("waits", {"journal": str(tmp_path / "notes"), "seconds": 1})
        await caller.submit(request)
        await eventually(lambda: notes(tmp_path / "notes"))
        bus.send(subjects.drain(room.runs.executor), b"")
        await asyncio.wait_for(running, 30)
    assert isinstance(await caller.ended(request), Succeeded)
    assert not any(isinstance(event, Suspended) for event in await caller.events(request))
