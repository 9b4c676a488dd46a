"""Deliveries of webhooks in SQL: rows of `deliveries`, and pages of them. Plain functions of a connection."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, select, tuple_

from runlane.contracts.events import Delivered
from runlane.contracts.webhooks import DeliveryPage, DeliveryQuery, WebhookDelivery, delivery_of

from .cursors import read_cursor, write_cursor
from .moments import micros_of, moment_of
from .puts import Put
from .tables import deliveries

PUT_DELIVERY = Put(deliveries, "replace older")


def delivery_row(sequence: int, event: Delivered) -> tuple[Any, ...]:
    """A row of `deliveries`, in the order of its columns."""
    it = delivery_of(event)
    return (
        it.id,
        it.org,
        it.workflow,
        micros_of(it.at),
        it.outcome,
        it.scheme,
        it.reason,
        it.execution_id,
        it.sender_id,
        it.size_bytes,
        it.address,
        sequence,
    )


def list_deliveries(connection: Connection, query: DeliveryQuery) -> DeliveryPage:
    """A page of a webhook's deliveries, newest first."""
    table = deliveries.c
    place = (table.at, table.id)
    statement = select(deliveries).where(table.org == query.org, table.workflow == query.workflow)
    if query.outcome is not None:
        statement = statement.where(table.outcome == query.outcome)
    if query.after is not None:
        micros, (last,) = read_cursor(query.after, 1)
        statement = statement.where(tuple_(*place) < (micros, last))
    ordered = statement.order_by(*(column.desc() for column in place)).limit(query.limit + 1)
    found = connection.execute(ordered).all()
    items = [_delivery(row) for row in found[: query.limit]]
    more = len(found) > query.limit
    return DeliveryPage(items, write_cursor(micros_of(items[-1].at), items[-1].id) if more else None)


def get_delivery(connection: Connection, org: str, workflow: str, delivery_id: str) -> WebhookDelivery | None:
    """One delivery of a webhook."""
    table = deliveries.c
    wanted = (table.id == delivery_id, table.org == org, table.workflow == workflow)
    row = connection.execute(select(deliveries).where(*wanted)).first()
    return None if row is None else _delivery(row)


def prune_deliveries(connection: Connection, before: datetime, limit: int) -> int:
    """Delete some deliveries of before then; how many."""
    table = deliveries.c
    old = select(table.id).where(table.at < micros_of(before)).order_by(table.at).limit(limit)
    return connection.execute(delete(deliveries).where(table.id.in_(old))).rowcount


def _delivery(row: Sequence[Any]) -> WebhookDelivery:
    return WebhookDelivery(
        id=row[0],
        org=row[1],
        workflow=row[2],
        at=moment_of(row[3]),
        outcome=row[4],
        scheme=row[5],
        reason=row[6],
        execution_id=row[7],
        sender_id=row[8],
        size_bytes=row[9],
        address=row[10],
    )
