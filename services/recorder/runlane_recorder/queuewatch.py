"""Measures how long the queues are, for operators and autoscalers. Run by every recorder beside its work: it is there
when all executors are not."""

import asyncio

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.errors import BusUnavailable
from runlane.ports import Bus
from runlane.queues import lane_queues
from runlane.telemetry import logger

from .metrics import QUEUED, QUEUED_OLDEST, WAITING_FOR_PERMITS

_log = logger(__name__)


class QueueWatch:
    """See the module. `measure` is one round."""

    def __init__(self, bus: Bus, clock: Clock, every: float = 5.0) -> None:
        self._bus, self._clock, self._every = bus, clock, every

    async def run(self) -> None:
        """Measure for ever."""
        while True:
            try:
                await self.measure()
            except BusUnavailable as problem:
                _log.warning("could not see how long the queues are", reason=problem.message)
            except Exception:
                _log.exception("could not see how long the queues are")
            await asyncio.sleep(self._every)

    async def measure(self) -> None:
        """Raises `BusUnavailable`."""
        for queue in await lane_queues(self._bus, self._clock.now()):
            QUEUED.labels(queue.lane).set(queue.waiting)
            QUEUED_OLDEST.labels(queue.lane).set(queue.oldest_seconds)
        waiting = await self._bus.counts(subjects.WAITING, subjects.ALL_WAITING)
        WAITING_FOR_PERMITS.set(sum(waiting.values()))
