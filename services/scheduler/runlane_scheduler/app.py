"""The scheduler's composition root: the only module here that names an adapter. `runlane serve scheduler` runs it."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.clock import SystemClock
from runlane.directory import Directory
from runlane.service import Room, serve
from runlane.settings import Settings

from .outbound import Outbound
from .posting import Poster
from .scheduler import Scheduler


class SchedulerRoom:
    """Schedules, and deliveries to subscriptions: what the engine does without being asked."""

    def __init__(self, scheduler: Scheduler, outbound: Outbound) -> None:
        self._scheduler, self._outbound = scheduler, outbound

    async def run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._scheduler.run())
            both.create_task(self._outbound.run())

    async def drain(self) -> None:
        await asyncio.gather(self._scheduler.drain(), self._outbound.drain())

    def problems(self) -> Mapping[str, str]:
        return self._scheduler.problems()


@asynccontextmanager
async def open_room(settings: Settings) -> AsyncIterator[Room]:
    """A scheduler over NATS that knows the directory and how far every schedule got.

    Raises `ConfigurationError` when there is no master key: addresses and secrets of subscriptions are sealed.
    """
    clock, sealer = SystemClock(), settings.sealer()
    async with aclosing(Poster(settings.integration_hosts())) as poster, open_bus(settings, name="scheduler") as bus:
        store = NatsDirectoryStore(bus)
        directory = await Directory().follow(store)
        scheduler = await Scheduler.open(bus, directory, clock, name=secrets.token_hex(4))
        yield SchedulerRoom(scheduler, Outbound(bus, store, directory, sealer, clock, poster))


def main() -> None:
    """Run the scheduler until SIGTERM."""
    serve("scheduler", open_room)
