"""The record store while it is not there yet: the recorder may migrate it after a gateway has started."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from runlane.contracts.audit import AuditPage, AuditQuery
from runlane.contracts.overview import Overview, OverviewQuery
from runlane.contracts.records import ExecutionPage, ExecutionQuery, Record, TickPage, TickQuery
from runlane.contracts.webhooks import DeliveryPage, DeliveryQuery, WebhookDelivery
from runlane.errors import ConfigurationError, StoreUnavailable
from runlane.ports import RecordStore, Stored
from runlane.telemetry import logger

_log = logger(__name__)

_PING_SECONDS = 2.0
#: What is not there yet is mostly being made at this moment, by a recorder that started together with this gateway.
_FIRST_PAUSE_SECONDS = 0.1
_SLOW_SECONDS = 5.0

OpenStore = Callable[[], AbstractAsyncContextManager[RecordStore]]


class LateStore:
    """A `RecordStore` that raises `StoreUnavailable` until there is one. `problem` is what was wrong last, or None."""

    def __init__(self) -> None:
        self._opened: RecordStore | None = None
        self.problem: str | None = "not opened yet"

    async def keep(self, open_store: OpenStore) -> None:
        """Open the store, trying for ever, then look after it from time to time; ends only by being cancelled."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                async with open_store() as opened:
                    self._opened = opened
                    await self._watch()
            except (StoreUnavailable, ConfigurationError) as problem:
                self._note(problem.message)
            finally:
                self._opened = None
            await asyncio.sleep(pause)
            pause = min(_PING_SECONDS, 2 * pause)

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_SLOW_SECONDS):
                    await self._store().ping()
                self._note(None)
            except StoreUnavailable as problem:
                self._note(problem.message)
            except TimeoutError:
                self._note("it does not answer")
            await asyncio.sleep(_PING_SECONDS)

    def _note(self, problem: str | None) -> None:
        if problem != self.problem:
            _log.info("record store", problem=problem)
        self.problem = problem

    def _store(self) -> RecordStore:
        if self._opened is None:
            raise StoreUnavailable(f"The record store cannot answer: {self.problem}.")
        return self._opened

    async def apply(self, events: Sequence[Stored]) -> None:
        await self._store().apply(events)

    async def get(self, org: str, execution_id: str) -> Record | None:
        return await self._store().get(org, execution_id)

    async def find(self, query: ExecutionQuery) -> ExecutionPage:
        return await self._store().find(query)

    async def count(self, query: ExecutionQuery, most: int) -> int:
        return await self._store().count(query, most)

    async def overview(self, query: OverviewQuery) -> Overview:
        return await self._store().overview(query)

    async def ticks(self, query: TickQuery) -> TickPage:
        return await self._store().ticks(query)

    async def audit(self, query: AuditQuery) -> AuditPage:
        return await self._store().audit(query)

    async def deliveries(self, query: DeliveryQuery) -> DeliveryPage:
        return await self._store().deliveries(query)

    async def delivery(self, org: str, workflow: str, delivery_id: str) -> WebhookDelivery | None:
        return await self._store().delivery(org, workflow, delivery_id)

    async def prune(self, before: datetime, limit: int = 1000) -> int:
        return await self._store().prune(before, limit)

    async def prune_audit(self, before: datetime, limit: int = 1000) -> int:
        return await self._store().prune_audit(before, limit)

    async def ping(self) -> None:
        await self._store().ping()


@asynccontextmanager
async def late_store(open_store: OpenStore) -> AsyncIterator[LateStore]:
    """A store that opens itself in the background."""
    store = LateStore()
    keeping = asyncio.create_task(store.keep(open_store), name="record store")
    try:
        yield store
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
