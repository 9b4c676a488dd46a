"""Works out how an organisation is doing. Every statement here looks at a bounded number of rows of an index."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, Subquery, case, func, literal, select

from runlane.contracts.overview import (
    MOST_ENDED,
    MOST_OPEN,
    MOST_TICKS,
    SHARES,
    UNFINISHED,
    Overview,
    OverviewQuery,
    Part,
    at_rank,
)
from runlane.contracts.records import ExecutionQuery

from .listing import count
from .moments import micros_of
from .tables import executions, ticks


def summarise(connection: Connection, query: OverviewQuery) -> Overview:
    """How an organisation is doing."""
    ended, parts = _ended(query), [Part() for _ in range(query.parts)]
    looked_at = 0
    for part, status, number in connection.execute(
        select(ended.c.part, ended.c.status, func.count()).group_by(ended.c.part, ended.c.status)
    ):
        parts[part].ended[status] += number
        looked_at += number
    for part, *found in connection.execute(_ranked(ended, whole=False)):
        _take(parts[part], *found)
    whole = Part(ended={status: sum(part.ended[status] for part in parts) for status in parts[0].ended})
    for _, *found in connection.execute(_ranked(ended, whole=True)):
        _take(whole, *found)
    outcomes = _ticks(connection, query)
    complete = looked_at < MOST_ENDED and sum(outcomes.values()) < MOST_TICKS
    unfinished = _unfinished(connection, query.org)
    return Overview(parts=parts, whole=whole, unfinished=unfinished, ticks=dict(outcomes), complete=complete)


def _ended(query: OverviewQuery) -> Subquery:
    since, table = micros_of(query.since), executions.c
    # What is left over by the division belongs to the last part.
    number = (table.completed_at - since) // query.part_micros
    part = case((number < query.parts, number), else_=query.parts - 1).label("part")
    return (
        select(part, table.status, table.duration_ms)
        .where(table.org == query.org, table.completed_at >= since, table.completed_at < micros_of(query.until))
        .order_by(table.completed_at.desc())
        .limit(MOST_ENDED)
        .subquery()
    )


def _ranked(ended: Subquery, *, whole: bool) -> Select[Any]:
    """Of each part, or of the whole: the durations at the places of the percentiles."""
    part = literal(0) if whole else ended.c.part
    ran = (
        select(
            part.label("part"),
            ended.c.duration_ms,
            func.row_number().over(partition_by=part, order_by=ended.c.duration_ms).label("place"),
            func.count().over(partition_by=part).label("number"),
        )
        .where(ended.c.duration_ms.is_not(None))
        .subquery()
    )
    half, most = ((ran.c.number * share + 99) // 100 for share in SHARES)
    return select(ran.c.part, ran.c.place, ran.c.number, ran.c.duration_ms).where(ran.c.place.in_([half, most]))


def _take(part: Part, place: int, number: int, duration: int) -> None:
    half, most = (at_rank(share, number) for share in SHARES)
    if place == half:
        part.p50_ms = duration
    if place == most:
        part.p95_ms = duration


def _unfinished(connection: Connection, org: str) -> dict[str, int]:
    queries = {status: ExecutionQuery(orgs=[org], statuses=[status]) for status in UNFINISHED}
    return {status: count(connection, query, MOST_OPEN) for status, query in queries.items()}


def _ticks(connection: Connection, query: OverviewQuery) -> Mapping[str, int]:
    newest = (
        select(ticks.c.outcome)
        .where(
            ticks.c.org == query.org,
            ticks.c.scheduled_for >= micros_of(query.since),
            ticks.c.scheduled_for < micros_of(query.until),
        )
        .order_by(ticks.c.scheduled_for.desc())
        .limit(MOST_TICKS)
        .subquery()
    )
    found = connection.execute(select(newest.c.outcome, func.count()).group_by(newest.c.outcome))
    return {row[0]: row[1] for row in found}
