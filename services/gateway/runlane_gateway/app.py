"""The gateway's composition root: HTTP in, requests out, records read. Started by `runlane serve gateway`."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.adapters.otel import open_tracer
from runlane.adapters.secrets import open_secrets
from runlane.adapters.shared import open_shared
from runlane.adapters.sql.store import open_record_store
from runlane.clock import SystemClock
from runlane.directory import Directory
from runlane.service import serve
from runlane.settings import Settings

from .accept import PUBLISH_SECONDS
from .doors import build
from .late_store import late_store
from .parts import Outside, Parts, assemble
from .server import GatewayRoom, listen


@asynccontextmanager
async def open_room(settings: Settings) -> AsyncIterator[GatewayRoom]:
    """A gateway over NATS and SQL that listens already; `run` serves."""
    clock = SystemClock()
    async with (
        open_bus(settings, name="gateway") as bus,
        open_shared(settings, clock) as shared,
        late_store(lambda: open_record_store(settings.record_store_url)) as store,
    ):
        directory_store = NatsDirectoryStore(bus, PUBLISH_SECONDS)
        directory = await Directory().follow(directory_store)
        with open_secrets(settings, directory, settings.sealer(), clock) as secrets, open_tracer("gateway") as tracer:
            outside = Outside(bus=bus, directory=directory_store, store=store, limiter=shared.limiter, secrets=secrets)
            parts = assemble(settings, clock, directory, outside)
            await parts.waiters.open()

            def degraded() -> Mapping[str, str]:
                records = {} if store.problem is None else {"records": store.problem}
                return {**records, **shared.degraded()}

            def problems() -> Mapping[str, str]:
                return _problems(parts, draining=gate.leaving.is_set())

            def let_go() -> None:
                parts.waiters.let_go()
                parts.records.let_go()

            gate = build(parts, problems, degraded)
            gate.tracer = tracer
            grace, delay = settings.drain_grace, settings.drain_delay
            yield GatewayRoom(gate, listen(settings), problems, grace, delay, let_go)


def _problems(parts: Parts, *, draining: bool) -> Mapping[str, str]:
    found = {} if parts.bus.connected else {"nats": "not connected"}
    return {**found, "gateway": "shutting down"} if draining else found


def main() -> None:
    """Serve until SIGTERM."""
    serve("gateway", open_room)
