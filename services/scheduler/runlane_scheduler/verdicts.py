"""What becomes of ticks that are due: the misfire policies. Pure; `ticker` asks."""

from datetime import datetime

from msgspec import Struct

from runlane.contracts.directory import Manifest
from runlane.contracts.events import TickOutcome

from .timetable import Span

#: Less late than this is on time.
ON_TIME_SECONDS = 5.0
#: Up to here a tick still fires whatever the policy; beyond, it is a misfire.
LATE_SECONDS = 60.0
#: So many misfires are caught up under the policy `all`.
MAX_CAUGHT_UP = 100

FIRING: frozenset[TickOutcome] = frozenset({"fired", "late", "caught_up"})


class Verdict(Struct, frozen=True):
    """A tick's outcome as far as the clock decides it, and why."""

    scheduled_for: datetime
    outcome: TickOutcome
    reason: str | None = None


def judge(span: Span, now: datetime, manifest: Manifest) -> list[Verdict]:
    """One verdict for each tick, in their order."""
    late = [_lateness(tick, now) for tick in span.ticks]
    misfires = sum(seconds > LATE_SECONDS for seconds in late)
    chosen = _caught_up(late[:misfires], manifest)
    verdicts = [
        _misfire(tick, seconds, index in chosen, manifest)
        for index, (tick, seconds) in enumerate(zip(span.ticks[:misfires], late, strict=False))
    ]
    verdicts += [_timely(tick, seconds) for tick, seconds in zip(span.ticks[misfires:], late[misfires:], strict=True)]
    if span.cut and verdicts:
        verdicts[0] = _first_of_many(verdicts[0])
    return verdicts


def still_wanted(scheduled_for: datetime, now: datetime, manifest: Manifest) -> bool:
    """Whether a tick may fire as late as this."""
    window = 0.0 if manifest.misfire_policy == "skip" else manifest.misfire_window_seconds
    return _lateness(scheduled_for, now) <= max(LATE_SECONDS, window)


def _caught_up(late: list[float], manifest: Manifest) -> range:
    """Which of the misfires, by index, fire after all: the newest ones of those within the window."""
    limit = {"skip": 0, "once": 1, "all": MAX_CAUGHT_UP}[manifest.misfire_policy]
    within = sum(seconds <= manifest.misfire_window_seconds for seconds in late)
    return range(len(late) - min(limit, within), len(late))


def _misfire(tick: datetime, seconds: float, chosen: bool, manifest: Manifest) -> Verdict:
    policy = f"{seconds:.0f} s late; misfire_policy is {manifest.misfire_policy}"
    if chosen:
        return Verdict(tick, "caught_up", policy)
    if manifest.misfire_policy != "skip" and seconds > manifest.misfire_window_seconds:
        return Verdict(tick, "missed", f"{policy} within {manifest.misfire_window_seconds:g} s")
    if manifest.misfire_policy == "all":
        return Verdict(tick, "missed", f"{policy}, at most {MAX_CAUGHT_UP} at once")
    return Verdict(tick, "missed", policy)


def _timely(tick: datetime, seconds: float) -> Verdict:
    if seconds < ON_TIME_SECONDS:
        return Verdict(tick, "fired")
    return Verdict(tick, "late", f"{seconds:.0f} s late")


def _first_of_many(verdict: Verdict) -> Verdict:
    reason = f"{verdict.reason or 'on time'}; ticks before this one are too many to record"
    return Verdict(verdict.scheduled_for, verdict.outcome, reason)


def _lateness(tick: datetime, now: datetime) -> float:
    return (now - tick).total_seconds()
