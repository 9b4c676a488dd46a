"""When a tick comes and the one before it is still running."""

from datetime import datetime

import pytest
from msgspec import Raw

from runlane.contracts import subjects
from runlane.contracts.directory import Org
from runlane.contracts.events import Cancelled, Event, Started, StartedData, Succeeded, SucceededData, decode_event
from runlane.ports import Message
from tests.support.scheduler_bus import SchedulerBus
from tests.support.scheduling import World, manifest

ACME = Org(id="acme", name="Acme")


def bus_of(world: World) -> SchedulerBus:
    assert isinstance(world.bus, SchedulerBus)
    return world.bus


def state(world: World, execution: str, kind: type[Event], tail: str) -> int:
    """Move an execution on as an executor would."""
    now: datetime = world.clock.now()
    data: object = SucceededData(result=Raw(b"1"), duration_ms=1)
    if kind is Started:
        data = StartedData(executor="e", request="REQUESTS:1", first_started_at=now)
    event = kind(
        id="x",
        source="/test",
        subject=execution,
        time=now,
        organization="acme",
        workflow="audit",
        attempt=1,
        data=data,  # type: ignore[call-arg]  # every event but the base has data
    )
    return bus_of(world).store(subjects.event("acme", "audit", execution, tail), event)


async def with_one_fired(policy: str) -> tuple[World, str]:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest(schedule="0 * * * *", overlap_policy=policy))
    await world.open()
    await world.at("2026-03-02T09:00")
    execution = bus_of(world).ticks()[0].execution_id
    assert execution is not None
    return world, execution


def outcomes(world: World) -> list[str]:
    return [f"{tick.scheduled_for:%H:%M} {tick.outcome}" for tick in bus_of(world).ticks()]


async def test_allow_fires_beside_a_running_one() -> None:
    world, execution = await with_one_fired("allow")
    state(world, execution, Started, "state.started")
    await world.at("2026-03-02T10:00")
    assert outcomes(world) == ["09:00 fired", "10:00 fired"]


@pytest.mark.parametrize("started", [False, True])
async def test_skip_waits_for_the_end_of_the_previous_one(started: bool) -> None:
    world, execution = await with_one_fired("skip")
    if started:
        state(world, execution, Started, "state.started")
    await world.at("2026-03-02T10:00")
    skipped = bus_of(world).ticks()[1]
    assert (skipped.outcome, skipped.execution_id, skipped.previous_execution_id) == ("skipped", None, execution)
    assert skipped.reason is not None
    assert execution in skipped.reason
    assert len(bus_of(world).requests()) == 1


async def test_skip_remembers_the_running_one_over_skipped_ticks_and_restarts() -> None:
    world, execution = await with_one_fired("skip")
    state(world, execution, Started, "state.started")
    await world.at("2026-03-02T10:00")
    await world.restart()
    await world.at("2026-03-02T11:00")
    assert outcomes(world) == ["09:00 fired", "10:00 skipped", "11:00 skipped"]
    state(world, execution, Succeeded, "state.succeeded")
    await world.at("2026-03-02T12:00")
    assert outcomes(world)[-1] == "12:00 fired"


async def test_cancel_previous_cancels_a_running_one_and_tells_its_executor() -> None:
    world, execution = await with_one_fired("cancel_previous")
    state(world, execution, Started, "state.started")
    await world.at("2026-03-02T10:00")
    last = await bus_of(world).last(subjects.EVENTS, subjects.state_line("acme", "audit", execution))
    assert last is not None
    cancelled = decode_event(last.payload)
    assert isinstance(cancelled, Cancelled)
    assert (cancelled.attempt, cancelled.data.by.id) == (1, "scheduler")
    assert bus_of(world).sent == [subjects.cancel(execution)]
    assert outcomes(world) == ["09:00 fired", "10:00 fired"]
    assert len(bus_of(world).requests()) == 2


async def test_cancel_previous_cancels_one_that_waits_in_the_queue() -> None:
    world, execution = await with_one_fired("cancel_previous")
    await world.at("2026-03-02T10:00")
    last = await bus_of(world).last(subjects.EVENTS, subjects.state_line("acme", "audit", execution))
    assert last is not None
    assert last.subject.endswith("state.cancelled")


async def test_cancel_previous_leaves_a_finished_one_alone() -> None:
    world, execution = await with_one_fired("cancel_previous")
    ended = state(world, execution, Succeeded, "state.succeeded")
    await world.at("2026-03-02T10:00")
    last = await bus_of(world).last(subjects.EVENTS, subjects.state_line("acme", "audit", execution))
    assert last is not None
    assert last.sequence == ended
    assert bus_of(world).sent == []
    assert outcomes(world)[-1] == "10:00 fired"


async def test_a_cancel_that_races_with_the_executor_is_tried_on_the_newer_state() -> None:
    world, execution = await with_one_fired("cancel_previous")
    moved: list[int] = []

    def claim_first(message: Message) -> None:
        if message.subject.endswith("state.cancelled") and not moved:
            moved.append(state(world, execution, Started, "state.started"))

    bus_of(world).before_publish = claim_first
    await world.at("2026-03-02T10:00")
    cancels = [m for m in bus_of(world).published if m.subject.endswith("state.cancelled")]
    assert [message.expect_last for message in cancels] == moved
    assert outcomes(world)[-1] == "10:00 fired"
