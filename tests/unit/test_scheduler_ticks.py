"""Which ticks come, for whom, and in whose time."""

from datetime import timedelta

import pytest

from runlane.contracts import subjects
from runlane.contracts.directory import PLATFORM, Org, ScheduleSetting
from runlane.contracts.events import Queued, decode_event
from runlane.contracts.requests import decode_request
from runlane.directory import org_key, schedule_key, workflow_key
from runlane.ids import repeatable_execution_id
from tests.support.scheduler_bus import SchedulerBus
from tests.support.scheduling import World, at, manifest

ACME = Org(id="acme", name="Acme")
GLOBEX = Org(id="globex", name="Globex")


def bus_of(world: World) -> SchedulerBus:
    assert isinstance(world.bus, SchedulerBus)
    return world.bus


def fired(world: World, org: str = "*") -> list[str]:
    ticks = bus_of(world).ticks(org)
    return [f"{tick.scheduled_for:%m-%dT%H:%M}" for tick in ticks if tick.execution_id]


async def test_a_tick_leaves_a_record_a_queued_event_and_a_request() -> None:
    world = World.starting("2026-03-02T08:00")
    world.put(ACME, manifest(tags=["m365"]))
    await world.open()
    await world.at("2026-03-02T08:59:59")
    assert bus_of(world).published == []
    await world.at("2026-03-02T09:00:01")

    execution = repeatable_execution_id("tick", "audit", "acme", "2026-03-02T09:00:00Z")
    record, queued, request = bus_of(world).published
    tick = bus_of(world).ticks()[0]
    assert record.subject == subjects.tick("acme", "audit")
    assert (tick.scheduled_for, tick.outcome, tick.execution_id) == (at("2026-03-02T09:00"), "fired", execution)
    assert (tick.schedule, tick.time_zone) == ("0 9 * * *", "UTC")

    event = decode_event(queued.payload)
    assert isinstance(event, Queued)
    assert queued.subject == subjects.event("acme", "audit", execution, "queued")
    assert (queued.id, queued.expect_last) == (f"{execution}:queued", 0)
    assert (event.data.trigger.kind, event.data.trigger.reference) == ("schedule", "2026-03-02T09:00:00Z")
    assert (bytes(event.data.input), event.data.tags, event.data.caller.id) == (b"{}", ["m365"], "scheduler")

    asked = decode_request(request.payload)
    assert request.subject == subjects.request(subjects.FIRST_LANE, "acme", "audit")
    assert (request.id, asked.execution_id, asked.attempt, asked.last_state) == (execution, execution, 1, 0)
    assert asked.sealed_parameters is None


async def test_a_tick_comes_once_however_many_rounds_follow() -> None:
    world = World.starting("2026-03-02T08:00")
    world.put(ACME, manifest())
    await world.open()
    for now in ("2026-03-02T09:00", "2026-03-02T09:00:01", "2026-03-02T09:30"):
        await world.at(now)
    assert fired(world) == ["03-02T09:00"]
    await world.at("2026-03-03T09:00")
    assert fired(world) == ["03-02T09:00", "03-03T09:00"]


async def test_every_organisation_has_its_own_tick_but_one_that_switched_it_off() -> None:
    world = World.starting("2026-03-02T08:00")
    off = Org(id="initech", name="Initech", disabled_workflows=["audit"])
    world.put(ACME, GLOBEX, off, Org(id="paused", name="Paused"), manifest(), manifest("other", None))
    world.put(ScheduleSetting(org="paused", workflow="audit", enabled=False))
    await world.open()
    await world.at("2026-03-02T09:00")
    assert {request.org for request in bus_of(world).requests()} == {"acme", "globex"}
    assert {request.workflow for request in bus_of(world).requests()} == {"audit"}


async def test_a_workflow_that_needs_no_organisation_runs_once_for_the_platform() -> None:
    world = World.starting("2026-03-02T08:00")
    world.put(ACME, GLOBEX, manifest("sweep", requires_org=False))
    await world.open()
    await world.at("2026-03-02T09:00")
    assert [request.org for request in bus_of(world).requests()] == [PLATFORM]


async def test_an_organisation_may_have_its_own_expression_and_zone() -> None:
    world = World.starting("2026-03-02T00:00")
    world.put(ACME, manifest())
    world.put(ScheduleSetting(org="acme", workflow="audit", schedule="30 7 * * *", time_zone="Asia/Tokyo"))
    await world.open()
    await world.at("2026-03-02T22:30")
    tick = bus_of(world).ticks("acme")[0]
    assert tick.scheduled_for == at("2026-03-02T22:30")
    assert (tick.schedule, tick.time_zone) == ("30 7 * * *", "Asia/Tokyo")


