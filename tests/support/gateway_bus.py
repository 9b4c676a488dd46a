"""What stands around a gateway in its tests: records in memory, an executor that does as told, a port to call."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
from msgspec import Raw

from runlane.adapters.memory_limiter import MemoryLimiter
from runlane.adapters.memory_store import MemoryRecordStore
from runlane.clock import SystemClock
from runlane.contracts import subjects
from runlane.contracts.audit import AuditPage, AuditQuery
from runlane.contracts.directory import ApiKey, Entry, Manifest, Org
from runlane.contracts.encoding import encode
from runlane.contracts.events import (
    STATE_TAILS,
    Failed,
    FailedData,
    Failure,
    Started,
    StartedData,
    StateEvent,
    Succeeded,
    SucceededData,
    Traced,
    TracedData,
    decode_event,
)
from runlane.contracts.overview import Overview, OverviewQuery
from runlane.contracts.records import ExecutionPage, ExecutionQuery, Record, Tick, TickPage, TickQuery, fold
from runlane.contracts.requests import Request, decode_request, parameters_context
from runlane.contracts.trace import TraceEntry
from runlane.contracts.webhooks import DeliveryPage, DeliveryQuery, WebhookDelivery
from runlane.directory import Directory, api_key_key, org_key, workflow_key
from runlane.errors import StateConflict, StoreUnavailable
from runlane.ports import Bus, Delivery, DirectoryStore, Limiter, Message, Stored
from runlane.sealing import Sealer
from runlane.settings import Settings
from runlane_gateway.doors import build
from runlane_gateway.gate import Gate
from runlane_gateway.parts import Outside, Parts, assemble
from runlane_gateway.server import GatewayRoom, listen

PASSWORD = "Winter2026!x"

SCHEMA = {
    "type": "object",
    "properties": {
        "email": {"type": "string"},
        "password": {"type": "string"},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "users": {"type": "array", "items": {"type": "object", "properties": {"email": {"type": "string"}}}},
        "owner": {"anyOf": [{"type": "object", "properties": {"id": {"type": "integer"}}}, {"type": "null"}]},
        "n": {"type": "integer"},
    },
    "required": ["email"],
    "additionalProperties": False,
}


class MemoryRecords:
    """A `RecordStore` that holds what it is given. `away` makes it unavailable."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}
        self.known_ticks: list[Tick] = []
        self.away = False
        self._whole = MemoryRecordStore()

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable()

    async def apply(self, events: Sequence[Stored]) -> None:
        self._check()
        for stored in events:
            event = decode_event(stored.payload)
            await self._whole.apply([stored])
            key = (event.organization, event.subject)
            record = fold(self.records.get(key), stored.sequence, event)
            if record is not None:
                self.records[key] = record

    async def get(self, org: str, execution_id: str) -> Record | None:
        self._check()
        found = self.records.get((org, execution_id))
        if found is None:
            return None
        return msgspec.structs.replace(found, trace=list(found.trace), transitions=list(found.transitions))

    async def find(self, query: ExecutionQuery) -> ExecutionPage:
        self._check()
        found = [record for record in self.records.values() if query.orgs is None or record.org in query.orgs]
        if query.statuses:
            found = [record for record in found if record.status in query.statuses]
        found.sort(key=lambda record: record.execution_id, reverse=True)
        return ExecutionPage(list(found[: query.limit]), "more" if len(found) > query.limit else None)

    async def count(self, query: ExecutionQuery, most: int) -> int:
        self._check()
        return await self._whole.count(query, most)

    async def overview(self, query: OverviewQuery) -> Overview:
        self._check()
        return await self._whole.overview(query)

    async def ticks(self, query: TickQuery) -> TickPage:
        self._check()
        return TickPage([tick for tick in self.known_ticks if tick.org in (query.orgs or [])], None)

    async def audit(self, query: AuditQuery) -> AuditPage:
        self._check()
        return AuditPage([], None)

    async def deliveries(self, query: DeliveryQuery) -> DeliveryPage:
        self._check()
        return await self._whole.deliveries(query)

    async def delivery(self, org: str, workflow: str, delivery_id: str) -> WebhookDelivery | None:
        self._check()
        return await self._whole.delivery(org, workflow, delivery_id)

    async def prune(self, before: datetime, limit: int = 1000) -> int:
        return 0

    async def ping(self) -> None:
        self._check()


