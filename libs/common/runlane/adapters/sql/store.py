"""`ports.RecordStore` over SQL, and `open_record_store`, which composition roots call."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from runlane.contracts.audit import AuditPage, AuditQuery
from runlane.contracts.overview import Overview, OverviewQuery
from runlane.contracts.records import ExecutionPage, ExecutionQuery, Record, TickPage, TickQuery
from runlane.contracts.webhooks import DeliveryPage, DeliveryQuery, WebhookDelivery
from runlane.ports import Stored

from . import audit, deliveries, dialect, listing, overview, queries, schema, writes
from .database import Database


class SqlRecordStore:
    """See `ports.RecordStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def apply(self, events: Sequence[Stored]) -> None:
        """Raises `msgspec.DecodeError` too when one of them is no event; then nothing was written either."""
        await self._database.write(lambda connection: writes.apply(connection, events))

    async def get(self, org: str, execution_id: str) -> Record | None:
        return await self._database.read(lambda connection: queries.get(connection, org, execution_id))

    async def find(self, query: ExecutionQuery) -> ExecutionPage:
        """Raises `ValidationError` (field `after`) for a cursor that is none."""
        return await self._database.read(lambda connection: listing.find(connection, query))

    async def count(self, query: ExecutionQuery, most: int) -> int:
        return await self._database.read(lambda connection: listing.count(connection, query, most))

    async def overview(self, query: OverviewQuery) -> Overview:
        return await self._database.read(lambda connection: overview.summarise(connection, query))

    async def ticks(self, query: TickQuery) -> TickPage:
        """Raises `ValidationError` (field `after`) for a cursor that is none."""
        return await self._database.read(lambda connection: queries.list_ticks(connection, query))

    async def audit(self, query: AuditQuery) -> AuditPage:
        """Raises `ValidationError` (field `after`) for a cursor that is none."""
        return await self._database.read(lambda connection: audit.list_audit(connection, query))

    async def deliveries(self, query: DeliveryQuery) -> DeliveryPage:
        """Raises `ValidationError` (field `after`) for a cursor that is none."""
        return await self._database.read(lambda connection: deliveries.list_deliveries(connection, query))

    async def delivery(self, org: str, workflow: str, delivery_id: str) -> WebhookDelivery | None:
        return await self._database.read(
            lambda connection: deliveries.get_delivery(connection, org, workflow, delivery_id)
        )

    async def prune(self, before: datetime, limit: int = 1000) -> int:
        return await self._database.write(lambda connection: writes.prune(connection, before, limit))

    async def prune_audit(self, before: datetime, limit: int = 1000) -> int:
        return await self._database.write(lambda connection: audit.prune_audit(connection, before, limit))

    async def ping(self) -> None:
        await self._database.read(schema.check)


@asynccontextmanager
async def open_record_store(url: str, *, migrate: bool = False, fsync: bool = False) -> AsyncIterator[SqlRecordStore]:
    """The record store at a SQLAlchemy URL; with `migrate`, its schema is made or brought up to date first.

    `fsync`: what was applied is on disk, even when power fails. Raises `StoreUnavailable` when the schema is not there,
    `ConfigurationError` for a URL that cannot be used.
    """
    if migrate:
        await schema.migrate(url)
    database = Database(url, fsync=fsync)
    try:
        if not await asyncio.to_thread(dialect.exists, database.url):
            raise schema.missing()
        store = SqlRecordStore(database)
        await store.ping()
        yield store
    finally:
        await database.close()