async def test_zone_org_means_nine_oclock_where_each_client_is() -> None:
    world = World.starting("2026-07-01T00:00")
    world.put(Org(id="nl", name="NL", time_zone="Europe/Amsterdam"), Org(id="us", name="US"))
    world.put(Org(id="us", name="US", time_zone="America/New_York"), manifest(schedule_time_zone="org"))
    await world.open()
    for hour in range(24):
        await world.at(f"2026-07-01T{hour:02}:00")
    assert fired(world, "nl") == ["07-01T07:00"]
    assert fired(world, "us") == ["07-01T13:00"]
    assert bus_of(world).ticks("nl")[0].time_zone == "Europe/Amsterdam"


@pytest.mark.parametrize(
    ("zone", "expression", "first_day", "ticks"),
    [
        # 29 March 2026: Amsterdam goes from 02:00 to 03:00; 25 October: from 03:00 back to 02:00.
        ("Europe/Amsterdam", "30 2 * * *", "2026-03-28", ["03-28T01:30", "03-29T01:00", "03-30T00:30"]),
        ("Europe/Amsterdam", "30 2 * * *", "2026-10-24", ["10-24T00:30", "10-25T00:30", "10-26T01:30"]),
        # 8 March 2026: New York goes from 02:00 to 03:00; 1 November: from 02:00 back to 01:00.
        ("America/New_York", "30 2 * * *", "2026-03-07", ["03-07T07:30", "03-08T07:00", "03-09T06:30"]),
        ("America/New_York", "30 1 * * *", "2026-10-31", ["10-31T05:30", "11-01T05:30", "11-02T06:30"]),
    ],
)
async def test_a_daily_job_comes_once_on_the_days_the_clocks_change(
    zone: str, expression: str, first_day: str, ticks: list[str]
) -> None:
    world = World.starting(f"{first_day}T00:00")
    world.put(ACME, manifest(schedule=expression, schedule_time_zone=zone))
    await world.open()
    start = at(f"{first_day}T00:00")
    for quarter in range(3 * 24 * 4):
        world.clock.set(start + quarter * timedelta(minutes=15))
        await world.schedulers[0].tick()
    assert fired(world) == ticks


async def test_an_hourly_job_comes_every_hour_on_the_days_the_clocks_change() -> None:
    world = World.starting("2026-10-25T00:00")
    world.put(ACME, manifest(schedule="0 * * * *", schedule_time_zone="Europe/Amsterdam"))
    await world.open()
    for hour in range(1, 6):
        await world.at(f"2026-10-25T{hour:02}:00")
    assert fired(world) == [f"10-25T{hour:02}:00" for hour in range(1, 6)]


async def test_a_new_schedule_does_not_fire_what_lies_before_it() -> None:
    world = World.starting("2026-03-02T12:00")
    world.put(ACME, manifest(schedule="0 * * * *"))
    await world.open()
    await world.at("2026-03-02T12:30")
    world.put(GLOBEX, manifest("second", "15 * * * *"))
    await world.at("2026-03-02T12:31")
    assert bus_of(world).ticks() == []
    await world.at("2026-03-02T13:00")
    assert {request.org for request in bus_of(world).requests()} == {"acme", "globex"}
    await world.at("2026-03-02T13:15")
    assert [tick.scheduled_for for tick in bus_of(world).ticks("acme", "second")] == [at("2026-03-02T13:15")]


async def test_a_change_that_is_noticed_after_its_first_tick_still_gets_that_tick() -> None:
    world = World.starting("2026-03-02T12:00")
    world.put(ACME)
    await world.open()
    world.clock.set(at("2026-03-02T12:59:59"))
    world.put(manifest(schedule="0 * * * *"))
    await world.at("2026-03-02T13:00:00")
    assert fired(world) == ["03-02T13:00"]


async def test_a_changed_expression_holds_from_the_change_on() -> None:
    world = World.starting("2026-03-02T08:00")
    world.put(ACME, manifest())
    await world.open()
    await world.at("2026-03-02T09:00")
    await world.at("2026-03-02T15:00")
    world.put(manifest(schedule="*/20 * * * *"))
    await world.at("2026-03-02T15:01")
    await world.at("2026-03-02T15:20")
    await world.at("2026-03-02T15:40")
    assert fired(world) == ["03-02T09:00", "03-02T15:20", "03-02T15:40"]
    await world.at("2026-03-03T00:00")
    assert "03-03T09:00" not in fired(world)


