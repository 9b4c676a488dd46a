"""Lanes: how a request is queued so that a busy organisation keeps only those as busy as itself waiting (DESIGN §4).

Whoever queues a request asks `Lanes` where; executors serve the lanes by `WEIGHTS`.
"""

import asyncio
import time
from bisect import bisect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import accumulate

from runlane.contracts import subjects
from runlane.contracts.directory import Priority
from runlane.errors import BusUnavailable
from runlane.ports import Bus

#: An organisation with fewer requests waiting than this gets into the lane of the same place; with more, into the next.
LIMITS = (32, 512, 8192)
#: Of fifteen executions, lanes get so many while all of them have some waiting.
WEIGHTS = (8, 4, 2, 1)

_LOW = 2

#: An organisation that has less waiting than this, as far as is known, need not be counted: it is in the first lane.
_NEAR = LIMITS[0] // 2
#: A count is good for so long, and is waited for so long. In seconds.
_FRESH, _PATIENCE = 0.25, 0.25
_MINUTE = 60


def lane_of(waiting: Sequence[int], priority: Priority) -> int:
    """The lane for another request of an organisation that has so many `waiting`, by lane.

    One of high priority passes by what its own organisation has in slower lanes, so a person's call need not wait for
    the same client's migration; but it fills the fast lanes up like any other. One of low priority never enters them.
    """
    if priority == "high":
        counts = enumerate(accumulate(waiting[: len(LIMITS)]))
        return next((lane for lane, count in counts if count < LIMITS[lane]), len(LIMITS))
    lane = bisect(LIMITS, sum(waiting))
    return max(lane, _LOW) if priority == "low" else lane


class Lanes:
    """Chooses lanes. Knows what each organisation has waiting from the queue itself, and what went by here since."""

    def __init__(self, bus: Bus, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bus, self._monotonic = bus, monotonic
        self._orgs: dict[str, _Waiting] = {}
        self._later: dict[tuple[str, int], list[int]] = {}
        self._counting = False

    async def choose(self, org: str, priority: Priority, at: datetime | None = None) -> str:
        """The lane for a request of now, or of a later time: then what counts is what is due in the same minute."""
        if at is not None:
            return self._choose(self._due_with(org, at), priority)
        known = self._orgs.setdefault(org, _Waiting())
        now = self._monotonic()
        if not self._counting and now - known.counted_at > _FRESH and sum(known.lanes) >= _NEAR:
            known.counted_at = now
            await self._count(org, known)
        return self._choose(known.lanes, priority)

    def _choose(self, waiting: list[int], priority: Priority) -> str:
        lane = lane_of(waiting, priority)
        waiting[lane] += 1
        return subjects.LANES[lane]

    async def _count(self, org: str, known: "_Waiting") -> None:
        """A broker that does not answer now leaves us with what we know; so does one that counts for somebody already.

        One at a time: at the turn of a minute a thousand organisations become busy at once, and to count for each of
        them takes broker and scheduler longer than to queue what they have.
        """
        self._counting = True
        try:
            with suppress(BusUnavailable, TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    known.lanes = by_lane(await self._bus.counts(subjects.REQUESTS, subjects.requests_of(org)))
        finally:
            self._counting = False

    def _due_with(self, org: str, at: datetime) -> list[int]:
        minute = int(at.timestamp() // _MINUTE)
        if len(self._later) > 10_000:
            passed = time.time() // _MINUTE
            self._later = {key: waiting for key, waiting in self._later.items() if key[1] >= passed}
        return self._later.setdefault((org, minute), [0] * len(subjects.LANES))


class _Waiting:
    """What an organisation has waiting, by lane."""

    def __init__(self) -> None:
        self.lanes = [0] * len(subjects.LANES)
        self.counted_at = float("-inf")


def by_lane(counts: Mapping[str, int]) -> list[int]:
    """How many messages each lane has, from counts by subject."""
    found = [0] * len(subjects.LANES)
    for subject, count in counts.items():
        lane = subjects.lane_of(subject)
        if lane in subjects.LANES:
            found[subjects.LANES.index(lane)] += count
    return found