class Executor:
    """Claims requests and ends them as it is told."""

    def __init__(self, bus: Bus, sealer: Sealer) -> None:
        self.bus, self.sealer = bus, sealer
        self.requests: list[Request] = []
        self.refused: list[str] = []
        self.result: object = {"done": True}
        self.failure: Failure | None = None
        self.trace: list[TraceEntry] = []
        self.silent = False  # ends executions without sending the reply
        self.holding = False  # claims, and does not end them
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        for stream in (subjects.REQUESTS, subjects.DELAYED):
            for lane in subjects.LANES:
                await self.bus.consume(stream, subjects.executors(lane), self._deliver, lambda: 100)

    def parameters(self, request: Request) -> dict[str, Any]:
        if request.sealed_parameters is None:
            return {}
        context = parameters_context(request.org, request.execution_id)
        return msgspec.json.decode(self.sealer.open(request.sealed_parameters, context), type=dict[str, Any])

    def _deliver(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._run(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, delivery: Delivery) -> None:
        request = decode_request(delivery.payload)
        now = datetime.now(UTC)
        started = StartedData(executor="stand-in", request=f"x:{delivery.sequence}", first_started_at=now)
        try:
            sequence = await self.write(request, Started(**_envelope(request, "started"), data=started), 0)
        except StateConflict:
            self.refused.append(request.execution_id)
            delivery.ack()
            return
        self.requests.append(request)
        delivery.ack()
        if not self.holding:
            await self.end(request, sequence)

    async def end(self, request: Request, sequence: int) -> None:
        event: StateEvent
        if self.failure is not None:
            data = FailedData(failure=self.failure, duration_ms=5, trace=self.trace)
            event = Failed(**_envelope(request, "failed"), data=data)
        else:
            result = Raw(msgspec.json.encode(self.result))
            event = Succeeded(
                **_envelope(request, "succeeded"), data=SucceededData(result=result, duration_ms=5, trace=self.trace)
            )
        await self.write(request, event, sequence)
        if request.reply_to is not None and not self.silent:
            self.bus.send(request.reply_to, encode(event))

    async def write(self, request: Request, event: StateEvent | Traced, expect: int) -> int:
        tail = "trace" if isinstance(event, Traced) else STATE_TAILS[type(event)]
        return await self.bus.publish(
            Message(
                subject=subjects.event(request.org, request.workflow, request.execution_id, tail),
                payload=encode(event),
                id=f"{event.id}:{expect}",
                expect_last=expect,
                expect_on=subjects.state_line(request.org, request.workflow, request.execution_id),
            )
        )

    async def tell(self, request: Request, sequence: int, name: str, *entries: TraceEntry) -> None:
        """Write trace entries of a running execution."""
        await self.write(request, Traced(**_envelope(request, name), data=TracedData(entries=list(entries))), sequence)


def _envelope(request: Request, name: str) -> dict[str, Any]:
    return {
        "id": f"{request.execution_id}:{name}",
        "source": "/stand-in",
        "subject": request.execution_id,
        "time": datetime.now(UTC),
        "organization": request.org,
        "workflow": request.workflow,
        "attempt": request.attempt,
    }


def api_key(key_id: str, org: str | None, *permissions: str, **known: Any) -> ApiKey:
    """A key whose secret is `secret-{id}`."""
    digest = hashlib.sha256(f"secret-{key_id}".encode()).hexdigest()
    return ApiKey(id=key_id, secret_sha256=digest, name=key_id, org=org, permissions=list(permissions), **known)


def manifest(name: str, **known: Any) -> Manifest:
    schema = known.pop("schema", {"type": "object"})
    return Manifest(name=name, description=name, parameters=Raw(msgspec.json.encode(schema)), version="1", **known)


async def furnish(store: DirectoryStore) -> None:
    """Two organisations, keys of every kind, workflows of every mode."""
    worker = ("canExecuteWorkflows", "canViewExecutions", "canManageExecutions")
    entries: dict[str, Entry] = {
        org_key("acme"): Org(id="acme", name="Acme", time_zone="Europe/Berlin", disabled_workflows=["banned"]),
        org_key("globex"): Org(id="globex", name="Globex"),
    }
    keys = [
        api_key("admin", None, "*", email="root@msp.com"),
        api_key("acme", "acme", *worker),
        api_key("globex", "globex", *worker),
        api_key("weak", "acme"),
        api_key("old", "acme", "*", expires_at=datetime(2020, 1, 1, tzinfo=UTC)),
        api_key("orphan", "gone", "*"),
    ]
    workflows = [
        manifest("quick", tags=["m365"]),
        manifest("checked", schema=SCHEMA),
        manifest("slow", execution_mode="async"),
        manifest("banned"),
        manifest("guarded", required_permission="canRunGuarded"),
        manifest("anywhere", requires_org=False),
        manifest("approved", requires_approval=True),
        manifest("nightly", execution_mode="scheduled", schedule="0 9 * * *", schedule_time_zone="org"),
    ]
    entries |= {api_key_key(key.id): key for key in keys}
    entries |= {workflow_key(workflow.name): workflow for workflow in workflows}
    for key, entry in entries.items():
        await store.put(key, msgspec.json.encode(entry))


class Gateway:
    """A gateway that serves on a port of its own."""

    def __init__(self, parts: Parts, gate: Gate, room: GatewayRoom, records: MemoryRecords) -> None:
        self.parts, self.gate, self.room, self.records = parts, gate, room, records

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.room.port}"

    def client(self, key_id: str | None = "acme", **headers: str) -> httpx.AsyncClient:
        """A client with that key; underscores in header names stand for hyphens."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if key_id is not None:
            given["Authorization"] = f"Bearer rl_{key_id}_secret-{key_id}"
        return httpx.AsyncClient(base_url=self.url, headers=given, timeout=20)


@asynccontextmanager
async def serving(
    settings: Settings, bus: Bus, store: DirectoryStore, limiter: Limiter | None = None
) -> AsyncIterator[Gateway]:
    """A gateway over records in memory, with limits of its own unless told otherwise."""
    directory = await Directory().follow(store)
    records, clock = MemoryRecords(), SystemClock()
    outside = Outside(bus=bus, directory=store, store=records, limiter=limiter or MemoryLimiter(clock))
    parts = assemble(settings, clock, directory, outside)
    await parts.waiters.open()
    gate = build(parts, lambda: {}, lambda: {})

    def let_go() -> None:
        parts.waiters.let_go()
        parts.records.let_go()

    room = GatewayRoom(gate, listen(settings), lambda: {}, settings.drain_grace, let_go=let_go)
    running = asyncio.create_task(room.run())
    try:
        yield Gateway(parts, gate, room, records)
    finally:
        await asyncio.wait_for(room.drain(), 10)
        await running