async def test_an_expression_that_changed_while_no_scheduler_ran_holds_from_its_discovery_on() -> None:
    world = World.starting("2026-03-02T08:00")
    world.put(ACME, manifest())
    await world.open()
    await world.at("2026-03-02T09:00")
    world.put(manifest(schedule="*/20 * * * *"))
    world.clock.set(at("2026-03-02T15:01"))
    await world.restart()
    await world.at("2026-03-02T15:01")
    assert fired(world) == ["03-02T09:00"]
    await world.at("2026-03-02T15:20")
    assert fired(world) == ["03-02T09:00", "03-02T15:20"]


async def test_what_passed_while_it_was_paused_is_not_made_up_for() -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest(schedule="0 * * * *"))
    await world.open()
    await world.at("2026-03-02T09:00")
    world.put(ScheduleSetting(org="acme", workflow="audit", enabled=False, changed_at=at("2026-03-02T09:10")))
    await world.at("2026-03-02T12:10")
    world.put(ScheduleSetting(org="acme", workflow="audit", enabled=True, changed_at=at("2026-03-02T12:10")))
    await world.restart()  # it does not know that it was paused, only since when it is on
    await world.at("2026-03-02T12:11")
    await world.at("2026-03-02T13:00")
    assert fired(world) == ["03-02T09:00", "03-02T13:00"]


@pytest.mark.parametrize("gone", [workflow_key("audit"), org_key("acme"), None])
async def test_what_was_off_when_the_scheduler_started_begins_when_it_is_on_again(gone: str | None) -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest(schedule="0 * * * *"))
    await world.open()
    await world.at("2026-03-02T09:00")
    if gone is None:
        world.put(Org(id="acme", name="Acme", disabled_workflows=["audit"]))
    else:
        world.remove(gone)
    await world.restart()
    await world.at("2026-03-02T12:10")
    world.put(ACME, manifest(schedule="0 * * * *"))
    await world.at("2026-03-02T12:11")
    await world.at("2026-03-02T13:00")
    assert fired(world) == ["03-02T09:00", "03-02T13:00"]


@pytest.mark.parametrize("gone", [workflow_key("audit"), org_key("acme")])
async def test_what_is_gone_from_the_directory_ticks_no_more(gone: str) -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest())
    await world.open()
    world.remove(gone)
    await world.at("2026-03-02T09:00")
    assert bus_of(world).ticks() == []


async def test_a_withdrawn_setting_leaves_the_declared_schedule() -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, manifest(), ScheduleSetting(org="acme", workflow="audit", schedule="0 23 * * *"))
    await world.open()
    world.remove(schedule_key("acme", "audit"))
    await world.at("2026-03-02T08:31")
    await world.at("2026-03-02T09:00")
    assert fired(world) == ["03-02T09:00"]


@pytest.mark.parametrize("change", [{"schedule": "61 * * * *"}, {"time_zone": "Mars/Olympus"}])
async def test_an_unusable_setting_stops_that_organisation_only(change: dict[str, str]) -> None:
    world = World.starting("2026-03-02T08:30")
    world.put(ACME, GLOBEX, manifest(), ScheduleSetting(org="acme", workflow="audit", **change))
    await world.open()
    await world.at("2026-03-02T09:00")
    assert fired(world, "acme") == []
    assert fired(world, "globex") == ["03-02T09:00"]


async def test_jitter_delays_the_request_the_same_way_in_every_scheduler() -> None:
    delays = set()
    for name in ("one", "two"):
        world = World.starting("2026-03-02T08:30")
        world.put(ACME, manifest(jitter_seconds=600))
        await world.open(name)
        await world.at("2026-03-02T09:00")
        request = bus_of(world).published[-1]
        assert request.deliver_at is not None
        assert request.deliver_to == subjects.due(subjects.FIRST_LANE, "acme", "audit")
        assert request.subject == subjects.delayed(request.id)
        queued = decode_event(bus_of(world).published[-2].payload)
        assert isinstance(queued, Queued)
        assert queued.data.run_at == request.deliver_at
        delays.add((request.deliver_at - at("2026-03-02T09:00")).total_seconds())
    assert len(delays) == 1
    assert 0 < delays.pop() < 600
