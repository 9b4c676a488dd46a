"""`ports.RecordStore` in memory: what `fold` says, with nothing in between. The oracle of the conformance tests."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from msgspec.structs import fields, replace

from runlane.contracts.audit import AuditEntry, AuditPage, AuditQuery, audit_entry_of
from runlane.contracts.events import Audited, Delivered, Ticked, decode_event
from runlane.contracts.overview import (
    MOST_ENDED,
    MOST_OPEN,
    MOST_TICKS,
    UNFINISHED,
    Overview,
    OverviewQuery,
    Part,
    percentile,
)
from runlane.contracts.records import (
    ExecutionPage,
    ExecutionQuery,
    Record,
    Summary,
    Tick,
    TickPage,
    TickQuery,
    fold,
    tick_of,
)
from runlane.contracts.webhooks import DeliveryPage, DeliveryQuery, WebhookDelivery, delivery_of
from runlane.ports import Stored

from .sql.cursors import read_cursor, write_cursor
from .sql.moments import micros_of

_T = TypeVar("_T")

#: Where a row stands among others: a time in microseconds, then names.
_Place = tuple[int, list[str]]


class MemoryRecordStore:
    """See `ports.RecordStore`. Forgets everything with its process."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], Record] = {}
        self._ticks: dict[tuple[str, str, datetime], tuple[int, Tick]] = {}
        self._audit: dict[str, tuple[int, AuditEntry]] = {}
        self._deliveries: dict[str, tuple[int, WebhookDelivery]] = {}

    async def apply(self, events: Sequence[Stored]) -> None:
        """Raises `msgspec.DecodeError` when one of them is no event; then nothing was applied."""
        for sequence, event in [(stored.sequence, decode_event(stored.payload)) for stored in events]:
            if isinstance(event, Ticked):
                self._apply_tick(sequence, tick_of(event))
                continue
            if isinstance(event, Audited):
                self._apply_audit(sequence, audit_entry_of(event))
                continue
            if isinstance(event, Delivered):
                self._apply_delivery(sequence, delivery_of(event))
                continue
            key = (event.organization, event.subject)
            folded = fold(self._records.get(key), sequence, event)
            assert folded is not None  # what has no record was dealt with above
            self._records[key] = folded

    async def get(self, org: str, execution_id: str) -> Record | None:
        found = self._records.get((org, execution_id))
        return found and replace(found, transitions=list(found.transitions), trace=list(found.trace))

    async def find(self, query: ExecutionQuery) -> ExecutionPage:
        """Raises `ValidationError` (field `after`) for a cursor that is none."""
        found = (_summary(record) for record in self._records.values() if _asked_for(record, query))
        items, following = _page(found, _execution_place, query.after, 1, query.limit)
        return ExecutionPage(items, following)

    async def count(self, query: ExecutionQuery, most: int) -> int:
        return min(most, sum(_asked_for(record, query) for record in self._records.values()))

    async def overview(self, query: OverviewQuery) -> Overview:
        of_org = [record for record in self._records.values() if record.org == query.org]
        ended = [(record.completed_at, record) for record in of_org if record.completed_at]
        inside = sorted(((at, one) for at, one in ended if query.since <= at < query.until), key=lambda pair: pair[0])
        parts: list[list[Record]] = [[] for _ in range(query.parts)]
        for at, record in inside[-MOST_ENDED:]:
            parts[min(query.parts - 1, (micros_of(at) - micros_of(query.since)) // query.part_micros)].append(record)
        known = [tick for _, tick in self._ticks.values() if tick.org == query.org]
        ticks = [tick for tick in known if query.since <= tick.scheduled_for < query.until]
        newest = sorted(ticks, key=lambda tick: tick.scheduled_for)[-MOST_TICKS:]
        statuses: Counter[str] = Counter(record.status for record in of_org)
        return Overview(
            parts=[_part(part) for part in parts],
            whole=_part([record for part in parts for record in part]),
            unfinished={status: min(MOST_OPEN, statuses[status]) for status in UNFINISHED},
            ticks=dict(Counter(tick.outcome for tick in newest)),
            complete=len(inside) < MOST_ENDED and len(ticks) < MOST_TICKS,
        )

    async def ticks(self, query: TickQuery) -> TickPage:
        """Raises `ValidationError` (field `after`) for a cursor that is none."""
        found = (
            tick
            for _, tick in self._ticks.values()
            if (query.orgs is None or tick.org in query.orgs) and query.workflow in (None, tick.workflow)
        )
        items, following = _page(found, _tick_place, query.after, 2, query.limit)
        return TickPage(items, following)

    async def audit(self, query: AuditQuery) -> AuditPage:
        """Raises `ValidationError` (field `after`) for a cursor that is none."""
        found = (entry for _, entry in self._audit.values() if _audit_asked_for(entry, query))
        items, following = _page(found, _audit_place, query.after, 1, query.limit)
        return AuditPage(items, following)

    async def deliveries(self, query: DeliveryQuery) -> DeliveryPage:
        """Raises `ValidationError` (field `after`) for a cursor that is none."""
        found = (
            delivery
            for _, delivery in self._deliveries.values()
            if (delivery.org, delivery.workflow) == (query.org, query.workflow)
            and query.outcome in (None, delivery.outcome)
        )
        items, following = _page(found, _delivery_place, query.after, 1, query.limit)
        return DeliveryPage(items, following)

    async def delivery(self, org: str, workflow: str, delivery_id: str) -> WebhookDelivery | None:
        _, found = self._deliveries.get(delivery_id, (0, None))
        return found if found is not None and (found.org, found.workflow) == (org, workflow) else None

    async def prune(self, before: datetime, limit: int = 1000) -> int:
        ended = [key for key, record in self._records.items() if record.completed_at and record.completed_at < before]
        due = [key for key in self._ticks if key[2] < before]
        for execution in ended[:limit]:
            del self._records[execution]
        for tick in due[:limit]:
            del self._ticks[tick]
        old = [id_ for id_, (_, delivery) in self._deliveries.items() if delivery.at < before][:limit]
        for id_ in old:
            del self._deliveries[id_]
        return len(ended[:limit]) + len(due[:limit]) + len(old)

    async def prune_audit(self, before: datetime, limit: int = 1000) -> int:
        old = [id_ for id_, (_, entry) in self._audit.items() if entry.at < before][:limit]
        for id_ in old:
            del self._audit[id_]
        return len(old)

    async def ping(self) -> None:
        return

    def _apply_tick(self, sequence: int, tick: Tick) -> None:
        key = (tick.org, tick.workflow, tick.scheduled_for)
        known = self._ticks.get(key)
        if known is None or known[0] < sequence:
            self._ticks[key] = sequence, tick

    def _apply_delivery(self, sequence: int, delivery: WebhookDelivery) -> None:
        known = self._deliveries.get(delivery.id)
        if known is None or known[0] < sequence:
            self._deliveries[delivery.id] = sequence, delivery

    def _apply_audit(self, sequence: int, entry: AuditEntry) -> None:
        known = self._audit.get(entry.id)
        if known is None or known[0] < sequence:
            self._audit[entry.id] = sequence, entry


def _part(records: Sequence[Record]) -> Part:
    durations = sorted(record.duration_ms for record in records if record.duration_ms is not None)
    part = Part(p50_ms=percentile(durations, 50), p95_ms=percentile(durations, 95))
    for record in records:
        part.ended[record.status] += 1
    return part


def _asked_for(record: Record, query: ExecutionQuery) -> bool:
    queued_at = record.queued_at
    return (
        (query.orgs is None or record.org in query.orgs)
        and query.workflow in (None, record.workflow)
        and (not query.statuses or record.status in query.statuses)
        and query.trigger in (None, record.trigger.kind)
        and (query.tag is None or query.tag in record.tags)
        and (query.error is None or (record.failure is not None and record.failure.error == query.error))
        and (query.queued_from is None or (queued_at is not None and queued_at >= query.queued_from))
        and (query.queued_before is None or (queued_at is not None and queued_at < query.queued_before))
    )


def _audit_asked_for(entry: AuditEntry, query: AuditQuery) -> bool:
    return (
        (query.orgs is None or entry.org in query.orgs)
        and query.actor in (None, entry.actor.id)
        and query.action in (None, entry.action)
        and query.kind in (None, entry.kind)
        and query.key in (None, entry.key)
        and (query.since is None or entry.at >= query.since)
        and (query.until is None or entry.at < query.until)
    )


def _audit_place(entry: AuditEntry) -> _Place:
    return micros_of(entry.at), [entry.id]


def _delivery_place(delivery: WebhookDelivery) -> _Place:
    return micros_of(delivery.at), [delivery.id]


def _summary(record: Record) -> Summary:
    return Summary(**{field.name: getattr(record, field.name) for field in fields(Summary)})


def _execution_place(summary: Summary) -> _Place:
    return micros_of(summary.listed_at), [summary.execution_id]


def _tick_place(tick: Tick) -> _Place:
    return micros_of(tick.scheduled_for), [tick.org, tick.workflow]


def _page(
    found: Iterable[_T], place: Callable[[_T], _Place], after: str | None, names: int, limit: int
) -> tuple[list[_T], str | None]:
    last = None if after is None else read_cursor(after, names)
    items = sorted((item for item in found if last is None or place(item) < last), key=place, reverse=True)
    if len(items) <= limit:
        return items, None
    micros, texts = place(items[limit - 1])
    return items[:limit], write_cursor(micros, *texts)
