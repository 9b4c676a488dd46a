"""Limits of what runs at once, kept by several executors over a real nats-server."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts import subjects
from runlane.contracts.directory import Org
from runlane.contracts.encoding import encode
from runlane.contracts.events import Cancelled, CancelledData, Succeeded
from runlane.contracts.permits import decode_permits
from runlane.contracts.requests import Caller, Request
from runlane.directory import org_key
from runlane.ports import Message
from runlane.sealing import generate_master_key
from runlane.service import end_task
from runlane.settings import Settings
from runlane_executor.app import open_room
from runlane_executor.intake import Intake
from tests.support.eventually import eventually
from tests.support.executor_client import Client

_WORKFLOWS = """
import asyncio
from pathlib import Path
from runlane import Context, RetryPolicy, workflow

async def held(directory, name):
    (Path(directory) / f"{name}.began").touch()
    while not (Path(directory) / f"{name}.go").exists():
        await asyncio.sleep(0.01)

@workflow(name="two_at_once", description="-", execution_mode="async", max_concurrent=2)
async def two_at_once(context: Context, directory: str, name: str) -> None:
    await held(directory, name)

@workflow(name="one_each", description="-", execution_mode="async", max_concurrent_per_org=1)
async def one_each(context: Context, directory: str, name: str) -> None:
    await held(directory, name)

@workflow(name="by_mailbox", description="-", execution_mode="async", concurrency_key="mailbox")
async def by_mailbox(context: Context, directory: str, name: str, mailbox: str) -> None:
    await held(directory, name)

@workflow(name="free", description="-", execution_mode="async")
async def free(context: Context, directory: str, name: str) -> None:
    await held(directory, name)

@workflow(name="counted", description="-", execution_mode="async", max_concurrent=3)
async def counted(context: Context, directory: str) -> int:
    mark = Path(directory) / context.execution_id
    mark.touch()
    there = len(list(Path(directory).iterdir()))
    await asyncio.sleep(0.002)
    mark.unlink()
    return there

@workflow(name="fails_first", description="-", execution_mode="async", max_concurrent=1,
          retry_policy=RetryPolicy(max_attempts=2, initial_delay_seconds=0.05, jitter=0))
async def fails_first(context: Context) -> int:
    if context.attempt == 1:
        raise RuntimeError("once")
    return context.attempt
