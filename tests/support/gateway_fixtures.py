"""Fixtures of the gateway's tests: a `gateway`, an `executor` beside it, a `client` with a key of `acme`."""

from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from tests.support.gateway_bus import Executor, Gateway, furnish, serving


@pytest.fixture
async def gateway(settings: Settings, bus: NatsBus) -> AsyncIterator[Gateway]:
    store = NatsDirectoryStore(bus)
    await furnish(store)
    given = msgspec.structs.replace(settings, http_port=0, master_key=generate_master_key())
    async with serving(given, bus, store) as serving_gateway:
        yield serving_gateway


@pytest.fixture
async def executor(gateway: Gateway, bus: NatsBus) -> Executor:
    started = Executor(bus, gateway.parts.sealer)
    await started.start()
    return started


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client() as opened:
        yield opened
