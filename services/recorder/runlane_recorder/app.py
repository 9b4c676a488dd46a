"""The recorder's composition root: the only module here that names an adapter. Started by `runlane serve recorder`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.sql.store import open_record_store
from runlane.clock import SystemClock
from runlane.service import Room, serve
from runlane.settings import Settings

from .queuewatch import QueueWatch
from .recorder import Recorder
from .sweeper import Sweeper


@asynccontextmanager
async def open_room(settings: Settings) -> AsyncIterator[Room]:
    """A recorder over NATS and SQL; it brings the record store's schema up to date first."""
    fsync = settings.durability == "fsync"
    async with (
        open_record_store(settings.record_store_url, migrate=True, fsync=fsync) as store,
        open_bus(settings, name="recorder") as bus,
    ):
        records, audit = settings.record_retention_days, settings.audit_retention_days
        clock = SystemClock()
        beside = (Sweeper(bus, store, clock), QueueWatch(bus, clock))
        yield Recorder(bus, store, clock, records, audit_days=audit, beside=beside)


def main() -> None:
    """Run the recorder until SIGTERM."""
    serve("recorder", open_room)
