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
        self._waiting: list[tuple[int, int, asyncio.Future[bool]]] = []
        self._arrivals = itertools.count()

    @property
    def free(self) -> int:
        """How many more could be taken; what waits has a claim to those that are given back."""
        return self.count - self._taken - len(self._waiting)

    async def take(self, lane: int) -> bool:
        """Whether there was one in time. Whoever got one gives it back."""
        if self._taken < self.count:
            self._taken += 1
            return True
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        entry = (lane, next(self._arrivals), turn)
        heapq.heappush(self._waiting, entry)
        timer = loop.call_later(self._patience, self._send_away, entry)
        try:
            return await turn
        finally:
            timer.cancel()

    def give_back(self) -> None:
        """One is free."""
        if self._waiting:
            heapq.heappop(self._waiting)[2].set_result(True)
        else:
            self._taken -= 1

    def _send_away(self, entry: tuple[int, int, "asyncio.Future[bool]"]) -> None:
        if not entry[2].done():
            self._waiting.remove(entry)
            heapq.heapify(self._waiting)
            entry[2].set_result(False)
