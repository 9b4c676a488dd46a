"""What every record store says of how an organisation is doing, and how many executions match."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from runlane.adapters.memory_store import MemoryRecordStore
from runlane.adapters.sql.store import open_record_store
from runlane.contracts.events import AnyEvent, Succeeded
from runlane.contracts.overview import UNFINISHED, OverviewQuery, percentile
from runlane.contracts.records import ExecutionQuery
from runlane.ports import RecordStore
from tests.support.memory_bus import START, Story, stored, ticked

HOUR = OverviewQuery(org="acme", since=START, until=START + timedelta(hours=1), parts=6)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RecordStore]:
    if request.param == "memory":
        yield MemoryRecordStore()
        return
    url = f"sqlite:///{tmp_path / 'records.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with open_record_store(url, migrate=True) as opened:
        yield opened


def succeeded(name: str, minute: float, duration_ms: int, org: str = "acme") -> list[AnyEvent]:
    """An execution that ended so long after the beginning."""
    story = Story(name, org, at=START + timedelta(minutes=minute) - timedelta(seconds=3))
    queued, started, ended = story.queued(), story.started(), story.succeeded()
    assert isinstance(ended, Succeeded)
    at = START + timedelta(minutes=minute)
    return [queued, started, replace(ended, time=at, data=replace(ended.data, duration_ms=duration_ms))]


async def fill(store: RecordStore, *stories: list[AnyEvent]) -> None:
    await store.apply(stored([event for story in stories for event in story]))


async def test_what_ended_is_counted_in_its_part_of_the_time(store: RecordStore) -> None:
    failed, cancelled = Story("f", at=START + timedelta(minutes=31)), Story("c", at=START + timedelta(minutes=32))
    await fill(
        store,
        succeeded("first", 0, 5),
        succeeded("same", 9.99, 15),
        succeeded("last", 59.99, 7),
        [failed.queued(), failed.started(), failed.failed()],
        [cancelled.queued(), cancelled.cancelled()],
    )
    found = await store.overview(HOUR)
    assert [tuple(part.ended.values()) for part in found.parts] == [
        (2, 0, 0),
        (0, 0, 0),
        (0, 0, 0),
        (0, 1, 1),
        (0, 0, 0),
        (1, 0, 0),
    ]
    assert found.whole.ended == {"Success": 3, "Failed": 1, "Cancelled": 1}
    assert found.complete


async def test_what_ended_before_or_after_or_elsewhere_is_left_out(store: RecordStore) -> None:
    await fill(
        store, succeeded("before", -0.01, 5), succeeded("after", 60, 5), succeeded("theirs", 30, 5, org="globex")
    )
    found = await store.overview(HOUR)
    assert found.whole.ended == {"Success": 0, "Failed": 0, "Cancelled": 0}
    assert found.whole.p50_ms is None


async def test_run_times_are_told_as_percentiles_of_each_part_and_of_the_whole(store: RecordStore) -> None:
    await fill(store, *(succeeded(f"e{number}", 1, number) for number in range(1, 101)), succeeded("slow", 25, 9000))
    found = await store.overview(HOUR)
    assert (found.parts[0].p50_ms, found.parts[0].p95_ms) == (50, 95)
    assert (found.parts[1].p50_ms, found.parts[1].p95_ms) == (None, None)
    assert (found.parts[2].p50_ms, found.parts[2].p95_ms) == (9000, 9000)
    assert (found.whole.p50_ms, found.whole.p95_ms) == (51, 96)


async def test_what_has_not_ended_is_counted_by_status_whenever_it_was_queued(store: RecordStore) -> None:
    old, asks, runs = Story("old", at=START - timedelta(days=9)), Story("asks"), Story("runs")
    theirs = Story("theirs", "globex")
    await fill(
        store,
        [old.queued()],
        [asks.queued(), asks.pending_approval()],
        [runs.queued(), runs.started()],
        [theirs.queued()],
    )
    found = await store.overview(HOUR)
    expected = {**dict.fromkeys(UNFINISHED, 0), "Queued": 1, "PendingApproval": 1, "Running": 1}
    assert found.unfinished == expected


async def test_ticks_are_counted_by_what_came_of_them(store: RecordStore) -> None:
    events: list[AnyEvent] = [
        ticked(number, outcome=outcome) for number, outcome in enumerate(["fired", "late", "missed", "fired"])
    ]
    await fill(store, [*events, ticked(-1)])
    assert (await store.overview(HOUR)).ticks == {"fired": 2, "late": 1, "missed": 1}


async def test_matches_are_counted_on_all_pages_and_up_to_a_bound(store: RecordStore) -> None:
    await fill(store, *([Story(f"q{number}").queued()] for number in range(7)), [Story("x", "globex").queued()])
    query = ExecutionQuery(orgs=["acme"], statuses=["Queued"], limit=2)
    assert await store.count(query, 100) == 7
    assert await store.count(query, 5) == 5
    assert await store.count(ExecutionQuery(orgs=["acme"], workflow="other"), 100) == 0


@pytest.mark.parametrize(("count", "half", "most"), [(0, None, None), (1, 1, 1), (2, 1, 2), (20, 10, 19), (21, 11, 20)])
def test_a_percentile_is_the_least_value_that_enough_values_do_not_exceed(
    count: int, half: int | None, most: int | None
) -> None:
    values = range(1, count + 1)
    assert (percentile(values, 50), percentile(values, 95)) == (half, most)
