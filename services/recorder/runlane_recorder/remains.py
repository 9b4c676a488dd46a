"""Clears the queues of what is done with and was not removed. Run by the sweeper before each round.

A work queue forgets a message when it is acknowledged. nats-server (2.15) that is killed, or whose disk was full, may
have kept the acknowledgement and the message: nobody gets it any more, it takes its place for ever, and whoever looks
whether an execution is queued finds it there.
"""

from runlane.contracts import subjects
from runlane.ports import Bus
from runlane.telemetry import logger

_log = logger(__name__)

_PAGE = 500

#: Stream, and what its consumer gets of it.
QUEUES = ((subjects.REQUESTS, subjects.ALL_REQUESTS), (subjects.DELAYED, subjects.ALL_DUE))


async def clear_remains(bus: Bus) -> int:
    """Remove what has been acknowledged; returns how many messages went. Raises `BusUnavailable`."""
    removed = 0
    for stream, _ in QUEUES:
        for lane in subjects.LANES:
            removed += await _clear(bus, stream, lane)
    if removed:
        _log.warning("removed from the queues what was done with", messages=removed)
    return removed


async def _clear(bus: Bus, stream: str, lane: str) -> int:
    removed = after = 0
    floor = (await bus.lag(stream, subjects.executors(lane))).floor
    while after < floor and (
        page := await bus.read(stream, subjects.requests_in(stream, lane), after=after, limit=_PAGE)
    ):
        for stored in page:
            if stored.sequence <= floor:
                removed += await bus.remove(stream, stored.sequence)
        after = page[-1].sequence
    return removed
