"""The sweeper: what nobody looks after goes on, what somebody looks after is left alone, no race starts it twice."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from runlane.adapters.memory_store import MemoryRecordStore
from runlane.adapters.nats.bus import NatsBus
from runlane.approving import expiry_message
from runlane.clock import ManualClock
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import (
    STATE_TAILS,
    ApprovalExpired,
    Approved,
    DecidedData,
    Decision,
    Failed,
    Failure,
    Queued,
    QueuedData,
    Retrying,
    RetryingData,
    Started,
    StartedData,
    StateEvent,
    Succeeded,
    SucceededData,
    Suspended,
    SuspendedData,
)
from runlane.contracts.requests import Caller, Request, Trigger
from runlane.ports import ConsumerLag, Message
from runlane_executor.intake import Intake
from runlane_recorder.remains import clear_remains
from runlane_recorder.sweeper import Sweeper
from tests.support.eventually import eventually
from tests.support.executions import notes
from tests.support.executor_client import Client

pytest_plugins = ["tests.support.executor_fixtures"]


def long_ago() -> datetime:
    return datetime.now(UTC) - timedelta(minutes=2)


class Lost:
    """Executions that began two minutes ago, and the store's idea of them."""

    def __init__(self, caller: Client) -> None:
        self.caller, self.bus = caller, caller.bus
        self.store = MemoryRecordStore()

    def sweeper(self) -> Sweeper:
        return Sweeper(self.bus, self.store, ManualClock(datetime.now(UTC)))

    async def queued(self, workflow: str, parameters: dict[str, Any], **data: Any) -> Request:
        request = self.caller.request(workflow, parameters)
        known: dict[str, Any] = {"trigger": Trigger(), "caller": request.caller, "input": msgspec.Raw(b"{}")}
        known["sealed_input"] = request.sealed_parameters
        event = Queued(**envelope(request, "queued"), data=QueuedData(**known | data))
        await self.store_event(request, event, "queued")
        return request

    async def state(self, request: Request, event: StateEvent) -> int:
        return await self.store_event(request, event, STATE_TAILS[type(event)])

    async def store_event(self, request: Request, event: Queued | StateEvent, tail: str) -> int:
        subject = subjects.event("acme", request.workflow, request.execution_id, tail)
        return await self.bus.publish(Message(subject=subject, payload=encode(event), id=event.id))

    async def sweep(self) -> int:
        await self.record()
        return await self.sweeper().sweep()

    async def record(self) -> None:
        await self.store.apply(await self.bus.read(subjects.EVENTS, subjects.ALL_EVENTS))


def envelope(request: Request, name: str) -> dict[str, Any]:
    return {
        "id": f"{request.execution_id}:{name}",
        "source": "/test",
        "subject": request.execution_id,
        "time": long_ago(),
        "organization": "acme",
        "workflow": request.workflow,
        "attempt": 0 if name == "queued" else 1,
    }


def started(request: Request, message: str) -> Started:
    data = StartedData(executor="executor-gone", request=message, first_started_at=long_ago())
    return Started(**envelope(request, "started"), data=data)


@pytest.fixture
def lost(caller: Client) -> Lost:
    return Lost(caller)


async def reason_of(lost: Lost, request: Request) -> str | None:
    events = await lost.caller.events(request)
    return [event.data.reason for event in events if isinstance(event, Started)][-1]


async def test_what_is_queued_without_a_request_runs(intake: Intake, lost: Lost) -> None:
    request = await lost.queued("echo", {"value": 7})
    assert await lost.sweep() == 1
    ended = await lost.caller.ended(request)
    assert isinstance(ended, Succeeded)
    assert bytes(ended.data.result) == b"7"
    assert await reason_of(lost, request) == "swept: nobody looked after it any more (queued)"
    await lost.record()
    record = await lost.store.get("acme", request.execution_id)
    assert record is not None
    assert [step.reason for step in record.transitions] == ["swept: nobody looked after it any more (queued)"]


class CountingBus:
    """A bus that counts how often the last message of something was asked for."""

    def __init__(self, bus: NatsBus) -> None:
        self._bus, self.asked = bus, 0

    def __getattr__(self, name: str) -> Any:
        self.asked += name == "last"
        return getattr(self._bus, name)


