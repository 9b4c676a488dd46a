"""One engine for all end-to-end tests that do not kill parts of it, and a fresh one for those that do."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.engine import Engine

WORKFLOWS = Path(__file__).parent / "workflows"


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    started = Engine(tmp_path_factory.mktemp("engine") / "data", WORKFLOWS)
    started.start()
    yield started
    started.stop()


@pytest.fixture
async def client(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with engine.client() as opened:
        yield opened


@pytest.fixture
async def admin(engine: Engine) -> AsyncIterator[httpx.AsyncClient]:
    async with engine.client(admin=True) as opened:
        yield opened


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine of this test's own, to do bad things to."""
    started = Engine(tmp_path / "data", WORKFLOWS)
    started.start()
    yield started
    started.stop()
