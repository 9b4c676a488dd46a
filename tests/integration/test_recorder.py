"""The recorder's habits: batches, acknowledgements after the commit, patience, leases, draining, tidying."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from runlane.adapters.memory_store import MemoryRecordStore
from runlane.clock import ManualClock
from runlane.contracts import subjects
from runlane.contracts.records import ExecutionQuery
from runlane.errors import BusUnavailable, StoreUnavailable
from runlane.ports import ConsumerLag, Stored
from runlane.service import end_task
from runlane_recorder.recorder import Pace, Recorder
from tests.support.eventually import eventually
from tests.support.memory_bus import START, MemoryBus, Story, stored, ticked

BRISK = Pace(linger=0.001, renew=0.005, retry=0.001, retry_at_most=0.002, measure=0.005, tidy=0.005)


class TroubledStore(MemoryRecordStore):
    """A store that can be away, and remembers what it was asked to apply."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.refusals = 0
        self.batches: list[list[int]] = []

    async def apply(self, events: Sequence[Stored]) -> None:
        if self.away:
            self.refusals += 1
            raise StoreUnavailable("gone fishing")
        await super().apply(events)
        self.batches.append([event.sequence for event in events])


@asynccontextmanager
async def recording(bus: MemoryBus, store: MemoryRecordStore, pace: Pace = BRISK) -> AsyncIterator[Recorder]:
    """A running recorder, ended as its process ends it."""
    recorder = Recorder(bus, store, ManualClock(START), retention_days=90, pace=pace)
    running = asyncio.create_task(recorder.run())
    try:
        yield recorder
    finally:
        await end_task(running)
    if not running.cancelled():
        running.result()


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


def many(count: int) -> list[Stored]:
    return stored([Story(f"e{n}").queued() for n in range(count)])


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def store() -> TroubledStore:
    return TroubledStore()


async def test_what_is_on_the_stream_gets_into_the_store_and_is_acknowledged(
    bus: MemoryBus, store: TroubledStore
) -> None:
    story = Story()
    async with recording(bus, store):
        bus.store(*stored([story.queued(), story.started(), ticked(1)]))
        await eventually(lambda: sorted(bus.acknowledged) == [1, 2, 3])
        bus.store(*stored([story.succeeded()], 4))
        await eventually(lambda: 4 in bus.acknowledged)
    record = await store.get("acme", "e1")
    assert record is not None
    assert record.status == "Success"


async def test_what_waits_is_taken_in_full_batches(bus: MemoryBus, store: TroubledStore) -> None:
    bus.store(*many(1200))
    async with recording(bus, store):
        await eventually(lambda: len(bus.acknowledged) == 1200)
    assert [len(batch) for batch in store.batches] == [500, 500, 200]


async def test_nothing_is_acknowledged_before_it_is_stored_and_no_more_taken_than_fits(
    bus: MemoryBus, store: TroubledStore
) -> None:
    store.away = True
    bus.store(*many(3000))
    async with recording(bus, store) as recorder:
        await eventually(lambda: store.refusals > 5)
        assert bus.acknowledged == []
        bus.store(*stored([Story("one-more").queued()], 3001))
        assert len(bus.deliveries) == 1500
        assert recorder.problems() == {"record store": "gone fishing"}
        store.away = False
        await eventually(lambda: len(bus.acknowledged) == 3001)
        assert recorder.problems() == {}


async def test_leases_are_renewed_as_long_as_the_store_is_away(bus: MemoryBus, store: TroubledStore) -> None:
    store.away = True
    bus.store(*many(600))
    async with recording(bus, store):
        await eventually(lambda: bus.deliveries and all(delivery.renewals > 1 for delivery in bus.deliveries))
        store.away = False
        await eventually(lambda: len(bus.acknowledged) == 600)


@pytest.mark.parametrize(
    "payload",
    [
        b"not json",
        b"{}",
        b'{"type":"dev.runlane.execution.unheard"}',
        # It decodes, but no record can be made of a time without a zone.
        b'{"type":"dev.runlane.execution.queued","id":"x","source":"s","subject":"bad","time":"2026-11-23T09:00:00",'
        b'"organization":"acme","workflow":"hello","data":{"trigger":{},"caller":{"id":"k"},"input":{},'
        b'"run_at":"2026-11-23T09:00:00Z"}}',
    ],
)
async def test_an_event_that_cannot_be_recorded_holds_up_no_other(
    bus: MemoryBus, store: TroubledStore, payload: bytes
) -> None:
    before = counted("runlane_recorder_events_unrecordable_total")
    good = many(40)
    subject = subjects.event("acme", "hello", "bad", "queued")
    later = [msgspec.structs.replace(it, sequence=it.sequence + 1) for it in good[17:]]
    bus.store(*good[:17], Stored(subject, 18, payload, START), *later)
    with capture_logs() as logged:
        async with recording(bus, store):
            await eventually(lambda: len(bus.acknowledged) == 41)
    assert len((await store.find(ExecutionQuery(orgs=None, limit=100))).items) == 40
    assert counted("runlane_recorder_events_unrecordable_total") == before + 1
    [letter] = bus.buried
    assert letter.subject == "runlane.dead.acme.hello.bad"
    (line,) = [line for line in logged if line["log_level"] == "error"]
    assert (line["subject"], line["sequence"]) == (subject, 18)
    assert payload.decode() not in str(line)


