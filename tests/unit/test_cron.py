"""Cron expressions and their ticks, at daylight saving changes above all."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from runlane.cron import ALIASES, MAX_EXPRESSION_LENGTH, Schedule

NEW_YORK = "America/New_York"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(schedule: Schedule, after: str, until: str) -> list[str]:
    zone = ZoneInfo(schedule.time_zone)
    return [tick.astimezone(zone).strftime("%d %H:%M %Z") for tick in schedule.between(utc(after), utc(until))]


def test_a_tick_comes_strictly_after_the_moment() -> None:
    schedule = Schedule.parse("0 9 * * *")
    assert schedule.next_after(utc("2026-01-05T08:59:59")) == utc("2026-01-05T09:00:00")
    assert schedule.next_after(utc("2026-01-05T09:00:00")) == utc("2026-01-06T09:00:00")


def test_between_leaves_out_its_start_and_takes_in_its_end() -> None:
    ticks = list(Schedule.parse("0 * * * *").between(utc("2026-01-05T08:00"), utc("2026-01-05T10:00")))
    assert ticks == [utc("2026-01-05T09:00"), utc("2026-01-05T10:00")]


def test_between_is_empty_where_no_tick_falls() -> None:
    assert list(Schedule.parse("0 9 * * *").between(utc("2026-01-05T09:00"), utc("2026-01-05T23:00"))) == []


def test_ticks_follow_the_time_zone() -> None:
    schedule = Schedule.parse("0 9 * * 1-5", "Asia/Kolkata")
    assert schedule.next_after(utc("2026-01-03T00:00")) == utc("2026-01-05T03:30")


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_means_its_five_fields(alias: str) -> None:
    assert Schedule.parse(alias) == Schedule.parse(alias.upper()) == Schedule.parse(ALIASES[alias])


def test_a_fixed_time_in_the_gap_fires_once_at_its_end() -> None:
    schedule = Schedule.parse("30 2 * * *", NEW_YORK)
    assert local(schedule, "2026-03-07T12:00", "2026-03-09T12:00") == ["08 03:00 EDT", "09 02:30 EDT"]


def test_a_fixed_time_in_the_repeated_hour_fires_once() -> None:
    schedule = Schedule.parse("30 1 * * *", NEW_YORK)
    assert local(schedule, "2026-10-31T12:00", "2026-11-02T12:00") == ["01 01:30 EDT", "02 01:30 EST"]


def test_an_hourly_job_fires_in_both_of_the_repeated_hours() -> None:
    schedule = Schedule.parse("*/30 * * * *", NEW_YORK)
    hours = local(schedule, "2026-11-01T04:59", "2026-11-01T06:30")
    assert hours == ["01 01:00 EDT", "01 01:30 EDT", "01 01:00 EST", "01 01:30 EST"]


def test_counting_from_the_second_of_two_like_hours_does_not_go_back() -> None:
    second_quarter_past_one = utc("2026-11-01T06:15")
    tick = Schedule.parse("30 1 * * *", NEW_YORK).next_after(second_quarter_past_one)
    assert tick == utc("2026-11-02T06:30")


@pytest.mark.parametrize("zone", [NEW_YORK, "Europe/Berlin", "Australia/Sydney", "America/Havana"])
@pytest.mark.parametrize("expression", ["30 1 * * *", "15 2,3 * * *", "0 */4 * * *", "0 0 * * *"])
def test_a_tick_does_not_depend_on_where_one_counts_from(zone: str, expression: str) -> None:
    schedule = Schedule.parse(expression, zone)
    for change in ("2026-03-07", "2026-03-28", "2026-04-04", "2026-10-03", "2026-10-24", "2026-10-31"):
        start = utc(change)
        ticks = list(schedule.between(start - timedelta(days=1), start + timedelta(days=4)))
        assert all(one < other for one, other in pairwise(ticks))
        for minutes in range(0, 2 * 24 * 60, 47):
            moment = start + timedelta(minutes=minutes)
            assert schedule.next_after(moment) == next(tick for tick in ticks if tick > moment)


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    value = st.integers(low, high).map(str)
    # A range of one is left out: croniter 7.0 reads `0-0` as `*`.
    span = st.tuples(st.integers(low, high - 1), st.integers(1, high)).map(
        lambda ends: f"{ends[0]}-{min(sum(ends), high)}"
    )
    step = st.integers(1, high).map(lambda by: f"*/{by}")
    return st.one_of(st.just("*"), value, span, step, st.lists(value, min_size=2, max_size=4).map(",".join))


@given(
    fields=st.tuples(numbers(0, 59), numbers(0, 23), numbers(1, 28), numbers(1, 12)),
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC)),  # noqa: DTZ001
)
@settings(max_examples=150, deadline=None)
def test_ticks_agree_with_croniter_where_no_clock_changes(fields: tuple[str, str, str, str], moment: datetime) -> None:
    expression = " ".join((*fields, "*"))
    ours = list(islice(Schedule.parse(expression).between(moment, moment + timedelta(days=20_000)), 5))
    oracle = croniter(expression, moment)
    assert ours == [oracle.get_next(datetime) for _ in range(5)]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "hello",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "0 0 31 2 *",
        "0 0 30 2 *",
        "0 0 0 * *",
        "*/0 * * * *",
        "@reboot",
        "@every 5m",
        "1-0 * * * *",
        "a * * * *",
        "* * * * MONDAY",
        "*/" + "9" * 200 + "x * * * *",
        "1," * MAX_EXPRESSION_LENGTH + "1 * * * *",
    ],
)
def test_what_is_no_cron_expression_is_refused_in_words(expression: str) -> None:
    with pytest.raises(ValueError, match=r"cron expression"):
        Schedule.parse(expression)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "Europe"])
def test_what_is_no_time_zone_is_refused_by_name(zone: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone"):
        Schedule.parse("@daily", zone)


def test_a_naive_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Schedule.parse("@daily").next_after(datetime(2026, 1, 1))  # noqa: DTZ001


@given(st.text(max_size=40))
@settings(max_examples=200, deadline=None)
def test_hostile_text_is_a_schedule_or_a_value_error(expression: str) -> None:
    try:
        schedule = Schedule.parse(expression)
    except ValueError:
        return
    assert schedule.next_after(utc("2026-01-01")) > utc("2026-01-01")
