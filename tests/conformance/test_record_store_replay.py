"""Whatever a stream does to a recorder, the store holds what `fold` says of the distinct events."""

import asyncio
import shutil
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runlane.adapters.memory_store import MemoryRecordStore
from runlane.adapters.sql.schema import migrate
from runlane.adapters.sql.store import open_record_store
from runlane.contracts.events import AnyEvent, decode_event
from runlane.contracts.records import Record, fold
from runlane.contracts.trace import TraceEntry
from runlane.ports import RecordStore, Stored
from tests.support.memory_bus import Story, stored


@st.composite
def life(draw: st.DrawFn, execution: str) -> list[AnyEvent]:
    """A valid line of events of one execution: its beginning may be missing or late, its end not there yet."""
    story = Story(execution)

    def trace() -> list[TraceEntry]:
        kinds = draw(st.lists(st.sampled_from("lp"), max_size=2))
        return [
            story.log("line") if kind == "l" else story.progress(draw(st.integers(0, 99)), "so far") for kind in kinds
        ]

    queued, events = story.queued(tags=["t"]), list[AnyEvent]()
    for _ in range(draw(st.integers(0, 3))):
        events += [story.started(reason=draw(st.sampled_from([None, "woke"]))), story.traced(*trace())]
        events.append(story.retrying(trace=trace()) if draw(st.booleans()) else story.suspended(trace=trace()))
    end = draw(st.sampled_from(["none", "success", "failed", "cancelled"]))
    if end in ("success", "failed"):
        events.append(story.started())
        events.append(story.succeeded(trace=trace()) if end == "success" else story.failed(trace=trace()))
    elif end == "cancelled":
        events.append(story.cancelled())
    if draw(st.booleans()):
        events.insert(draw(st.integers(0, min(2, len(events)))), queued)
    return events


@st.composite
def stream(draw: st.DrawFn) -> list[Stored]:
    """Some executions' events, interleaved."""
    lives = [draw(life(f"e{n}")) for n in range(draw(st.integers(1, 3)))]
    merged: list[AnyEvent] = []
    while any(lives):
        merged.append(draw(st.sampled_from([events for events in lives if events])).pop(0))
    return stored(merged)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Stored], list[list[Stored]]]:
    """A stream, and batches in which all of it arrives: overlapping, repeated, some of them late."""
    messages = draw(stream())
    batches: list[list[Stored]] = []
    first = 0
    while first < len(messages):
        batch = messages[first : first + draw(st.integers(1, 6))]
        first += len(batch)
        batches.append(batch)
        if draw(st.booleans()):
            batches.append(messages[draw(st.integers(0, first)) : first])
    return messages, draw(st.permutations(batches)) if draw(st.booleans()) else batches


def folded(messages: list[Stored]) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for message in messages:
        event = decode_event(message.payload)
        record = fold(records.get(event.subject), message.sequence, event)
        assert record is not None
        records[event.subject] = record
    return records


async def check(store: RecordStore, batches: list[list[Stored]], expected: dict[str, Record]) -> None:
    for batch in batches:
        await store.apply(batch)
    for execution_id, record in expected.items():
        assert await store.get("acme", execution_id) == record


examples = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@examples
@given(deliveries())
def test_any_batches_of_a_stream_leave_in_memory_what_its_events_fold_to(
    delivered: tuple[list[Stored], list[list[Stored]]],
) -> None:
    messages, batches = delivered
    asyncio.run(check(MemoryRecordStore(), batches, folded(messages)))


def test_any_batches_of_a_stream_leave_in_sqlite_what_its_events_fold_to(tmp_path: Path) -> None:
    empty, used = tmp_path / "empty.db", tmp_path / "used.db"
    asyncio.run(migrate(f"sqlite+aiosqlite:///{empty}"))

    async def apply_all(messages: list[Stored], batches: list[list[Stored]]) -> None:
        async with open_record_store(f"sqlite+aiosqlite:///{used}") as store:
            await check(store, batches, folded(messages))

    @examples
    @given(deliveries())
    def holds(delivered: tuple[list[Stored], list[list[Stored]]]) -> None:
        shutil.copy(empty, used)  # a fresh store for each example, without migrating each
        asyncio.run(apply_all(*delivered))

    holds()
