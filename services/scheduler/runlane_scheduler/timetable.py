"""Cron arithmetic, shared: thousands of organisations have the same schedule, so each answer is worked out once.

Called by `plans` (is it valid), `agenda` (when next) and `ticker` (what is due).
"""

from datetime import datetime, timedelta
from functools import lru_cache

from msgspec import Struct

from runlane.cron import Schedule

#: So many of the newest ticks of an outage are recorded; older ones are not.
MAX_RECORDED = 1000

# Half a day of a schedule that fires every minute: where looking back begins.
_FIRST_LOOK = timedelta(hours=12)


class Span(Struct, frozen=True):
    """The ticks of a while, oldest first. `cut`: there were more, older ones."""

    ticks: list[datetime]
    cut: bool = False


@lru_cache(maxsize=4096)
def schedule_of(expression: str, zone: str) -> Schedule:
    """The schedule, or what `Schedule.parse` raises."""
    return Schedule.parse(expression, zone)


@lru_cache(maxsize=8192)
def next_tick(expression: str, zone: str, after: datetime) -> datetime:
    """The first tick after a moment."""
    return schedule_of(expression, zone).next_after(after)


def ticks_between(expression: str, zone: str, after: datetime, until: datetime) -> Span:
    """The newest `MAX_RECORDED` ticks in (after, until]; never walks much further back than that."""
    # Ticks fall on whole minutes: every moment of one minute has the same answer, and lines that share a base share it.
    return _ticks_between(expression, zone, after, until.replace(second=0, microsecond=0))


@lru_cache(maxsize=256)
def _ticks_between(expression: str, zone: str, after: datetime, until: datetime) -> Span:
    schedule = schedule_of(expression, zone)
    look = _FIRST_LOOK
    while True:
        start = max(after, until - look)
        found = list(schedule.between(start, until))
        if start == after or len(found) > MAX_RECORDED:
            return Span(found[-MAX_RECORDED:], cut=start > after or len(found) > MAX_RECORDED)
        look *= 4