async def test_where_very_many_wait_the_broker_is_not_asked_for_each_and_the_lost_one_waits_for_its_turn(
    lost: Lost, bus: NatsBus
) -> None:
    request = await lost.queued("echo", {"value": 1})
    subject, payload = subjects.request("3", "acme", "echo"), encode(lost.caller.request("echo", {}))
    messages = (Message(subject=subject, payload=payload, id=f"m{number}") for number in range(5_000))
    await asyncio.gather(*(bus.publish(message, timeout=60) for message in messages))
    counting = CountingBus(bus)
    assert await Sweeper(cast(Any, counting), lost.store, ManualClock(datetime.now(UTC))).sweep() == 0
    assert counting.asked == 0
    await bus.api(f"STREAM.PURGE.{subjects.REQUESTS}", None)
    assert await lost.sweep() == 1, request.execution_id


async def test_what_runs_without_a_lease_is_taken_over(intake: Intake, lost: Lost) -> None:
    request = await lost.queued("echo", {"value": 8})
    await lost.state(request, started(request, "REQUESTS:99999"))
    assert await lost.sweep() == 1
    assert isinstance(await lost.caller.ended(request), Succeeded)
    last = [event for event in await lost.caller.events(request) if isinstance(event, Started)][-1]
    assert last.data.resumed
    assert last.data.first_started_at < datetime.now(UTC) - timedelta(minutes=1)


async def test_the_lease_of_a_message_that_is_another_executions_counts_for_nothing(lost: Lost, bus: NatsBus) -> None:
    """As after a restore: the queue was copied before the message was there, and gives its sequence once more."""
    request, other = await lost.queued("echo", {}), await lost.queued("echo", {})
    message = Message(subject=subjects.request("0", "acme", "echo"), payload=encode(other), id=other.execution_id)
    sequence = await bus.publish(message)
    await lost.state(request, started(request, f"REQUESTS:{sequence}"))
    assert await lost.sweep() == 1


@pytest.mark.parametrize("state", [Suspended, Retrying])
async def test_what_waits_past_its_time_goes_on(intake: Intake, lost: Lost, state: type) -> None:
    request = await lost.queued("echo", {"value": 9})
    if state is Suspended:
        data: Any = SuspendedData(reason="sleep", until=long_ago(), first_started_at=long_ago())
    else:
        data = RetryingData(
            failure=Failure("X", "x"), next_attempt=2, next_attempt_at=long_ago(), first_started_at=long_ago()
        )
    await lost.state(request, state(**envelope(request, "waits"), data=data))
    assert await lost.sweep() == 1
    assert isinstance(await lost.caller.ended(request), Succeeded)
    assert "swept" in (await reason_of(lost, request) or "")


async def test_what_was_approved_does_not_wait_for_the_end_of_its_approval(
    intake: Intake, lost: Lost, bus: NatsBus
) -> None:
    """Its gateway died after the decision; the message for the expiry is there still, days ahead."""
    request = await lost.queued("echo", {"value": 3}, needs_approval=True)
    await bus.publish(expiry_message(request, datetime.now(UTC) + timedelta(days=3)))
    given = Decision(approved=True, by=request.caller, at=long_ago(), digest="d")
    data = DecidedData(decisions=[given], asked_at=long_ago())
    await lost.state(request, Approved(**envelope(request, "decision"), data=data))
    assert await lost.sweep() == 1
    assert isinstance(await lost.caller.ended(request), Succeeded)


async def test_what_was_never_put_up_for_approval_does_not_run(intake: Intake, lost: Lost, tmp_path: Path) -> None:
    request = await lost.queued("waits", {"journal": str(tmp_path / "notes"), "seconds": 0}, needs_approval=True)
    assert await lost.sweep() == 1

    async def expired() -> bool:
        return any(isinstance(event, ApprovalExpired) for event in await lost.caller.events(request))

    await eventually(expired, within=20)
    assert not notes(tmp_path / "notes")


@pytest.mark.parametrize("begun", [False, True])
async def test_what_no_event_tells_of_any_more_is_ended(lost: Lost, bus: NatsBus, begun: bool) -> None:
    """It used to be left alone for ever, as nothing could tell how it stood."""
    request = await lost.queued("echo", {})
    if begun:
        await lost.state(request, started(request, "REQUESTS:99999"))
    await lost.record()
    await bus.api(f"STREAM.PURGE.{subjects.EVENTS}", None)
    await asyncio.gather(*(lost.sweeper().sweep() for _ in range(3)))
    [event] = await lost.caller.events(request)
    assert isinstance(event, Failed)
    assert event.data.failure.error == "HistoryExpired"
    await lost.record()
    record = await lost.store.get("acme", request.execution_id)
    assert record is not None
    assert record.status == "Failed"
    assert await lost.sweeper().sweep() == 0


