"""The slots of an executor: how many executions it runs at once, and who gets the next one. Used by `intake`."""

import asyncio
import heapq
import itertools

#: What came when all slots were taken waits for one so long, and goes back to the queue: another executor may be idle.
PATIENCE_SECONDS = 0.1


class Slots:
    """So many slots, and those who wait for one: of the first lane first."""

    def __init__(self, count: int, patience: float = PATIENCE_SECONDS) -> None:
        self.count = count
        self._patience = patience
        self._taken = 0
        self._taken_by_rest = 0
        self._waiting: list[tuple[int, int, asyncio.Future[bool]]] = []
        self._arrivals = itertools.count()

    def free(self, lane: int) -> int:
        """How many more a lane may have; what waits has a claim to those that are given back.

        One of 32 is kept for the first lane: however long executions of busy organisations take, those of a quiet one
        begin.
        """
        free = self.count - self._taken - len(self._waiting)
        return free if lane == 0 else min(free, self.count - self.count // 32 - self._taken_by_rest)

    def take(self, lane: int) -> bool:
        """Whether there was one. Whoever got one gives it back."""
        if self._taken >= self.count:
            return False
        self._count(lane, 1)
        return True

    async def wait(self, lane: int) -> bool:
        """Whether one was given back in time."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        entry = (lane, next(self._arrivals), turn)
        heapq.heappush(self._waiting, entry)
        timer = loop.call_later(self._patience, self._send_away, entry)
        try:
            return await turn
        finally:
            timer.cancel()

    def give_back(self, lane: int) -> None:
        """One that a lane had is free."""
        self._count(lane, -1)
        if self._waiting:
            following, _, turn = heapq.heappop(self._waiting)
            self._count(following, 1)
            turn.set_result(True)

    def _count(self, lane: int, change: int) -> None:
        self._taken += change
        self._taken_by_rest += change if lane else 0

    def _send_away(self, entry: tuple[int, int, "asyncio.Future[bool]"]) -> None:
        if not entry[2].done():
            self._waiting.remove(entry)
            heapq.heapify(self._waiting)
            entry[2].set_result(False)
