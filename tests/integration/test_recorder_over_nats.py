"""The recorder as its process runs it: a real nats-server, a real SQLite file, ended and started again."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.connection import open_bus
from runlane.adapters.sql.store import open_record_store
from runlane.clock import SystemClock
from runlane.contracts import subjects
from runlane.contracts.records import ExecutionQuery
from runlane.ports import Delivery, Message, Stored
from runlane.service import Room, end_task
from runlane.settings import Settings
from runlane_recorder.app import open_room
from runlane_recorder.recorder import Recorder
from tests.support.eventually import eventually
from tests.support.memory_bus import Story, stored, ticked


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Room]:
    async with open_room(settings) as room:
        work = asyncio.create_task(room.run())
        try:
            yield room
        finally:
            work.cancel()
            await asyncio.wait({work})


async def publish(bus: NatsBus, messages: list[Stored]) -> None:
    for message in messages:
        await bus.publish(Message(subject=message.subject, payload=message.payload, id=f"test:{message.sequence}"))


def many(count: int, first: int = 1) -> list[Stored]:
    return stored([Story(f"e{number}").queued() for number in range(first, first + count)], first)


async def unrecorded(bus: NatsBus) -> int:
    lag = await bus.lag(subjects.EVENTS, subjects.RECORDER)
    return lag.pending + lag.unacknowledged


async def test_events_on_the_stream_become_records(bus: NatsBus, settings: Settings) -> None:
    story = Story()
    events = [story.queued(), story.started(), story.traced(story.log("hello")), story.succeeded(), ticked(1)]
    async with running(settings) as room:
        await publish(bus, [*stored(events), Stored(subjects.tick("acme", "x"), 77, b"spoiled", story.at)])
        await eventually(lambda: _is_zero(bus))
        assert room.problems() == {}
        await room.drain()
    async with open_record_store(settings.record_store_url) as store:
        record = await store.get("acme", "e1")
        assert record is not None
        assert (record.status, len(record.trace)) == ("Success", 1)
        assert len((await store.find(ExecutionQuery(orgs=["acme"]))).items) == 1


async def test_a_recorder_that_is_ended_in_the_middle_leaves_nothing_out(bus: NatsBus, settings: Settings) -> None:
    stories = [Story(f"e{n}") for n in range(300)]
    begun = [event for story in stories for event in (story.queued(), story.started())]
    async with running(settings):
        await publish(bus, stored(begun))
    # Cancelled without draining, as kill -9 would. The next one does not wait for its leases to end.
    ended = [story.succeeded() for story in stories]
    await publish(bus, stored(ended, 10_000))
    async with running(settings), open_record_store(settings.record_store_url) as store:

        async def all_are_whole() -> bool:
            found = [await store.get("acme", story.execution) for story in stories]
            return all(it is not None and it.status == "Success" and it.queued_at and it.executor for it in found)

        await eventually(all_are_whole)


async def test_what_an_earlier_recorder_holds_is_recorded_before_its_leases_end(
    bus: NatsBus, settings: Settings, tmp_path: Path
) -> None:
    story = Story()
    await publish(bus, stored([story.queued(), story.started()]))
    held: list[Delivery] = []
    holding = await bus.consume(subjects.EVENTS, subjects.RECORDER, held.append, lambda: 100)
    await eventually(lambda: len(held) == 2)
    await holding.stop()
    url = f"sqlite+aiosqlite:///{tmp_path / 'own.db'}"
    async with open_record_store(url, migrate=True) as store:
        recorder = Recorder(bus, store, SystemClock(), retention_days=36_500)
        work = asyncio.create_task(recorder.run())

        async def begun() -> bool:
            record = await store.get("acme", "e1")
            return record is not None and record.status == "Running"

        await eventually(begun)
        assert (await bus.lag(subjects.EVENTS, subjects.RECORDER)).unacknowledged == 2
        work.cancel()
        await asyncio.wait({work})


async def _is_zero(bus: NatsBus) -> bool:
    return await unrecorded(bus) == 0


async def test_of_two_recorders_one_records_and_the_other_goes_on_where_it_ended(
    bus: NatsBus, settings: Settings
) -> None:
    async with open_room(settings) as first, open_room(settings) as second:
        assert isinstance(first, Recorder)
        assert isinstance(second, Recorder)
        running = {room: asyncio.create_task(room.run()) for room in (first, second)}
        await eventually(lambda: _both_ask(bus))
        await publish(bus, many(50))
        await eventually(lambda: _is_zero(bus))
        growth = (first.recorded, second.recorded)
        assert sorted(growth) == [0, 50]
        busy, idle = (first, second) if growth[0] else (second, first)
        await busy.drain()
        await publish(bus, many(50, first=51))
        await eventually(lambda: _is_zero(bus))
        assert idle.recorded == 50, "what was acknowledged is not recorded again"
        for room, work in running.items():
            await room.drain()
            await end_task(work)


async def test_when_the_recorder_that_gets_the_events_falls_silent_another_gets_them(
    bus: NatsBus, settings: Settings
) -> None:
    async with open_bus(settings, "other", shape=False) as other:
        got: dict[NatsBus, list[Delivery]] = {bus: [], other: []}
        for reader, there in got.items():
            # With five it has no room left and asks for nothing more, like one that was lost with its machine.
            await reader.consume(subjects.EVENTS, subjects.RECORDER, there.append, lambda it=there: 5 - len(it))
        await eventually(lambda: _both_ask(bus))
        await publish(bus, many(5))
        await eventually(lambda: 5 in map(len, got.values()))
        assert sorted(map(len, got.values())) == [0, 5], "one gets everything"
        await publish(bus, many(5, first=6))
        await eventually(lambda: list(map(len, got.values())) == [5, 5])


async def test_who_was_silent_for_a_while_takes_the_events_from_nobody(bus: NatsBus, settings: Settings) -> None:
    """He used to: and the other took them back, each second, and both recorded what the other had."""
    async with open_bus(settings, "other", shape=False) as other:
        got: dict[NatsBus, list[Delivery]] = {bus: [], other: []}
        room = {bus: 5, other: 5}
        readers = {
            reader: await reader.consume(
                subjects.EVENTS, subjects.RECORDER, there.append, lambda it=reader: room[it] - len(got[it])
            )
            for reader, there in got.items()
        }
        await eventually(lambda: _both_ask(bus))
        await publish(bus, many(6))
        await eventually(lambda: sorted(map(len, got.values())) == [1, 5])
        was, now = sorted(got, key=lambda it: -len(got[it]))
        room[was] = room[now] = 1000
        for reader in readers.values():
            reader.pull()
        await eventually(lambda: _both_ask(bus))
        for first in range(7, 87, 10):
            await publish(bus, many(10, first=first))
            await eventually(lambda upto=first + 9: sum(map(len, got.values())) == upto)
            await eventually(lambda: _both_ask(bus))
        assert (len(got[was]), len(got[now])) == (5, 81)


async def _both_ask(bus: NatsBus) -> bool:
    info = await bus.api(f"CONSUMER.INFO.{subjects.EVENTS}.{subjects.RECORDER}", None)
    return bool(info["num_waiting"] == 2)
