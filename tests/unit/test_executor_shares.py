"""How an executor shares its slots out among the lanes, and who gets a slot that is given back."""

import asyncio
from collections import deque

from runlane_executor.shares import Shares
from runlane_executor.slots import Slots


class Lane:
    """A lane that has messages for whoever asks."""

    def __init__(self, executor: "Executor", lane: int, waiting: int) -> None:
        self.executor, self.waiting, self.served, self._asked = executor, waiting, 0, 0
        self.share = executor.shares.add(lane)
        self.share.consumption = self

    def pull(self) -> None:
        self._asked = max(self._asked, self.share.room())

    async def stop(self) -> None: ...

    def deliver(self) -> bool:
        """Send one if it was asked for."""
        if not self._asked or not self.waiting:
            return False
        self._asked -= 1
        if self.executor.slots.take(self.share.lane):
            self.executor.running.append(self.share.lane)
            self.waiting -= 1
            self.served += 1
            self.share.delivered(self.waiting)
        else:
            self.share.delivered(self.waiting)
            self.share.sent_away()
        self.pull()
        return True


class Executor:
    """Slots, what runs in them, and the time."""

    def __init__(self, slots: int, **waiting: int) -> None:
        self.now = 0.0
        self.slots = Slots(slots)
        self.shares = Shares(self.slots, lambda: self.now)
        self.running: deque[int] = deque()
        self.lanes = [Lane(self, int(lane[1:]), count) for lane, count in waiting.items()]
        for lane in self.lanes:
            lane.pull()

    def deliver(self) -> None:
        while sum(lane.deliver() for lane in self.lanes):
            pass

    def end_one(self) -> None:
        self.now += 0.001
        self.slots.give_back(self.running.popleft())
        self.shares.pull()


async def test_full_lanes_are_served_by_their_weights() -> None:
    executor = Executor(32, l0=100_000, l1=100_000, l2=100_000, l3=100_000)
    executor.deliver()
    for lane in executor.lanes:
        lane.served = 0
    for _ in range(3000):
        executor.end_one()
        executor.deliver()
    assert [round(15 * lane.served / 3000) for lane in executor.lanes] == [8, 4, 2, 1]


async def test_a_lane_that_gets_something_to_do_while_another_fills_the_slots_is_not_forgotten() -> None:
    executor = Executor(32, l0=100_000, l3=0)
    for _ in range(3000):
        executor.deliver()
        executor.end_one()
    executor.lanes[1].waiting = 10_000
    for _ in range(3000):
        executor.deliver()
        executor.end_one()
    assert 200 <= executor.lanes[1].served <= 1000, "some, and no more than the first lane"


async def test_a_lane_alone_gets_every_slot_but_those_kept_for_the_first() -> None:
    executor = Executor(64, l0=0, l3=1000)
    executor.deliver()
    assert len(executor.running) == 62


async def test_one_slot_is_enough_for_all_lanes() -> None:
    executor = Executor(1, l0=10, l1=10, l2=10, l3=10)
    executor.deliver()
    for _ in range(40):
        executor.end_one()
        executor.now += 1.0
        for lane in executor.lanes:
            lane.pull()
        executor.deliver()
    assert [lane.waiting for lane in executor.lanes] == [0, 0, 0, 0]


async def test_who_finds_no_slot_waits_for_one_and_the_first_lane_goes_first() -> None:
    slots = Slots(1, patience=30)
    assert slots.take(2)
    turns: list[str] = []

    async def wait(lane: int, name: str) -> None:
        assert await slots.wait(lane)
        turns.append(name)

    waiting = [asyncio.create_task(wait(*who)) for who in ((3, "bulk"), (0, "call"), (3, "more bulk"))]
    await asyncio.sleep(0)
    for lane in (2, 0, 3):
        slots.give_back(lane)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert turns == ["call", "bulk", "more bulk"]
    slots.give_back(0)
    assert slots.free(0) == 1


async def test_who_finds_no_slot_in_time_is_sent_away_and_leaves_none_taken() -> None:
    slots = Slots(1, patience=0.01)
    assert slots.take(0)
    assert not slots.take(0)
    assert not await slots.wait(0)
    slots.give_back(0)
    assert slots.free(0) == 1
    assert slots.take(0)
