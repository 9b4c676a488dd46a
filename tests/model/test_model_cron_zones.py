"""Every change of the clocks in 400 zones over ten years, against a reference that looks at each minute.

The reference knows nothing of cronsim: it walks local minutes and applies the rule that `runlane.cron` documents.
croniter is the oracle for days without a change.
"""

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter

from runlane.cron import Schedule

FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: Old names of the same places are left out first, so that the 400 differ as much as they can.
ZONES = sorted(
    sorted(zoneinfo.available_timezones() - {"localtime", "Factory"}), key=lambda name: ("/" not in name, name)
)[:400]
FIXED = [(0, 0), (0, 30), (1, 0), (1, 30), (2, 0), (2, 30), (3, 0), (23, 30)]


@cache
def changes(name: str) -> list[datetime]:
    """When the zone's offset changes, to the minute."""
    zone, found, at = ZoneInfo(name), list[datetime](), FIRST
    while at < LAST:
        if at.astimezone(zone).utcoffset() != (at + DAY).astimezone(zone).utcoffset():
            low, high = at, at + DAY
            before = low.astimezone(zone).utcoffset()
            while high - low > MINUTE:
                middle = low + (high - low) // 2
                middle = middle.replace(second=0, microsecond=0)
                low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
            found.append(high)
        at += DAY
    return found


@cache
def different() -> list[str]:
    """One zone of each kind. Zones whose clocks show the same around every change make the same ticks there."""
    kinds: dict[tuple[object, ...], str] = {}
    for name in ZONES:
        zone = ZoneInfo(name)
        moments = [(at, at + n * DAY) for at in changes(name) for n in (-3, -1, 0, 1, 3)]
        kinds.setdefault(tuple((at, near.astimezone(zone).utcoffset()) for at, near in moments), name)
    return list(kinds.values())


def fixed(hour: int, minute: int, zone: ZoneInfo, day: datetime) -> datetime:
    """When a daily job at a fixed time fires on a local day: the first of like times; after a gap its first moment."""
    wanted = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001  # local, on purpose
    at = (wanted - DAY).replace(tzinfo=UTC)
    while at.astimezone(zone).replace(tzinfo=None) < wanted:
        at += MINUTE * 15 if (wanted - at.astimezone(zone).replace(tzinfo=None)) > 3 * HOUR else MINUTE
    return at


@pytest.mark.parametrize("part", range(4))
def test_a_job_at_a_fixed_time_fires_once_around_every_change(part: int) -> None:
    wrong: list[str] = []
    seen = 0
    for name in different()[part::4]:
        zone = ZoneInfo(name)
        for change in changes(name):
            seen += 1
            for hour, minute in FIXED:
                local = change.astimezone(zone)
                days = [(local.replace(tzinfo=None) + n * DAY) for n in (-1, 0, 1)]
                expected = sorted({fixed(hour, minute, zone, day) for day in days})
                schedule = Schedule.parse(f"{minute} {hour} * * *", name)
                ticks = list(schedule.between(expected[0] - MINUTE, expected[-1]))
                if ticks != expected:
                    wrong.append(f"{name} {change:%F %H:%M} {minute} {hour}: {ticks} for {expected}")
                # A scheduler that starts just then counts from the second of two like times.
                rest = [tick for tick in expected if tick > change]
                if list(schedule.between(change, expected[-1])) != rest:
                    wrong.append(f"{name} counted from {change:%F %H:%M} {minute} {hour}: not {rest}")
    assert seen > 100
    assert not wrong, f"{len(wrong)}: " + "\n".join(wrong[:5])


@pytest.mark.parametrize("expression", ["*/15 * * * *", "0 * * * *"])
def test_a_job_of_a_star_follows_elapsed_time_through_every_change_by_whole_hours(expression: str) -> None:
    wrong: list[str] = []
    step = MINUTE * 15 if expression.startswith("*/15") else HOUR
    for name in different():
        zone = ZoneInfo(name)
        for change in changes(name):
            offsets = [(change + n * MINUTE).astimezone(zone).utcoffset() for n in (-1, 0)]
            if any(offset is None or offset % HOUR for offset in offsets):
                continue
            start = (change - 6 * HOUR).replace(minute=0)
            expected = [start + n * step for n in range(1, 12 * HOUR // step + 1)]
            ticks = list(Schedule.parse(expression, name).between(start, expected[-1]))
            if ticks != expected:
                wrong.append(f"{name} {change}: {sorted(set(ticks) ^ set(expected))}")
    assert not wrong, f"{len(wrong)}: " + "\n".join(wrong[:5])


@pytest.mark.parametrize("expression", ["17 3 * * *", "*/20 9-17 * * 1-5", "0 0 1 * *", "30 22 * * 0"])
def test_on_plain_days_croniter_says_the_same(expression: str) -> None:
    for name in ZONES[::4]:
        zone, start = ZoneInfo(name), datetime(2025, 1, 5, 12, tzinfo=UTC)
        near = [change for change in changes(name) if start - DAY < change < start + 40 * DAY]
        if near:
            continue
        oracle = croniter(expression, start.astimezone(zone))
        expected = [oracle.get_next(datetime).astimezone(UTC) for _ in range(20)]
        expected = [tick for tick in expected if tick <= start + 38 * DAY]
        assert list(Schedule.parse(expression, name).between(start, start + 38 * DAY))[: len(expected)] == expected, (
            name
        )
