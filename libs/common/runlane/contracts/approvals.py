"""The terms of an approval: who may decide, how many must agree, in which hours, until when. Pure."""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo

from msgspec import Struct, field

Day: TypeAlias = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

#: An approval that nobody gave by then has expired.
DEFAULT_EXPIRY_SECONDS = 3 * 86_400.0
#: Waiting longer would outlive the events that it stands on (RUNLANE_EVENT_RETENTION_DAYS, 7 unless changed).
LONGEST_WAIT_SECONDS = 6 * 86_400.0
MOST_APPROVALS = 20
MOST_APPROVERS = 100


class OfficeHours(Struct, frozen=True, omit_defaults=True):
    """When one may approve, in the organisation's time zone: from `start` up to `end` (`HH:MM`) on these days."""

    start: str = "09:00"
    end: str = "17:00"
    days: list[Day] = field(default_factory=lambda: list(DAYS[:5]))


class ApprovalTerms(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an approval takes, as it was when it was asked for: a later change of the rule changes nothing of it.

    `approvers` are key ids, e-mail addresses, roles or permissions; empty means everyone with the permission to
    approve. `rule` says where the terms are from.
    """

    expires_at: datetime
    rule: str
    message: str | None = None
    approvers: list[str] = field(default_factory=list)
    count: int = 1
    allow_own: bool = False
    office_hours: OfficeHours | None = None


class ApprovalAsk(Struct, frozen=True, array_like=True):
    """What a running workflow asks for. `step` names the wait in its journal."""

    step: str
    message: str
    approvers: list[str]
    count: int


def named(approvers: Iterable[str], identities: Iterable[str]) -> bool:
    """Whether one of these identities is among the approvers; case does not count."""
    wanted = {approver.casefold() for approver in approvers}
    return any(identity.casefold() in wanted for identity in identities)


def clock_time(text: str) -> time:
    """`HH:MM`; raises `ValueError`."""
    hours, colon, minutes = text.partition(":")
    if not (colon and len(hours) == len(minutes) == 2 and text.isascii() and (hours + minutes).isdigit()):
        raise ValueError(f"{text!r} is no time of day: write it as HH:MM")
    return time(int(hours), int(minutes))


def is_open(hours: OfficeHours, zone: str, now: datetime) -> bool:
    """Whether `now` lies in the office hours of that time zone."""
    local = now.astimezone(ZoneInfo(zone))
    start, end = clock_time(hours.start), clock_time(hours.end)
    return DAYS[local.weekday()] in hours.days and start <= local.time() < end


def next_opening(hours: OfficeHours, zone: str, now: datetime) -> datetime | None:
    """When the office opens next; None when it has no days."""
    local = now.astimezone(ZoneInfo(zone))
    for ahead in range(8):
        day = local.date() + timedelta(days=ahead)
        opens = datetime.combine(day, clock_time(hours.start), local.tzinfo)
        if DAYS[day.weekday()] in hours.days and opens > now:
            return opens
    return None
