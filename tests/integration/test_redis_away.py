"""Redis that dies, hangs or refuses: limits and tokens go on in memory, say so, and are shared again afterwards."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from runlane.adapters.shared import Shared, open_shared
from runlane.clock import SystemClock
from runlane.errors import ConfigurationError
from runlane.ports import Budget
from runlane.sealing import Sealer
from runlane.settings import Settings
from tests.support.containers import Servers
from tests.support.eventually import eventually
from tests.support.redis import Redis, RedisServer

BUDGET = Budget(per_minute=1, burst=2)


@pytest.fixture
def server(servers: Servers) -> Iterator[Redis]:
    """One that a test may kill."""
    server = servers.redis()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
async def shared(server: Redis, tmp_path: Path) -> AsyncIterator[Shared]:
    async with open_shared(Settings(data_dir=tmp_path, redis_url=server.url), SystemClock()) as opened:
        await eventually(lambda: not opened.degraded())
        yield opened


async def take(shared: Shared, times: int) -> int:
    """How many of so many were there."""
    async with asyncio.timeout(20):
        return sum([(await shared.limiter.take("a", BUDGET)).wait == 0 for _ in range(times)])


async def test_a_redis_that_dies_leaves_limits_to_this_process_until_it_is_back(server: Redis, shared: Shared) -> None:
    assert await take(shared, 3) == 2
    server.kill()
    assert await take(shared, 3) == 2, "its own buckets are full"
    await eventually(lambda: "cannot be reached" in shared.degraded().get("redis", ""))
    await eventually(lambda: REGISTRY.get_sample_value("runlane_redis_away") == 1)
    server.start()
    await eventually(lambda: not shared.degraded())
    await eventually(lambda: REGISTRY.get_sample_value("runlane_redis_away") == 0)
    assert await take(shared, 3) == 2, "the new one knows nothing of the old one's"


async def test_a_redis_that_hangs_keeps_nobody_waiting(server: Redis, shared: Shared) -> None:
    server.pause()
    assert await take(shared, 3) == 2
    await shared.tokens.put("t", b"sealed", 60)
    assert await shared.tokens.get("t") == b"sealed"
    await eventually(lambda: "does not answer" in shared.degraded().get("redis", ""))
    server.resume()
    await eventually(lambda: not shared.degraded())
    assert await shared.tokens.get("t") is None, "Redis was never told"


async def test_while_it_is_away_the_log_says_so_once(server: Redis, shared: Shared) -> None:
    before = REGISTRY.get_sample_value("runlane_redis_fallbacks_total") or 0
    with capture_logs() as told:
        server.kill()
        await eventually(lambda: shared.degraded())
        await take(shared, 50)
        await eventually(lambda: told)
        server.start()
        await eventually(lambda: len(told) > 1)
    assert [line["event"].split(":")[0] for line in told] == ["Redis is away", "Redis is back"]
    assert (REGISTRY.get_sample_value("runlane_redis_fallbacks_total") or 0) >= before + 50


async def test_a_service_starts_without_redis_and_finds_it_later(server: Redis, tmp_path: Path) -> None:
    server.kill()
    async with open_shared(Settings(data_dir=tmp_path, redis_url=server.url), SystemClock()) as shared:
        assert "redis" in shared.degraded()
        assert await take(shared, 3) == 2
        server.start()
        await eventually(lambda: not shared.degraded())


async def test_a_redis_that_takes_no_writes_counts_as_away(server: Redis, shared: Shared) -> None:
    assert shared.link is not None
    await shared.link.client.config_set("maxmemory", "1")
    assert await take(shared, 3) == 2
    await eventually(lambda: "memory is full" in shared.degraded().get("redis", ""))
    await shared.link.client.config_set("maxmemory", "0")
    await eventually(lambda: not shared.degraded())


async def test_a_wrong_password_is_told_without_it(tmp_path: Path) -> None:
    server = RedisServer("--requirepass", "right")
    server.start()
    try:
        url = server.url.replace("//", "//:wrong-hush@")
        with capture_logs() as told:
            async with open_shared(Settings(data_dir=tmp_path, redis_url=url), SystemClock()) as shared:
                assert "refuses our user or password" in shared.degraded()["redis"]
        assert told
        assert "hush" not in str(told)
        right = server.url.replace("//", "//:right@")
        async with open_shared(Settings(data_dir=tmp_path, redis_url=right), SystemClock()) as shared:
            await eventually(lambda: not shared.degraded())
    finally:
        server.remove()


@pytest.mark.parametrize("url", ["hush", "http://hush", "redis://hush:port/x"])
async def test_a_url_that_is_none_ends_the_service_without_showing_it(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="RUNLANE_REDIS_URL is not") as refused:
        async with open_shared(Settings(data_dir=tmp_path, redis_url=url), SystemClock()):
            pass
    assert "hush" not in str(refused.value)


async def test_redis_never_sees_a_token_in_plain(server: Redis, shared: Shared) -> None:
    await shared.tokens.put("token|acme|graph", Sealer(bytes(32)).seal(b"eyJ-plain-token", "token|acme|graph"), 60)
    held = server.contents()
    assert b"runlane:token:token|acme|graph" in held
    assert b"eyJ-plain-token" not in b"".join([*held, *held.values()])
