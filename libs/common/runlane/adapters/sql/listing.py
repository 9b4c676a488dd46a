"""Finds pages of executions without looking at more of them than there are on a page, however many there are.

An index holds the executions of one organisation, or those of it in one status, in the order of pages. Where a page is
about several, a scope each, databases left to themselves read all of them and sort: here the newest of each scope is
looked up first, and then the page is put together from those scopes that can have a part in it.

Nearly all executions succeed. These have no index of their own: a page of them is one of all with few left out.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, FromClause, Select, func, literal, select, tuple_

from runlane.contracts.records import FINISHED, ExecutionPage, ExecutionQuery, Summary

from . import dialect, rows
from .cursors import read_cursor, write_cursor
from .moments import micros_of
from .tables import executions

Scope = tuple[str, str | None]

_SUCCESS = "Success"
_LONG_AGO = -(2**63)


def find(connection: Connection, query: ExecutionQuery) -> ExecutionPage:
    """A page of executions, newest first."""
    found = _found(connection, query, query.limit + 1)
    items = [Summary(**rows.summary_fields(row)) for row in found[: query.limit]]
    more = len(found) > query.limit
    return ExecutionPage(items, write_cursor(micros_of(items[-1].listed_at), items[-1].execution_id) if more else None)


def count(connection: Connection, query: ExecutionQuery, most: int) -> int:
    """How many executions match on all pages together, of which `most` are counted."""
    query, found = replace(query, after=None), 0
    for org, status in _scopes(query):
        newest = _newest_first(select(literal(1)).select_from(executions), executions, query)
        some = _within(newest, executions, query, org, status).order_by(None).limit(most - found).subquery()
        found += connection.execute(select(func.count()).select_from(some)).scalar_one()
    return found


def _found(connection: Connection, query: ExecutionQuery, count: int) -> Sequence[Any]:
    if query.orgs is None:
        return connection.execute(_of_all(query).limit(count)).all()
    scopes = _scopes(query)
    if len(scopes) > 1:
        return _of_several(connection, query, scopes, count)
    statement = _newest_first(select(executions), executions, query)
    for org, status in scopes:
        return connection.execute(_within(statement, executions, query, org, status).limit(count)).all()
    return []


def _scopes(query: ExecutionQuery) -> list[Scope]:
    statuses: set[str | None] = {*query.statuses} if _is_by_status(query) else {None}
    return sorted(product(set(query.orgs or ()), statuses), key=str)


def _is_by_status(query: ExecutionQuery) -> bool:
    return bool(query.statuses) and _SUCCESS not in query.statuses


def _of_all(query: ExecutionQuery) -> Select[Any]:
    """Over all organisations: for whoever looks after what has not ended."""
    statement = _newest_first(select(executions), executions, query)
    if query.statuses:
        statement = statement.where(executions.c.status.in_(query.statuses))
        if not FINISHED.intersection(query.statuses):
            # Says no more than the statuses do, and has an index of its own.
            statement = statement.where(executions.c.completed_at.is_(None))
    return statement


def _of_several(connection: Connection, query: ExecutionQuery, scopes: Sequence[Scope], count: int) -> Sequence[Any]:
    given = dialect.scopes(connection, scopes)
    inner = executions.alias("newest")
    newest = _within(_newest_first(select(inner.c.listed_at), inner, query), inner, query, *_names(given, query))
    head = newest.limit(1).correlate(given).scalar_subquery()
    heads = select(*_names(given, query), head.label("head")).cte("heads")
    # As many scopes as a page has rows have something as new as the last of them: nothing older is on the page.
    last = (
        select(heads.c.head).where(heads.c.head.is_not(None)).order_by(heads.c.head.desc()).offset(count - 1).limit(1)
    )
    since = func.coalesce(last.scalar_subquery(), _LONG_AGO)
    found = connection.execute(select(heads).where(heads.c.head >= since).order_by(heads.c.head)).all()
    if not found:
        return []
    given = dialect.scopes(connection, [(row[0], row[1] if _is_by_status(query) else None) for row in found])
    statement = _newest_first(dialect.rows_of(connection, inner), inner, query)
    statement = _within(statement, inner, query, *_names(given, query))
    if len(found) >= count:
        statement = statement.where(inner.c.listed_at >= found[0].head)
    together = dialect.of_each(connection, given, executions, statement.limit(count).correlate(given))
    return connection.execute(_ordered(together, together.selected_columns).limit(count)).all()


def _names(given: FromClause, query: ExecutionQuery) -> list[ColumnElement[Any]]:
    return [given.c.org, given.c.status] if _is_by_status(query) else [given.c.org]


def _within(
    statement: Select[Any], table: FromClause, query: ExecutionQuery, org: Any, status: Any = None
) -> Select[Any]:
    """Of one scope alone."""
    statement = statement.where(table.c.org == org)
    if status is not None:
        # The second says no more than the first, in the words in which the index says what it holds.
        return statement.where(table.c.status == status, table.c.status != literal(_SUCCESS, literal_execute=True))
    return statement.where(table.c.status.in_(query.statuses)) if query.statuses else statement


def _newest_first(statement: Select[Any], table: FromClause, query: ExecutionQuery) -> Select[Any]:
    """In the order of pages, from the cursor on; with every condition but organisations and statuses."""
    c = table.c
    equal = {c.workflow: query.workflow, c.trigger_kind: query.trigger, c.error: query.error}
    statement = statement.where(*(column == value for column, value in equal.items() if value is not None))
    if query.tag is not None:
        statement = statement.where(dialect.holds(c.tags, rows.tag_mark(query.tag)))
    if query.queued_from is not None or query.queued_before is not None:
        # What was queued is listed by when it was.
        statement = statement.where(c.queued_at.is_not(None))
    if query.queued_from is not None:
        statement = statement.where(c.listed_at >= micros_of(query.queued_from))
    if query.queued_before is not None:
        statement = statement.where(c.listed_at < micros_of(query.queued_before))
    if query.after is not None:
        micros, (execution_id,) = read_cursor(query.after, 1)
        statement = statement.where(tuple_(c.listed_at, c.execution_id) < (micros, execution_id))
    return _ordered(statement, c)


def _ordered(statement: Select[Any], columns: Any) -> Select[Any]:
    return statement.order_by(columns.listed_at.desc(), columns.execution_id.desc())