"""


@pytest.fixture
def limited_settings(settings: Settings, tmp_path: Path) -> Settings:
    workflows = tmp_path / "workflows"
    workflows.mkdir()
    (workflows / "limited.py").write_text(_WORKFLOWS)
    key = generate_master_key()
    return msgspec.structs.replace(settings, workflows=workflows, master_key=key, stop_grace=1.0, executor_children=1)


@pytest.fixture
def caller(bus: NatsBus, limited_settings: Settings) -> Client:
    return Client(bus, limited_settings)


@pytest.fixture
async def executors(bus: NatsBus, limited_settings: Settings) -> AsyncIterator[list[Intake]]:
    """Two of them."""
    async with AsyncExitStack() as stack:
        rooms = [await stack.enter_async_context(open_room(limited_settings)) for _ in range(2)]
        running = [asyncio.create_task(room.run()) for room in rooms]
        yield rooms
        for task in running:
            await end_task(task)


class Stage:
    """Executions that go on when they are told to."""

    def __init__(self, caller: Client, directory: Path) -> None:
        self.caller, self.directory = caller, directory
        directory.mkdir()

    async def submit(self, workflow: str, name: str, **more: str) -> Request:
        request = self.caller.request(workflow, {"directory": str(self.directory), "name": name, **more})
        await self.caller.submit(request)
        return request

    def begun(self) -> set[str]:
        return {path.stem for path in self.directory.glob("*.began")}

    def go(self, *names: str) -> None:
        for name in names:
            (self.directory / f"{name}.go").touch()


@pytest.fixture
def stage(caller: Client, tmp_path: Path) -> Stage:
    return Stage(caller, tmp_path / "stage")


async def waiting(bus: NatsBus) -> int:
    """How many requests wait for a permit."""
    return sum((await bus.counts(subjects.WAITING, subjects.ALL_WAITING)).values())


def is_waiting(bus: NatsBus, count: int) -> Callable[[], object]:
    async def look() -> bool:
        return await waiting(bus) == count

    return look


def no_permits(bus: NatsBus) -> Callable[[], object]:
    async def look() -> bool:
        return await bus.last(subjects.PERMITS, "runlane.permit.>") is None

    return look


async def test_no_more_run_at_once_than_a_workflow_allows_and_who_waits_comes_next(
    executors: list[Intake], bus: NatsBus, stage: Stage
) -> None:
    requests = [await stage.submit("two_at_once", name) for name in ("a", "b")]
    await eventually(lambda: stage.begun() == {"a", "b"})
    requests.append(await stage.submit("two_at_once", "c"))
    await eventually(is_waiting(bus, 1))
    requests.append(await stage.submit("two_at_once", "d"))
    await eventually(is_waiting(bus, 2))
    assert stage.begun() == {"a", "b"}
    stage.go("a")
    await eventually(lambda: stage.begun() == {"a", "b", "c"})
    assert await waiting(bus) == 1
    stage.go("b", "c", "d")
    for request in requests:
        assert isinstance(await stage.caller.ended(request), Succeeded)
    await eventually(is_waiting(bus, 0))
    await eventually(no_permits(bus))


async def test_what_waits_holds_no_slot_and_stops_nobody_else(
    executors: list[Intake], bus: NatsBus, stage: Stage
) -> None:
    first = await stage.submit("one_each", "first")
    await eventually(lambda: stage.begun() == {"first"})
    behind = [await stage.submit("one_each", f"behind{number}") for number in range(300)]
    await eventually(is_waiting(bus, 300))
    stage.go("other")
    other = await stage.submit("free", "other")
    assert isinstance(await stage.caller.ended(other), Succeeded)
    assert stage.begun() == {"first", "other"}
    stage.go("first", *(f"behind{number}" for number in range(300)))
    for request in [first, *behind]:
        assert isinstance(await stage.caller.ended(request), Succeeded)


async def test_executions_with_the_same_key_run_one_after_the_other(
    executors: list[Intake], bus: NatsBus, stage: Stage
) -> None:
    await stage.submit("by_mailbox", "one", mailbox="ann@acme.example")
    await eventually(lambda: stage.begun() == {"one"})
    await stage.submit("by_mailbox", "two", mailbox="ann@acme.example")
    await eventually(is_waiting(bus, 1))
    await stage.submit("by_mailbox", "three", mailbox="bob@acme.example")
    await eventually(lambda: stage.begun() == {"one", "three"})
    # Whoever may read the streams learns no mailbox from them.
    stored = await bus.read(subjects.PERMITS, "runlane.permit.>")
    assert stored
    assert not any(b"ann@" in one.payload or "ann" in one.subject for one in stored)
    stage.go("one", "two", "three")
    await eventually(lambda: stage.begun() == {"one", "two", "three"})
    await eventually(stage.caller.queue_is_empty)


async def test_an_organisations_limit_holds_over_all_its_workflows(
    executors: list[Intake], bus: NatsBus, stage: Stage
) -> None:
    store = NatsDirectoryStore(bus)
    await store.put(org_key("acme"), msgspec.json.encode(Org(id="acme", name="Acme", max_concurrent=1)))
    try:
        await eventually(lambda: all(knows_the_limit(room) for room in executors))
        await stage.submit("free", "first")
        await eventually(lambda: stage.begun() == {"first"})
        await stage.submit("two_at_once", "second")
        await eventually(is_waiting(bus, 1))
        assert stage.begun() == {"first"}
        stage.go("first", "second")
        await eventually(lambda: stage.begun() == {"first", "second"})
        await eventually(stage.caller.queue_is_empty)
    finally:
        await store.delete(org_key("acme"))


async def test_under_load_a_limit_is_used_fully_and_never_exceeded(
    executors: list[Intake], bus: NatsBus, caller: Client, tmp_path: Path
) -> None:
    counting = tmp_path / "counting"
    counting.mkdir()
    requests = [caller.request("counted", {"directory": str(counting)}) for _ in range(200)]
    await asyncio.gather(*map(caller.submit, requests))
    seen = set()
    for request in requests:
        ended = await caller.ended(request, within=60)
        assert isinstance(ended, Succeeded)
        seen.add(json.loads(bytes(ended.data.result)))
    assert max(seen) <= 3
    await eventually(no_permits(bus))


async def test_a_retry_gets_its_permit_anew(executors: list[Intake], caller: Client) -> None:
    requests = [caller.request("fails_first", {}) for _ in range(3)]
    for request in requests:
        await caller.submit(request)
    for request in requests:
        assert isinstance(await caller.ended(request), Succeeded)


async def test_a_cancelled_execution_that_waits_leaves_its_place(
    executors: list[Intake], bus: NatsBus, stage: Stage
) -> None:
    await stage.submit("one_each", "first")
    await eventually(lambda: stage.begun() == {"first"})
    cancelled = await stage.submit("one_each", "cancelled")
    await eventually(is_waiting(bus, 1))
    last = await stage.submit("one_each", "last")
    await eventually(is_waiting(bus, 2))
    await cancel(bus, cancelled)
    stage.go("first", "last")
    assert isinstance(await stage.caller.ended(last), Succeeded)
    assert isinstance(await stage.caller.ended(cancelled), Cancelled)
    assert "cancelled" not in stage.begun()


async def test_permits_of_an_executor_that_died_are_void_and_its_work_is_taken_over(
    bus: NatsBus, limited_settings: Settings, stage: Stage
) -> None:
    """It died without a word: its permits are there, it is not."""
    async with AsyncExitStack() as stack:
        dies = await stack.enter_async_context(open_room(limited_settings))
        lives = await stack.enter_async_context(open_room(limited_settings))
        dying = asyncio.create_task(dies.run())
        first = await stage.submit("one_each", "first")
        await eventually(lambda: stage.begun() == {"first"})
        living = asyncio.create_task(lives.run())
        second = await stage.submit("one_each", "second")
        await eventually(is_waiting(bus, 1))
        await silence(dies, dying)
        stage.go("first", "second")
        for request in (first, second):
            assert isinstance(await stage.caller.ended(request, within=40), Succeeded)
        await eventually(no_permits(bus))
        await end_task(living)


async def test_who_died_between_keeping_a_place_and_calling_the_next_leaves_nobody_waiting(
    executors: list[Intake], bus: NatsBus, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in executors:
        monkeypatch.setattr(room.permits, "_call", _never_called)
    await stage.submit("one_each", "first")
    await eventually(lambda: stage.begun() == {"first"})
    second = await stage.submit("one_each", "second")
    await eventually(is_waiting(bus, 1))
    stage.go("first", "second")

    async def place_is_kept() -> bool:
        stored = await bus.last(subjects.PERMITS, "runlane.permit.>")
        return stored is not None and decode_permits(stored.payload).given[0].execution == second.execution_id

    await eventually(place_is_kept)
    monkeypatch.undo()
    assert isinstance(await stage.caller.ended(second), Succeeded)


async def _never_called(_: object) -> None:
    """As if the process had died just before."""


def knows_the_limit(room: Intake) -> bool:
    asks = Request(
        execution_id="x", org="acme", workflow="free", caller=Caller(id="tester"), accepted_at=datetime.now(UTC)
    )
    org = room.runs.org(asks)
    return org is not None and org.max_concurrent == 1


async def cancel(bus: NatsBus, request: Request) -> None:
    event = Cancelled(
        id="c",
        source="/test",
        subject=request.execution_id,
        time=datetime.now(UTC),
        organization=request.org,
        workflow=request.workflow,
        data=CancelledData(by=Caller(id="tester")),
    )
    names = (request.org, request.workflow, request.execution_id)
    await bus.publish(
        Message(
            subject=subjects.event(*names, "state.cancelled"),
            payload=encode(event),
            id=f"{request.execution_id}:cancelled",
            expect_last=0,
            expect_on=subjects.state_line(*names),
        )
    )


async def silence(room: Intake, running: "asyncio.Task[None]") -> None:
    """The executor is not heard of any more, and its children are gone."""
    for share in room._shares.all:
        assert share.consumption is not None
        await share.consumption.stop()
    await end_task(running)
    room._leases.clear()
    room.runs.children.close()
