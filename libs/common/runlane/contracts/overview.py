"""How an organisation is doing: what ended lately and how long it took, what has not ended, what came of its ticks.

Record stores work it out; the gateway shows it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct, field

_MICROSECOND = timedelta(microseconds=1)

#: The newest so many ended executions, and ticks, are looked at; and so many of each unfinished status are counted.
MOST_ENDED, MOST_TICKS, MOST_OPEN = 50_000, 10_000, 10_000
UNFINISHED = ("Queued", "Scheduled", "PendingApproval", "Running", "Retrying", "Suspended")
#: The percentiles of run times.
SHARES = (50, 95)
ENDED = ("Success", "Failed", "Cancelled")


class OverviewQuery(Struct, frozen=True, kw_only=True):
    """One organisation from `since` until before `until`, in so many `parts` of equal length."""

    org: str
    since: datetime
    until: datetime
    parts: int = 60

    @property
    def part_micros(self) -> int:
        """How long a part is."""
        return max(1, (self.until - self.since) // self.parts // _MICROSECOND)


class Part(Struct, kw_only=True):
    """What ended in a part of the time: how many, by status; half of them took no longer than `p50_ms`, 95 % no longer
    than `p95_ms`. None where nothing ended that had run."""

    ended: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENDED, 0))
    p50_ms: int | None = None
    p95_ms: int | None = None


class Overview(Struct, frozen=True, kw_only=True):
    """`complete`: all of the time was looked at; else the oldest parts, or ticks, were left out.

    `whole` is all parts taken together. `unfinished`: by status, at most `MOST_OPEN` each. `ticks`: by outcome.
    """

    parts: list[Part]
    whole: Part
    unfinished: dict[str, int]
    ticks: dict[str, int]
    complete: bool


def at_rank(share: int, count: int) -> int:
    """The place, from 1, of the value that so many per cent of `count` sorted values do not exceed."""
    return max(1, (count * share + 99) // 100)


def percentile(durations: Sequence[int], share: int) -> int | None:
    """Of sorted durations."""
    return durations[at_rank(share, len(durations)) - 1] if durations else None