async def test_draining_records_and_acknowledges_what_was_taken(bus: MemoryBus, store: TroubledStore) -> None:
    async with recording(bus, store, Pace(linger=3600)) as recorder:
        bus.store(*many(30))
        await eventually(lambda: len(bus.deliveries) == 30)
        assert bus.acknowledged == []
        await recorder.drain()
        assert len(bus.acknowledged) == 30
        assert bus.consumption is not None
        assert bus.consumption.stopped
        bus.store(*stored([Story("late").queued()], 100))
        assert len(bus.deliveries) == 30


async def test_draining_waits_for_a_store_that_is_away(bus: MemoryBus, store: TroubledStore) -> None:
    store.away = True
    bus.store(*many(1200))
    async with recording(bus, store) as recorder:
        await eventually(lambda: store.refusals > 0)
        draining = asyncio.create_task(recorder.drain())
        await eventually(lambda: store.refusals > 10)
        assert not draining.done()
        store.away = False
        await draining
        assert len(bus.acknowledged) == 1200


async def test_draining_an_idle_recorder_ends_at_once(bus: MemoryBus, store: TroubledStore) -> None:
    async with recording(bus, store, Pace(linger=3600)) as recorder:
        await eventually(lambda: bus.consumption is not None)
        await recorder.drain()


async def test_what_an_earlier_recorder_took_and_left_is_recorded_before_anything_else(store: TroubledStore) -> None:
    story = Story()
    bus = MemoryBus(leased=3)
    bus.store(*stored([story.queued(), story.started(), ticked(1), story.succeeded()]))
    async with recording(bus, store):
        await eventually(lambda: bus.acknowledged == [4])
    record = await store.get("acme", "e1")
    assert record is not None
    assert (record.status, record.executor, record.caller.id) == ("Success", "executor-1", "key1")
    assert store.batches[-1] == [4]
    assert {sequence for batch in store.batches[:-1] for sequence in batch} >= {1, 2, 3}


async def test_what_a_broken_connection_swallowed_is_recorded_before_what_comes_after_it(
    bus: MemoryBus, store: TroubledStore
) -> None:
    story = Story()
    async with recording(bus, store):
        bus.store(*stored([ticked(1)]))
        await eventually(lambda: bus.acknowledged == [1])
        bus.lose(2)
        bus.store(*stored([story.queued(), story.started(), story.succeeded()], 2))
        await eventually(lambda: bus.acknowledged == [1, 4])
    assert [sequence for batch in store.batches for sequence in batch] == [1, 2, 3, 4]


async def test_what_an_earlier_recorder_left_among_what_it_had_acknowledged_is_recorded_too(
    store: TroubledStore,
) -> None:
    bus = MemoryBus(leased=4)
    bus.acknowledged += [2, 3]
    bus.store(*many(5))
    async with recording(bus, store):
        await eventually(lambda: 5 in bus.acknowledged)
    assert {sequence for batch in store.batches for sequence in batch} == {1, 2, 3, 4, 5}


async def test_what_was_delivered_with_gaps_is_read_in_one_go(bus: MemoryBus, store: TroubledStore) -> None:
    """Two recorders share the deliveries: to read each gap by itself would take a question for every other event."""
    bus.shared = True
    async with recording(bus, store):
        bus.store(*many(400))
        await eventually(lambda: len(bus.acknowledged) == 200)
    assert bus.reads <= 3
    assert [sequence for batch in store.batches for sequence in batch] == list(range(1, 401))


async def test_old_records_are_removed_little_by_little(bus: MemoryBus, store: TroubledStore) -> None:
    old, fresh = START - timedelta(days=91), START - timedelta(days=89)
    ended = [Story(f"old{n}", at=old) for n in range(700)] + [Story("fresh", at=fresh)]
    await store.apply(stored([event for story in ended for event in (story.queued(), story.cancelled())]))
    async with recording(bus, store):

        async def only_fresh_is_left() -> bool:
            return [item.execution_id for item in (await store.find(ExecutionQuery(orgs=None))).items] == ["fresh"]

        await eventually(only_fresh_is_left)


async def test_lag_is_measured_and_a_broker_that_is_away_is_a_problem(bus: MemoryBus, store: TroubledStore) -> None:
    store.away = True
    async with recording(bus, store) as recorder:
        bus.store(*many(7))
        await eventually(lambda: counted("runlane_recorder_lag_events") == 7)
        bus.connected = False
        assert recorder.problems()["nats"] == "not connected"


async def test_a_stream_that_cannot_be_consumed_ends_the_recorder(store: TroubledStore) -> None:
    class NoConsumer(MemoryBus):
        async def lag(self, stream: str, consumer: str) -> ConsumerLag:
            raise BusUnavailable("no such consumer")

    recorder = Recorder(NoConsumer(), store, ManualClock(START), retention_days=90, pace=BRISK)
    with pytest.raises(BusUnavailable, match="no such consumer"):
        await recorder.run()
