"""An executor over a real nats-server, and a client that submits as a gateway would: for tests of the executor."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.sealing import generate_master_key
from runlane.service import end_task
from runlane.settings import Settings
from runlane_executor.app import open_room
from runlane_executor.intake import Intake
from tests.support.executor_client import Client

WORKFLOWS = Path(__file__).parents[1] / "e2e" / "workflows"
KEY = generate_master_key()


@pytest.fixture
def executor_settings(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, workflows=WORKFLOWS, master_key=KEY, stop_grace=1.0)


@pytest.fixture
async def intake(bus: NatsBus, executor_settings: Settings) -> AsyncIterator[Intake]:
    async with open_room(executor_settings) as room:
        running = asyncio.create_task(room.run())
        yield room
        await end_task(running)


@pytest.fixture
def caller(bus: NatsBus, executor_settings: Settings) -> Client:
    return Client(bus, executor_settings)
