"""Schedulers over a real nats-server: the broker referees their ticks."""

import asyncio
from collections import Counter
from pathlib import Path

from msgspec.structs import replace

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts import subjects
from runlane.contracts.directory import Org
from runlane.contracts.encoding import encode
from runlane.contracts.events import Ticked, decode_event
from runlane.contracts.requests import decode_request
from runlane.directory import org_key, workflow_key
from runlane.ports import Bus, Delivery, Stored
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from runlane_scheduler.app import open_room
from runlane_scheduler.scheduler import Scheduler
from runlane_scheduler.ticker import Ticker
from tests.support.eventually import eventually
from tests.support.nats import NatsServer
from tests.support.scheduling import World, at, manifest

ORGS = [Org(id=f"org{n}", name=f"Org {n}") for n in range(300)]


async def tick_records(bus: Bus) -> list[Ticked]:
    stored: list[Stored] = []
    while page := await bus.read(subjects.EVENTS, "runlane.tick.>", after=stored[-1].sequence if stored else 0):
        stored += page
    events = [decode_event(one.payload) for one in stored]
    return [event for event in events if isinstance(event, Ticked)]


async def requests(bus: Bus, stream: str, count: int) -> list[Delivery]:
    """Everything on a work queue, once `count` have come."""
    got: list[Delivery] = []
    consumption = await bus.consume(stream, subjects.executors("0"), got.append, lambda: 10_000)
    await eventually(lambda: len(got) >= count)
    await consumption.stop()
    lag = await bus.lag(stream, subjects.executors("0"))
    assert lag.pending == 0
    return got


def check_each_once(records: list[Ticked], got: list[Delivery], ticks: int) -> None:
    assert set(Counter((event.organization, event.data.scheduled_for) for event in records).values()) == {1}
    assert set(Counter(decode_request(delivery.payload).execution_id for delivery in got).values()) == {1}
    assert len(records) == len(got) == ticks


async def test_two_schedulers_on_two_connections_produce_each_tick_once(bus: NatsBus, settings: Settings) -> None:
    world = World.starting("2026-03-02T08:30", bus)
    world.put(*ORGS, manifest(schedule="0 * * * *"))
    async with open_bus(settings, "other") as other:
        racing = [
            await Scheduler.open(bus, world.directory, world.clock, "one"),
            await Scheduler.open(other, world.directory, world.clock, "two"),
        ]
        for hour in (9, 10):
            world.clock.set(at(f"2026-03-02T{hour:02}:00"))
            await asyncio.gather(*(scheduler.tick() for scheduler in racing))
        third = await Scheduler.open(other, world.directory, world.clock, "three")
        await third.tick()
    check_each_once(await tick_records(bus), await requests(bus, subjects.REQUESTS, 2 * len(ORGS)), 2 * len(ORGS))


async def test_history_is_read_back_from_the_stream(bus: NatsBus) -> None:
    world = World.starting("2026-03-02T08:30", bus)
    world.put(*ORGS[:3], manifest(schedule="0 * * * *"))
    await world.open()
    await world.at("2026-03-02T09:00")
    await world.at("2026-03-02T10:00")
    tallies = await Ticker(bus, world.clock, "reader").history()
    assert {tally.org for tally in tallies} == {"org0", "org1", "org2"}
    assert {tally.record and tally.record.scheduled_for for tally in tallies} == {at("2026-03-02T10:00")}


async def test_a_tick_with_jitter_arrives_where_executors_take_what_became_due(bus: NatsBus) -> None:
    world = World.starting("2020-03-02T08:30", bus)  # long ago, so the broker has nothing to wait for
    world.put(ORGS[0], manifest(jitter_seconds=600))
    await world.open()
    await world.at("2020-03-02T09:00")
    (delivery,) = await requests(bus, subjects.DELAYED, 1)
    assert delivery.subject == subjects.due(subjects.FIRST_LANE, "org0", "audit")
    assert decode_request(delivery.payload).trigger.kind == "schedule"


async def test_a_broker_that_dies_in_the_middle_of_a_round_costs_no_tick(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "own")
    server.start()
    try:
        async with open_bus(Settings(nats_url=server.url, data_dir=tmp_path), "scheduler") as bus:
            world = World.starting("2026-03-02T08:30", bus)
            world.put(*ORGS, manifest(schedule="0 * * * *"))
            scheduler = await world.open()
            world.clock.set(at("2026-03-02T09:00"))
            sent = bus.connection.client.stats["out_msgs"]
            ticking = asyncio.create_task(scheduler.tick())
            await eventually(lambda: bus.connection.client.stats["out_msgs"] > sent + 300, every=0.001)
            server.kill()
            server.start()
            await ticking

            async def settled() -> bool:
                await scheduler.tick()
                return not scheduler.problems() and len(await tick_records(bus)) == len(ORGS)

            world.clock.set(at("2026-03-02T09:00:30"))
            await eventually(settled, within=30)
            await scheduler.tick()
            check_each_once(await tick_records(bus), await requests(bus, subjects.REQUESTS, len(ORGS)), len(ORGS))
    finally:
        server.stop()


async def test_the_room_opens_on_what_the_directory_holds(bus: NatsBus, settings: Settings) -> None:
    store = NatsDirectoryStore(bus)
    await store.put(org_key("acme"), encode(Org(id="acme", name="Acme")))
    await store.put(workflow_key("audit"), encode(manifest(schedule="* * * * *")))
    async with open_room(replace(settings, master_key=generate_master_key())) as room:
        assert room.problems() == {}
        running = asyncio.create_task(room.run())
        await room.drain()
        await running