async def test_a_start_that_outlives_its_event_is_left_alone(lost: Lost, bus: NatsBus) -> None:
    request = await lost.queued("echo", {}, run_at=long_ago())
    later = datetime.now(UTC) + timedelta(hours=1)
    due, id_ = subjects.due("0", "acme", "echo"), request.execution_id
    subject = subjects.delayed(id_)
    await bus.publish(Message(subject=subject, payload=encode(request), id=id_, deliver_at=later, deliver_to=due))
    await lost.record()
    await bus.api(f"STREAM.PURGE.{subjects.EVENTS}", None)
    assert await lost.sweeper().sweep() == 0
    assert await lost.caller.events(request) == []


async def test_many_sweepers_start_it_once(intake: Intake, lost: Lost, tmp_path: Path) -> None:
    request = await lost.queued("waits", {"journal": str(tmp_path / "notes"), "seconds": 0.2})
    await lost.record()
    await asyncio.gather(*(lost.sweeper().sweep() for _ in range(5)))
    assert isinstance(await lost.caller.ended(request), Succeeded)
    await eventually(lost.caller.queue_is_empty)
    assert notes(tmp_path / "notes") == ["begun", "ended"]


async def test_what_somebody_looks_after_is_left_alone(lost: Lost, bus: NatsBus) -> None:
    on_the_queue = await lost.queued("echo", {})
    await lost.caller.submit(on_the_queue)
    runs = await lost.queued("echo", {})
    sequence = await bus.publish(
        Message(subject=subjects.request("0", "acme", "echo"), payload=encode(runs), id=runs.execution_id)
    )
    await lost.state(runs, started(runs, f"REQUESTS:{sequence}"))
    sleeps = await lost.queued("echo", {})
    later = SuspendedData(reason="sleep", until=datetime.now(UTC) + timedelta(hours=1), first_started_at=long_ago())
    await lost.state(sleeps, Suspended(**envelope(sleeps, "sleeps"), data=later))
    waits = await lost.queued("echo", {})
    for_ever = SuspendedData(reason="event:paid", first_started_at=long_ago())
    await lost.state(waits, Suspended(**envelope(waits, "waits"), data=for_ever))
    held = await lost.queued("echo", {}, run_at=long_ago())
    await bus.publish(
        Message(
            subject=subjects.delayed(held.execution_id),
            payload=encode(held),
            id=held.execution_id,
            deliver_at=datetime.now(UTC) + timedelta(hours=1),
            deliver_to=subjects.due("0", "acme", "echo"),
        )
    )

    assert await lost.sweep() == 0


async def test_what_has_ended_is_left_alone_though_the_store_does_not_know_yet(lost: Lost) -> None:
    request = await lost.queued("echo", {})
    await lost.record()
    data = SucceededData(result=msgspec.Raw(b"1"), duration_ms=1)
    await lost.state(request, Succeeded(**envelope(request, "succeeded"), data=data))
    assert await lost.sweeper().sweep() == 0


async def test_what_was_queued_a_moment_ago_is_left_alone(lost: Lost) -> None:
    request = lost.caller.request("echo", {})
    event = Queued(
        **envelope(request, "queued") | {"time": datetime.now(UTC)},
        data=QueuedData(trigger=Trigger(), caller=Caller("x"), input=msgspec.Raw(b"{}")),
    )
    await lost.store_event(request, event, "queued")
    assert await lost.sweep() == 0


class Forgetful(NatsBus):
    """As nats-server may be after it was killed: what was acknowledged up to `floor` is still there."""

    floor = 0

    async def lag(self, stream: str, consumer: str) -> ConsumerLag:
        return msgspec.structs.replace(await super().lag(stream, consumer), floor=self.floor)


async def test_what_the_broker_acknowledged_and_kept_is_removed_from_the_queue(bus: NatsBus) -> None:
    for number in (1, 2, 3):
        subject = subjects.request("0", "acme", "kept")
        await bus.publish(Message(subject=subject, payload=b"{}", id=f"kept-{number}"))
    stored = await bus.read(subjects.REQUESTS, subjects.ALL_REQUESTS)
    forgetful = Forgetful(bus.connection)
    assert await clear_remains(forgetful) == 0
    forgetful.floor = stored[1].sequence
    assert await clear_remains(forgetful) == 2
    assert await bus.read(subjects.REQUESTS, subjects.ALL_REQUESTS) == stored[2:]


async def test_what_waits_for_a_permit_is_left_alone(lost: Lost, bus: NatsBus) -> None:
    request = await lost.queued("echo", {})
    subject = subjects.waiting("limit", subjects.request("0", "acme", "echo"))
    sequence = await bus.publish(Message(subject=subject, payload=encode(request), id=f"{request.execution_id}:waits"))
    assert await lost.sweep() == 0
    await bus.remove(subjects.WAITING, sequence)
    assert await lost.sweep() == 1
