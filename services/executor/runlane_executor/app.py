"""The executor's composition root: which adapters it uses, and how its parts hang together."""

import asyncio
import contextlib
import os
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from msgspec import Struct

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.adapters.otel import open_tracer
from runlane.adapters.secrets import open_secrets
from runlane.adapters.shared import Shared, open_shared
from runlane.clock import Clock, SystemClock
from runlane.directory import Directory
from runlane.ports import DirectoryStore, SecretStore
from runlane.sealing import Sealer
from runlane.service import serve
from runlane.settings import Settings
from runlane.telemetry import logger
from runlane.tracing import Tracer
from runlane_executor.children import Children
from runlane_executor.claim import Claims
from runlane_executor.endings import Endings
from runlane_executor.intake import Intake, Limits
from runlane_executor.manifests import publish_manifests
from runlane_executor.runs import Runs, Tools
from runlane_executor.stateline import StateLine
from runlane_executor.vendors import VendorDesk

_log = logger(__name__)


class Opened(Struct, frozen=True):
    """What is there before the broker is reached."""

    sealer: Sealer
    clock: Clock
    directory: Directory
    secrets: SecretStore
    tracer: Tracer | None
    shared: Shared


@asynccontextmanager
async def open_room(settings: Settings) -> AsyncIterator[Intake]:
    """Everything an executor is made of, opened and closed in order."""
    sealer, clock = settings.sealer(), SystemClock()
    directory = Directory(sealer)
    with open_secrets(settings, directory, sealer, clock) as secrets, open_tracer("executor") as tracer:
        # What opens secrets, and where spans go, was taken from the environment by now.
        _hide_credentials_from_children()
        async with (
            open_shared(settings, clock) as shared,
            _open_intake(settings, Opened(sealer, clock, directory, secrets, tracer, shared)) as intake,
        ):
            yield intake


@asynccontextmanager
async def _open_intake(settings: Settings, opened: "Opened") -> AsyncIterator[Intake]:
    sealer, clock, directory = opened.sealer, opened.clock, opened.directory
    async with open_bus(settings, "executor") as bus:
        store = NatsDirectoryStore(bus)
        await directory.follow(store)
        line = StateLine(bus, f"executor-{uuid.uuid4().hex[:12]}")
        claims = Claims(line, clock, sealer)
        retention = timedelta(days=settings.event_retention_days)
        endings = Endings(line, claims, clock, sealer, random.random, retention)
        vendors = VendorDesk(opened.shared.tokens, opened.shared.limiter, sealer)
        grace, tracer = settings.stop_grace, opened.tracer
        tools = Tools(line, claims, endings, directory, sealer, opened.secrets, clock, grace, vendors, tracer)
        runs = Runs(tools)
        root, origin = str(settings.workflows.resolve()), settings.workflows_origin
        children = Children(
            root, origin, settings.executor_children, runs.heard, runs.died, settings.integration_hosts()
        )
        runs.children = children
        limits = Limits(settings.executor_slots, max(1.0, settings.drain_grace - 10))
        intake = Intake(bus, claims, endings, runs, clock, limits)
        intake.without = opened.shared.degraded
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


def _hide_credentials_from_children() -> None:
    """Children inherit the environment, and the settings in it hold credentials, those of Azure's identities too."""
    for name in [name for name in os.environ if name.startswith(("RUNLANE_", "AZURE_", "IDENTITY_", "MSI_", "OTEL_"))]:
        del os.environ[name]


def main() -> None:
    """Entry point `executor` of `runlane.services`."""
    serve("executor", open_room)
