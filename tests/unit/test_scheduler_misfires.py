"""What becomes of ticks that come late: after an outage, a pause, or a jump of the clock."""

import pytest

from runlane.contracts.directory import Org
from runlane.contracts.events import TickData
from runlane_scheduler.timetable import MAX_RECORDED
from runlane_scheduler.verdicts import MAX_CAUGHT_UP
from tests.support.scheduler_bus import SchedulerBus
from tests.support.scheduling import World, at, manifest

ACME = Org(id="acme", name="Acme")


def ticks(world: World) -> list[TickData]:
    assert isinstance(world.bus, SchedulerBus)
    return world.bus.ticks()


def outcomes(world: World) -> list[str]:
    return [f"{tick.scheduled_for:%H:%M} {tick.outcome}" for tick in ticks(world)]


async def after_an_outage(until: str, **more: object) -> World:
    """Hourly unless told otherwise; the 09:00 tick fired, then no scheduler ran until `until`."""
    world = World.starting("2026-03-02T08:59:30")
    world.put(ACME, manifest(**{"schedule": "0 * * * *", **more}))
    await world.open()
    await world.at("2026-03-02T09:00")
    world.clock.set(at(until))
    await world.restart()
    await world.at(until)
    return world


@pytest.mark.parametrize(("seconds", "outcome"), [("00", "fired"), ("04", "fired"), ("05", "late"), ("59", "late")])
@pytest.mark.parametrize("policy", ["skip", "once", "all"])
async def test_a_tick_up_to_a_minute_late_fires_whatever_the_policy(seconds: str, outcome: str, policy: str) -> None:
    world = await after_an_outage(f"2026-03-02T10:00:{seconds}", misfire_policy=policy)
    assert outcomes(world)[1:] == [f"10:00 {outcome}"]
    assert ticks(world)[1].execution_id is not None


async def test_skip_records_every_misfire_as_missed() -> None:
    world = await after_an_outage("2026-03-02T12:30", misfire_policy="skip")
    assert outcomes(world)[1:] == ["10:00 missed", "11:00 missed", "12:00 missed"]
    assert ticks(world)[3].reason == "1800 s late; misfire_policy is skip"
    assert ticks(world)[3].execution_id is None


async def test_once_catches_up_the_newest_misfire() -> None:
    world = await after_an_outage("2026-03-02T12:30", misfire_policy="once")
    assert outcomes(world)[1:] == ["10:00 missed", "11:00 missed", "12:00 caught_up"]
    assert isinstance(world.bus, SchedulerBus)
    assert len(world.bus.requests()) == 2


async def test_once_leaves_what_is_older_than_its_window() -> None:
    world = await after_an_outage("2026-03-02T12:30", misfire_policy="once", misfire_window_seconds=900)
    assert outcomes(world)[1:] == ["10:00 missed", "11:00 missed", "12:00 missed"]
    assert ticks(world)[3].reason == "1800 s late; misfire_policy is once within 900 s"


async def test_all_catches_up_what_lies_within_its_window() -> None:
    world = await after_an_outage("2026-03-02T12:30", misfire_policy="all", misfire_window_seconds=2 * 3600)
    assert outcomes(world)[1:] == ["10:00 missed", "11:00 caught_up", "12:00 caught_up"]


async def test_all_is_bounded() -> None:
    world = await after_an_outage("2026-03-02T12:30", misfire_policy="all", schedule="* * * * *")
    caught_up = [tick for tick in ticks(world) if tick.outcome == "caught_up"]
    missed = [tick for tick in ticks(world) if tick.outcome == "missed"]
    assert len(caught_up) == MAX_CAUGHT_UP
    assert missed
    assert max(tick.scheduled_for for tick in missed) < min(tick.scheduled_for for tick in caught_up)
    assert outcomes(world)[-1] == "12:30 fired"


async def test_an_endless_outage_leaves_a_bounded_number_of_records_and_says_so() -> None:
    world = await after_an_outage("2026-03-09T12:30:30", misfire_policy="skip", schedule="* * * * *")
    recorded = ticks(world)[1:]
    assert len(recorded) == MAX_RECORDED
    assert recorded[-1].scheduled_for == at("2026-03-09T12:30")
    assert recorded[0].reason is not None
    assert "too many to record" in recorded[0].reason
    await world.at("2026-03-09T12:31")
    assert len(ticks(world)) == 1 + MAX_RECORDED + 1


async def test_a_scheduler_that_stood_still_treats_what_it_missed_alike() -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest(schedule="0 * * * *"))
    await world.open()
    await world.at("2026-03-02T09:00")
    await world.at("2026-03-02T12:30")
    assert outcomes(world) == ["09:00 fired", "10:00 missed", "11:00 missed", "12:00 caught_up"]


async def test_a_clock_that_jumps_back_fires_nothing_twice() -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest(schedule="*/30 * * * *"))
    await world.open()
    for now in ("09:00", "09:30", "10:00", "09:00", "09:30", "10:00", "10:30"):
        await world.at(f"2026-03-02T{now}")
    assert outcomes(world) == ["09:00 fired", "09:30 fired", "10:00 fired", "10:30 fired"]


async def test_a_restart_after_a_jump_back_fires_nothing_twice() -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest(schedule="*/30 * * * *"))
    await world.open()
    await world.at("2026-03-02T10:00")
    world.clock.set(at("2026-03-02T09:00"))
    await world.restart()
    for now in ("09:00", "09:30", "10:00"):
        await world.at(f"2026-03-02T{now}")
    assert outcomes(world)[-1] == "10:00 fired"
    assert len({tick.scheduled_for for tick in ticks(world)}) == len(ticks(world))


async def test_a_clock_that_jumps_an_hour_ahead_catches_up() -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest(schedule="*/30 * * * *"))
    await world.open()
    await world.at("2026-03-02T09:00")
    await world.at("2026-03-02T10:15")
    assert outcomes(world) == ["09:00 fired", "09:30 missed", "10:00 caught_up"]


async def test_a_record_that_aged_out_of_the_stream_stops_nothing() -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest())
    await world.open()
    await world.at("2026-03-02T09:00")
    assert isinstance(world.bus, SchedulerBus)
    world.bus.forget("runlane.>")
    await world.at("2026-03-03T09:00")
    assert outcomes(world) == ["09:00 fired"]
    assert ticks(world)[0].scheduled_for == at("2026-03-03T09:00")
