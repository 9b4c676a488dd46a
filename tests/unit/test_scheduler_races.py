"""Several schedulers, a broker that goes away, a scheduler that dies half way: each tick still comes once."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import cast

import pytest

from runlane.contracts import subjects
from runlane.contracts.directory import Org
from runlane.contracts.events import Cancelled, Queued, decode_event
from runlane.errors import BusUnavailable, StorageFull
from runlane.ports import Message
from tests.support.eventually import eventually
from tests.support.scheduler_bus import SchedulerBus
from tests.support.scheduling import World, at, manifest

ORGS = [Org(id=f"org{n}", name=f"Org {n}") for n in range(40)]


def bus_of(world: World) -> SchedulerBus:
    assert isinstance(world.bus, SchedulerBus)
    return world.bus


async def world_of(*orgs: Org, **more: object) -> World:
    world = World.starting("2026-03-02T08:30")
    world.put(*orgs, manifest(**{"schedule": "0 * * * *", **more}))
    return world


def check_each_once(world: World, count: int) -> None:
    records = Counter((tick.scheduled_for, tick.execution_id) for tick in bus_of(world).ticks())
    requests = Counter(request.execution_id for request in bus_of(world).requests())
    assert len(records) == len(requests) == count
    assert set(records.values()) == set(requests.values()) == {1}


async def test_schedulers_that_race_produce_each_tick_once() -> None:
    world = await world_of(*ORGS)
    racing = [await world.open(name) for name in ("one", "two", "three")]
    for hour in (9, 10, 11):
        world.clock.set(at(f"2026-03-02T{hour:02}:00"))
        await asyncio.gather(*(scheduler.tick() for scheduler in racing))
    check_each_once(world, 3 * len(ORGS))


async def test_a_scheduler_that_wakes_long_after_adopts_what_others_decided() -> None:
    """Also when the deduplication window is over, and although it would decide otherwise: `skip` says missed by now."""
    world = await world_of(*ORGS, misfire_policy="skip")
    asleep, awake = await world.open("asleep"), await world.open("awake")
    world.clock.set(at("2026-03-02T09:00"))
    await awake.tick()
    bus_of(world).forget_ids()
    world.clock.set(at("2026-03-02T09:30"))
    before = len(bus_of(world).ticks())
    await asleep.tick()
    assert len(bus_of(world).ticks()) == before
    assert {tick.outcome for tick in bus_of(world).ticks()} == {"fired"}


@pytest.mark.parametrize("lost_at", ["runlane.request", "runlane.event"])
async def test_what_a_dead_scheduler_decided_is_carried_out_by_another(lost_at: str) -> None:
    world = await world_of(ORGS[0])
    dying, other = await world.open("dying"), await world.open("other")

    bus_of(world).before_publish = _refuse(lost_at)
    world.clock.set(at("2026-03-02T09:00"))
    await dying.tick()
    assert (len(bus_of(world).ticks()), bus_of(world).requests()) == (1, [])
    bus_of(world).before_publish = lambda message: None
    await other.tick()
    check_each_once(world, 1)


async def test_a_restarted_scheduler_carries_out_what_was_decided_before() -> None:
    world = await world_of(ORGS[0])
    await world.open()
    bus_of(world).before_publish = _refuse("runlane.request")
    await world.at("2026-03-02T09:00")
    bus_of(world).before_publish = lambda message: None
    await world.restart()
    await world.at("2026-03-02T09:00:20")
    check_each_once(world, 1)
    await world.restart()
    bus_of(world).forget_ids()
    await world.at("2026-03-02T09:00:40")
    assert [tick.outcome for tick in bus_of(world).ticks()] == ["fired"]


async def test_a_decision_found_too_late_for_its_policy_is_not_carried_out_but_explained() -> None:
    """The tick was recorded as fired; it used to have no execution at all, and a scheduler that stood still started it
    after all."""
    world = await world_of(ORGS[0], misfire_policy="skip")
    await world.open()
    bus_of(world).before_publish = _refuse("runlane.event")
    await world.at("2026-03-02T09:00")
    bus_of(world).before_publish = lambda message: None
    await world.restart()
    await world.at("2026-03-02T09:45")
    assert bus_of(world).requests() == []
    [tick] = bus_of(world).ticks()
    told = [decode_event(it.payload) for it in bus_of(world).published if f".{tick.execution_id}." in it.subject]
    assert [type(event) for event in told] == [Queued, Cancelled]
    assert "too late" in str(cast(Cancelled, told[1]).data.reason)
    await world.at("2026-03-02T10:00")
    assert len(bus_of(world).requests()) == 1


async def test_while_the_broker_is_away_a_tick_stays_due() -> None:
    world = await world_of(*ORGS)
    scheduler = await world.open()
    bus_of(world).connected = False
    await world.at("2026-03-02T09:00")
    assert scheduler.problems() == {"bus": "not connected to NATS"}
    bus_of(world).connected = True
    await world.at("2026-03-02T09:00:03")
    assert scheduler.problems() == {}
    check_each_once(world, len(ORGS))


async def test_a_broker_that_goes_away_in_the_middle_of_a_round_leaves_the_rest_due() -> None:
    many = [Org(id=f"org{n}", name=f"Org {n}") for n in range(600)]
    world = await world_of(*many)
    await world.open()
    published = 0

    def leave(message: Message) -> None:
        nonlocal published
        published += 1
        bus_of(world).connected = published < 700

    bus_of(world).before_publish = leave
    await world.at("2026-03-02T09:00")
    assert 0 < len(bus_of(world).requests()) < len(many)
    bus_of(world).before_publish = lambda message: None
    bus_of(world).connected = True
    await world.at("2026-03-02T09:00:03")
    check_each_once(world, len(many))


async def test_a_full_queue_delays_what_was_decided_and_loses_nothing() -> None:
    world = await world_of(*ORGS, misfire_policy="skip")
    scheduler = await world.open()

    def full(message: Message) -> None:
        if message.subject.startswith("runlane.request"):
            raise StorageFull

    bus_of(world).before_publish = full
    await world.at("2026-03-02T09:00")
    await world.at("2026-03-02T09:00:01")
    assert bus_of(world).requests() == []
    bus_of(world).before_publish = lambda message: None
    world.clock.set(at("2026-03-02T09:02"))
    assert "schedules" in scheduler.problems()
    await world.at("2026-03-02T09:02")
    check_each_once(world, len(ORGS))
    assert scheduler.problems() == {}


async def test_one_schedule_that_fails_does_not_stop_the_others() -> None:
    world = await world_of(*ORGS)
    await world.open()

    def trip(message: Message) -> None:
        if message.subject == subjects.tick("org0", "audit"):
            raise RuntimeError("unforeseen")

    bus_of(world).before_publish = trip
    await world.at("2026-03-02T09:00")
    assert len(bus_of(world).requests()) == len(ORGS) - 1
    bus_of(world).before_publish = lambda message: None
    await world.at("2026-03-02T09:01:05")
    check_each_once(world, len(ORGS))


async def test_an_unreadable_record_is_stepped_over() -> None:
    world = await world_of(ORGS[0])
    await world.open()
    await bus_of(world).publish(Message(subject=subjects.tick("org0", "audit"), payload=b"\x00", id="garbage"))
    await world.at("2026-03-02T09:00")
    assert len(bus_of(world).requests()) == 1


async def test_run_ticks_by_itself_until_it_is_drained() -> None:
    world = await world_of(*ORGS)
    scheduler = await world.open()
    world.clock.set(at("2026-03-02T09:00"))
    running = asyncio.create_task(scheduler.run())
    await eventually(lambda: len(bus_of(world).requests()) == len(ORGS))
    await scheduler.drain()
    await running
    world.clock.set(at("2026-03-02T10:00"))
    await scheduler.tick()
    assert len(bus_of(world).requests()) == len(ORGS)


def _refuse(prefix: str) -> Callable[[Message], None]:
    def before_publish(message: Message) -> None:
        if message.subject.startswith(prefix):
            raise BusUnavailable

    return before_publish
