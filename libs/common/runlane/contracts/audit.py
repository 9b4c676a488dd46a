"""The audit trail as it is read: who changed what, when and from where. Events of it are `events.Audited`."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from runlane.contracts.events import Audited, AuditOutcome
from runlane.contracts.requests import Caller


class AuditEntry(Struct, frozen=True, kw_only=True):
    """One change. `intended` for good means that nobody knows any more whether it took place."""

    id: str
    org: str
    at: datetime
    actor: Caller
    action: str
    kind: str
    key: str
    outcome: AuditOutcome
    before: Any = None
    after: Any = None
    reason: str | None = None
    address: str | None = None
    agent: str | None = None
    request_id: str | None = None


class AuditQuery(Struct, frozen=True, kw_only=True):
    """Which entries, newest first. `orgs` None means all (only for who may see all). `after` is a page's `next`."""

    orgs: list[str] | None
    actor: str | None = None
    action: str | None = None
    kind: str | None = None
    key: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: str | None = None
    limit: int = 50


class AuditPage(Struct, frozen=True):
    items: list[AuditEntry]
    next: str | None


def audit_entry_of(event: Audited) -> AuditEntry:
    """The entry that an event tells of."""
    data = event.data
    return AuditEntry(
        id=event.subject,
        org=event.organization,
        at=event.time,
        actor=data.actor,
        action=data.action,
        kind=data.kind,
        key=data.key,
        outcome=data.outcome,
        before=data.before,
        after=data.after,
        reason=data.reason,
        address=data.address,
        agent=data.agent,
        request_id=data.request_id,
    )
