"""The audit trail in SQL: rows of `audit`, and pages of them. Plain functions of a connection."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, select, tuple_

from runlane.contracts.audit import AuditEntry, AuditPage, AuditQuery, audit_entry_of
from runlane.contracts.events import Audited
from runlane.contracts.requests import Caller

from .cursors import read_cursor, write_cursor
from .moments import micros_of, moment_of
from .puts import Put
from .tables import audit

PUT_AUDIT = Put(audit, "replace older")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_caller = msgspec.json.Decoder(Caller)


def audit_row(sequence: int, event: Audited) -> tuple[Any, ...]:
    """A row of `audit`, in the order of its columns."""
    it = audit_entry_of(event)
    return (
        it.id,
        it.org,
        micros_of(it.at),
        it.actor.id,
        _encode(it.actor),
        it.action,
        it.kind,
        it.key,
        it.outcome,
        None if it.before is None else _encode(it.before),
        None if it.after is None else _encode(it.after),
        it.reason,
        it.address,
        it.agent,
        it.request_id,
        sequence,
    )


def list_audit(connection: Connection, query: AuditQuery) -> AuditPage:
    """A page of the audit trail, newest first."""
    place = (audit.c.at, audit.c.id)
    statement = select(audit).order_by(*(column.desc() for column in place)).limit(query.limit + 1)
    wanted = {"actor": query.actor, "action": query.action, "kind": query.kind, "key": query.key}
    statement = statement.where(*(audit.c[name] == value for name, value in wanted.items() if value is not None))
    if query.orgs is not None:
        statement = statement.where(audit.c.org.in_(query.orgs))
    if query.since is not None:
        statement = statement.where(audit.c.at >= micros_of(query.since))
    if query.until is not None:
        statement = statement.where(audit.c.at < micros_of(query.until))
    if query.after is not None:
        micros, (last,) = read_cursor(query.after, 1)
        statement = statement.where(tuple_(*place) < (micros, last))
    found = connection.execute(statement).all()
    items = [_entry(row) for row in found[: query.limit]]
    more = len(found) > query.limit
    return AuditPage(items, write_cursor(micros_of(items[-1].at), items[-1].id) if more else None)


def prune_audit(connection: Connection, before: datetime, limit: int) -> int:
    """Delete some entries of before then; how many."""
    old = select(audit.c.id).where(audit.c.at < micros_of(before)).order_by(audit.c.at).limit(limit)
    return connection.execute(delete(audit).where(audit.c.id.in_(old))).rowcount


def _entry(row: Sequence[Any]) -> AuditEntry:
    return AuditEntry(
        id=row[0],
        org=row[1],
        at=moment_of(row[2]),
        actor=_caller.decode(row[4]),
        action=row[5],
        kind=row[6],
        key=row[7],
        outcome=row[8],
        before=None if row[9] is None else _decode(row[9]),
        after=None if row[10] is None else _decode(row[10]),
        reason=row[11],
        address=row[12],
        agent=row[13],
        request_id=row[14],
    )
