"""Fixtures for every test: a clean environment, and a real nats-server per session."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.topology import start_afresh
from runlane.settings import Settings
from tests.support.containers import FORCED, Servers
from tests.support.nats import NatsServer
from tests.support.postgresql import Postgresql
from tests.support.redis import Redis

_OURS = ("RUNLANE_NATS_SERVER", "RUNLANE_POSTGRESQL_BIN", "RUNLANE_REDIS_SERVER", FORCED)


@pytest.fixture(autouse=True, scope="session")
def _clean_environment() -> None:
    for name in [name for name in os.environ if name.startswith("RUNLANE_") and name not in _OURS]:
        del os.environ[name]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Commands that a test calls as functions settle what is logged; the next test must not find that."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def settings(nats_server: NatsServer, tmp_path: Path) -> Settings:
    return Settings(nats_url=nats_server.url, data_dir=tmp_path, queue_max_bytes=256 * 1024**2, drain_delay=0)


@pytest.fixture
async def bus(settings: Settings, nats_server: NatsServer) -> AsyncIterator[NatsBus]:
    """A connected bus over empty streams. A test that stopped the server and failed leaves it to the next one going."""
    async with open_bus(settings, "test") as opened:
        await start_afresh(opened, settings)
        try:
            yield opened
        finally:
            nats_server.resume()


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Servers:
    """Makes PostgreSQL and Redis, in containers or as processes."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{text}", file=sys.stderr)

    return Servers(say)


@pytest.fixture(scope="session")
def postgresql_server(servers: Servers) -> Iterator[Postgresql]:
    server = servers.postgresql()
    try:
        server.make()
        yield server
    finally:
        server.remove()


@pytest.fixture
def postgresql_url(postgresql_server: Postgresql) -> str:
    """A new, empty database."""
    return postgresql_server.create_database()


@pytest.fixture(scope="session")
def redis_server(servers: Servers) -> Iterator[Redis]:
    server = servers.redis()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    """An empty Redis."""
    redis_server.clear()
    return redis_server.url
