"""How long the queues are: how many requests wait in each lane, and for how long the oldest has.

Read by the recorder for its metrics and by the gateway for people.
"""

import asyncio
from datetime import datetime

from msgspec import Struct

from runlane.contracts import subjects
from runlane.ports import Bus


class LaneQueue(Struct, frozen=True):
    """A lane. `waiting`: requests that no executor has got; `taken`: that one has. `oldest_seconds`: since when the
    first of the waiting is due; 0 where none waits."""

    lane: str
    waiting: int
    taken: int
    oldest_seconds: float


async def lane_queues(bus: Bus, now: datetime) -> list[LaneQueue]:
    """All lanes, the first one first. Raises `BusUnavailable`."""
    return list(await asyncio.gather(*(_lane_queue(bus, lane, now) for lane in subjects.LANES)))


async def _lane_queue(bus: Bus, lane: str, now: datetime) -> LaneQueue:
    waiting = taken = 0
    oldest = now
    for stream in (subjects.REQUESTS, subjects.DELAYED):
        lag = await bus.lag(stream, subjects.executors(lane))
        waiting, taken = waiting + lag.pending, taken + lag.unacknowledged
        if lag.pending:
            next_up = await bus.read(stream, subjects.requests_in(stream, lane), after=lag.delivered, limit=1)
            oldest = min([oldest, *(stored.time for stored in next_up)])
    return LaneQueue(lane, waiting, taken, max(0.0, (now - oldest).total_seconds()))
