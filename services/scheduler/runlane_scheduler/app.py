"""The scheduler's composition root: the only module here that names an adapter. `runlane serve scheduler` runs it."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.clock import SystemClock
from runlane.directory import Directory
from runlane.service import Room, serve
from runlane.settings import Settings

from .scheduler import Scheduler


@asynccontextmanager
async def open_room(settings: Settings) -> AsyncIterator[Room]:
    """A scheduler over NATS that knows the directory and how far every schedule got."""
    async with open_bus(settings, name="scheduler") as bus:
        directory = await Directory().follow(NatsDirectoryStore(bus))
        yield await Scheduler.open(bus, directory, SystemClock(), name=secrets.token_hex(4))


def main() -> None:
    """Run the scheduler until SIGTERM."""
    serve("scheduler", open_room)
