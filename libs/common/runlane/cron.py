"""Five-field cron in a time zone, pure: `@workflow` validates with it, the scheduler computes ticks with it.

Daylight saving follows Debian's cron(8): a job at a fixed time fires once on both days of the year, at the first moment
after a gap and at the first of two like times; a job whose minute or hour field begins with `*` follows elapsed time.
In a zone that moves by half an hour (Lord Howe) such a `*` job may be off by that half hour on the day of the change.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from msgspec import Struct

MAX_EXPRESSION_LENGTH = 256

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}


class Schedule(Struct, frozen=True):
    """A parsed schedule; make one with `Schedule.parse`. `expression` has its alias expanded."""

    expression: str
    time_zone: str = "UTC"

    @classmethod
    def parse(cls, expression: str, time_zone: str = "UTC") -> "Schedule":
        """Read a cron expression or one of `ALIASES`; `ValueError` says what is wrong with it, or with the zone."""
        if len(expression) > MAX_EXPRESSION_LENGTH:
            raise ValueError(f"a cron expression has at most {MAX_EXPRESSION_LENGTH} characters")
        fields = ALIASES.get(expression.strip().lower(), expression).split()
        if len(fields) != 5:
            raise ValueError(
                f"{expression!r} is not a cron expression: write five fields (minute, hour, day of month, month, "
                f"day of week), such as '0 9 * * 1-5', or one of {', '.join(ALIASES)}"
            )
        schedule = cls(" ".join(fields), time_zone)
        zone = _zone(time_zone)
        try:
            _check(schedule.expression, zone)
        except Exception as problem:
            # Both libraries let errors of many kinds out for hostile input (RELIABILITY F13); to us they mean the same.
            reason = str(problem) or type(problem).__name__
            raise ValueError(f"{expression!r} is not a cron expression that ever fires: {reason}") from None
        return schedule

    def next_after(self, moment: datetime) -> datetime:
        """The first tick after `moment` (aware), in UTC. The same whichever earlier moment one counts from."""
        return next(self._ticks(moment))

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The ticks after `after` up to and including `until` (both aware), in UTC, in order."""
        for tick in self._ticks(after):
            if tick > until:
                return
            yield tick

    def _ticks(self, after: datetime) -> Iterator[datetime]:
        from cronsim import CronSim  # not at import: authors' modules without a schedule never need it

        if after.tzinfo is None:
            raise ValueError("a schedule is counted from an aware datetime")
        for local in CronSim(self.expression, after.astimezone(_zone(self.time_zone))):
            tick = local.astimezone(UTC)
            # Counting from the second of two like hours, cronsim names fixed times of the first one again.
            if tick > after:
                yield tick


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, TypeError, KeyError):  # not found, absolute path, directory, not a string
        raise ValueError(f"{name!r} is not a time zone: write an IANA name such as 'Europe/Berlin'") from None


def _check(expression: str, zone: ZoneInfo) -> None:
    from croniter import croniter
    from cronsim import CronSim

    moment = datetime(2024, 1, 1, tzinfo=zone)
    croniter(expression, moment).get_next(datetime)
    next(CronSim(expression, moment))
