"""The scheduler as a room: rounds of whatever is due, as many at once as the broker likes, until it is drained.

Any number of schedulers run side by side without a leader; see `ticker` for why each tick is still decided once.
"""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from runlane.clock import Clock
from runlane.directory import Directory
from runlane.errors import BusUnavailable
from runlane.ports import Bus
from runlane.telemetry import logger

from .agenda import Agenda, Line
from .metrics import SCHEDULES
from .ticker import Ticker

_log = logger(__name__)

#: Lines settled at the same time.
_AT_ONCE = 256
#: The longest wait between rounds: directory changes and jumps of the clock are noticed within it.
_LONGEST_WAIT = 1.0
_SHORTEST_WAIT = 0.005
#: A line that failed in a way nobody foresaw is left alone for so long.
_SET_ASIDE = timedelta(seconds=60)
#: Overdue by more than this means falling behind.
_BEHIND = timedelta(seconds=60)


class Scheduler:
    """See `service.Room`. Open one with `Scheduler.open`."""

    def __init__(self, bus: Bus, agenda: Agenda, ticker: Ticker, clock: Clock) -> None:
        self._bus, self._agenda, self._ticker, self._clock = bus, agenda, ticker, clock
        self._round = asyncio.Lock()
        self._halted = False
        self._draining = False
        self._oldest_taken: datetime | None = None

    @classmethod
    async def open(cls, bus: Bus, directory: Directory, clock: Clock, name: str) -> "Scheduler":
        """A scheduler that knows how far every schedule got; `directory` is loaded already. Raises `BusUnavailable`."""
        ticker = Ticker(bus, clock, name)
        agenda = Agenda(directory, clock, await ticker.history())
        SCHEDULES.set(agenda.size)
        return cls(bus, agenda, ticker, clock)

    async def run(self) -> None:
        while not self._draining:
            await self.tick()
            await asyncio.sleep(self._wait())

    async def tick(self) -> None:
        """One round: take over what changed in the directory, then settle everything that is due by now.

        While the broker is away nothing happens, and what is due stays due.
        """
        async with self._round:
            self._halted = not self._bus.connected
            if self._halted or self._draining:
                return
            self._agenda.refresh()
            SCHEDULES.set(self._agenda.size)
            self._oldest_taken = self._agenda.next_due()
            due = self._agenda.take_due(self._clock.now())
            waiting = iter(due)
            try:
                await asyncio.gather(*(self._settle_each(waiting) for _ in range(min(_AT_ONCE, len(due)))))
            finally:
                for line in waiting:
                    self._agenda.give_back(line)
                self._oldest_taken = None

    async def drain(self) -> None:
        """Begin no new round and finish the present one."""
        self._draining = True
        async with self._round:
            _log.info("no more ticks from here")

    def problems(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        if not self._bus.connected:
            found["bus"] = "not connected to NATS"
        oldest = self._oldest_taken or self._agenda.next_due()
        if oldest is not None and (behind := self._clock.now() - oldest) > _BEHIND:
            found["schedules"] = f"falling behind: something is due since {behind.total_seconds():.0f} s"
        return found

    async def _settle_each(self, waiting: Iterator[Line]) -> None:
        for line in waiting:
            not_before = await self._settle(line)
            self._agenda.give_back(line, not_before)
            if self._halted:
                return

    async def _settle(self, line: Line) -> datetime | None:
        """Settle a line; returns until when it is to be left alone, if it is."""
        try:
            await self._ticker.settle(line)
        except BusUnavailable as problem:
            self._halted = True
            _log.warning("ticks wait", reason=problem.message)
        except Exception:
            _log.exception("a schedule failed; the others go on", org=line.org, workflow=line.workflow)
            return self._clock.now() + _SET_ASIDE
        return None

    def _wait(self) -> float:
        due = self._agenda.next_due()
        if self._halted or due is None:
            return _LONGEST_WAIT
        return min(_LONGEST_WAIT, max(_SHORTEST_WAIT, (due - self._clock.now()).total_seconds()))
