"""Which lane a request goes to, by what its organisation has waiting."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from runlane.contracts.directory import Priority
from runlane.errors import BusUnavailable
from runlane.lanes import LIMITS, WEIGHTS, Lanes, by_lane, lane_of


@pytest.mark.parametrize(
    ("waiting", "priority", "lane"),
    [
        ([0, 0, 0, 0], "normal", 0),
        ([31, 0, 0, 0], "normal", 0),
        ([32, 0, 0, 0], "normal", 1),
        ([32, 479, 0, 0], "normal", 1),
        ([0, 512, 0, 0], "normal", 2),
        ([0, 0, 8191, 0], "normal", 2),
        ([0, 0, 0, 8192], "normal", 3),
        ([0, 0, 0, 50_000], "high", 0),
        ([32, 0, 0, 50_000], "high", 1),
        ([32, 480, 0, 50_000], "high", 2),
        ([32, 480, 7680, 50_000], "high", 3),
        ([0, 0, 0, 0], "low", 2),
        ([0, 0, 8192, 0], "low", 3),
    ],
)
def test_the_lane_follows_from_what_waits_and_the_priority(waiting: list[int], priority: Priority, lane: int) -> None:
    assert lane_of(waiting, priority) == lane


def test_there_is_a_weight_for_each_lane() -> None:
    assert len(WEIGHTS) == len(LIMITS) + 1


class Queue:
    """What the queue says is waiting; `asked` counts how often."""

    def __init__(self, **counts: int) -> None:
        self.found = {f"runlane.request.{lane[1:]}.acme.audit": count for lane, count in counts.items()}
        self.asked = 0
        self.away = False

    async def counts(self, stream: str, filter_: str) -> dict[str, int]:
        self.asked += 1
        if self.away:
            raise BusUnavailable
        assert filter_ == "runlane.request.*.acme.*"
        return self.found


def lanes_over(queue: Queue, now: list[float]) -> Lanes:
    return Lanes(cast(Any, queue), lambda: now[0])


async def test_an_organisation_with_little_to_do_costs_no_question() -> None:
    queue = Queue()
    lanes = lanes_over(queue, [0.0])
    assert [await lanes.choose("acme", "normal") for _ in range(16)] == ["0"] * 16
    assert queue.asked == 0


async def test_what_went_by_since_the_last_count_is_added_to_it() -> None:
    now, queue = [0.0], Queue(l0=20)
    lanes = lanes_over(queue, now)
    chosen = [await lanes.choose("acme", "normal") for _ in range(40)]
    assert queue.asked == 1, "it is asked at most every quarter of a second"
    assert chosen == ["0"] * (16 + 12) + ["1"] * 12
    now[0], queue.found = 1.0, {}
    assert await lanes.choose("acme", "normal") == "0"
    assert queue.asked == 2


async def test_a_broker_that_is_away_stops_nobody() -> None:
    queue = Queue()
    queue.away = True
    lanes = lanes_over(queue, [0.0])
    chosen = [await lanes.choose("acme", "normal") for _ in range(33)]
    assert chosen == ["0"] * 32 + ["1"]


async def test_one_organisation_is_counted_at_a_time_and_the_others_do_not_wait_for_it() -> None:
    """At the turn of a minute a thousand became busy at once, and counting for each took longer than queueing."""
    answer: asyncio.Future[dict[str, int]] = asyncio.get_running_loop().create_future()
    asked, asking = list[str](), asyncio.Event()

    class Slow(Queue):
        async def counts(self, stream: str, filter_: str) -> dict[str, int]:
            asked.append(filter_)
            asking.set()
            return await answer

    lanes = lanes_over(Slow(), [0.0])
    for _ in range(16):
        await lanes.choose("acme", "normal")
        await lanes.choose("globex", "normal")
    counted = asyncio.create_task(lanes.choose("acme", "normal"))
    async with asyncio.timeout(5):
        await asking.wait()
        assert [await lanes.choose("globex", "normal") for _ in range(17)] == ["0"] * 16 + ["1"]
    assert asked == ["runlane.request.*.acme.*"]
    answer.set_result({"runlane.request.1.acme.audit": 40})
    assert await counted == "1"
    await lanes.choose("globex", "normal")
    assert asked == ["runlane.request.*.acme.*", "runlane.request.*.globex.*"], "its turn comes"


async def test_delayed_starts_compete_with_those_of_the_same_minute() -> None:
    lanes = lanes_over(Queue(), [0.0])
    noon = datetime(2030, 1, 1, 12, tzinfo=UTC)
    chosen = await asyncio.gather(*(lanes.choose("acme", "normal", noon) for _ in range(33)))
    assert chosen == ["0"] * 32 + ["1"]
    assert await lanes.choose("acme", "normal", noon + timedelta(minutes=1)) == "0"
    assert await lanes.choose("globex", "normal", noon) == "0"


def test_counts_by_subject_are_counts_by_lane() -> None:
    counts = {"runlane.request.0.acme.a": 1, "runlane.request.0.acme.b": 2, "runlane.request.3.acme.a": 5}
    assert by_lane(counts) == [3, 0, 0, 5]
