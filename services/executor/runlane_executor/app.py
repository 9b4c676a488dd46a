"""The executor's composition root: which adapters it uses, and how its parts hang together."""

import asyncio
import contextlib
import os
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.clock import SystemClock
from runlane.directory import Directory
from runlane.ports import DirectoryStore
from runlane.service import serve
from runlane.settings import Settings
from runlane.telemetry import logger
from runlane_executor.children import Children
from runlane_executor.claim import Claims
from runlane_executor.endings import Endings
from runlane_executor.intake import Intake, Limits
from runlane_executor.manifests import publish_manifests
from runlane_executor.runs import Runs, Tools
from runlane_executor.stateline import StateLine

_log = logger(__name__)


@asynccontextmanager
async def open_room(settings: Settings) -> AsyncIterator[Intake]:
    """Everything an executor is made of, opened and closed in order."""
    sealer = settings.sealer()
    _hide_settings_from_children()
    clock = SystemClock()
    async with open_bus(settings, "executor") as bus:
        store = NatsDirectoryStore(bus)
        directory = await Directory().follow(store)
        line = StateLine(bus, f"executor-{uuid.uuid4().hex[:12]}")
        claims = Claims(line, clock)
        endings = Endings(line, claims, clock, random.random)
        runs = Runs(Tools(line, claims, endings, directory, sealer, clock, settings.stop_grace))
        root, origin = str(settings.workflows.resolve()), settings.workflows_origin
        children = Children(root, origin, settings.executor_children, runs.heard, runs.died)
        runs.children = children
        limits = Limits(settings.executor_slots, max(1.0, settings.drain_grace - 10))
        intake = Intake(bus, claims, endings, runs, clock, limits)
        try:
            await children.start()
            await publish_manifests(directory, store, children, origin)
            watching = asyncio.create_task(_reload_on_change(settings, directory, store, children))
            yield intake
            watching.cancel()
        finally:
            children.close()


async def _reload_on_change(
    settings: Settings, directory: Directory, store: DirectoryStore, children: Children
) -> None:
    if not settings.reload:
        return
    from watchfiles import PythonFilter, awatch

    with contextlib.suppress(asyncio.CancelledError):
        async for _ in awatch(settings.workflows, watch_filter=PythonFilter(), debounce=200):
            await children.reload()
            await publish_manifests(directory, store, children, settings.workflows_origin)
            _log.info("reloaded", workflows=len(children.manifests), failures=len(children.failures))


def _hide_settings_from_children() -> None:
    """Children inherit the environment, and the settings in it hold credentials."""
    for name in [name for name in os.environ if name.startswith("RUNLANE_")]:
        del os.environ[name]


def main() -> None:
    """Entry point `executor` of `runlane.services`."""
    serve("executor", open_room)
