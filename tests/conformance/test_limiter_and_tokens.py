"""What every `Limiter` and every `TokenStore` must do, in memory or shared."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import Struct

from runlane.adapters.memory_limiter import MemoryLimiter
from runlane.adapters.memory_tokens import MemoryTokens
from runlane.adapters.shared import Shared, open_shared
from runlane.clock import ManualClock
from runlane.ports import Allowance, Budget, Limiter, TokenStore
from runlane.settings import Settings
from tests.support.redis import Redis

START = datetime(2026, 1, 1, tzinfo=UTC)
#: One a minute, so that what passes while a test runs on Redis's own clock is little of a step.
MINUTE = 60.0
BUDGET = Budget(per_minute=1, burst=3)


class World(Struct):
    """Limits and tokens, as one process or another has them, and time for them."""

    here: Shared
    there: Shared
    let_pass: Callable[[float], None]

    @property
    def limiter(self) -> Limiter:
        return self.here.limiter

    @property
    def tokens(self) -> TokenStore:
        return self.here.tokens


@pytest.fixture(params=["memory", "redis"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock(START)
    if request.param == "memory":
        async with open_shared(Settings(data_dir=tmp_path), clock) as shared:
            yield World(shared, shared, lambda seconds: clock.set(clock.now() + timedelta(seconds=seconds)))
        return
    url, server = request.getfixturevalue("redis_url"), request.getfixturevalue("redis_server")
    assert isinstance(server, Redis)
    settings = Settings(data_dir=tmp_path, redis_url=url)
    async with open_shared(settings, clock, 20) as here, open_shared(settings, clock, 20) as there:
        yield World(here, there, server.let_pass)
        # What Redis did not answer was answered from memory, and says nothing of Redis.
        assert (here.degraded(), there.degraded()) == ({}, {})


async def minutes(world: World, times: int, within: float = 60) -> list[int | None]:
    """The waits of so many reservations."""
    waits = [await world.limiter.reserve("a|v", BUDGET, within * MINUTE) for _ in range(times)]
    return [None if wait is None else round(wait / MINUTE) for wait in waits]


async def test_a_bucket_gives_its_burst_at_once_and_then_one_by_one(world: World) -> None:
    assert await minutes(world, 6) == [0, 0, 0, 1, 2, 3]


async def test_a_bucket_fills_up_again_but_not_beyond_its_burst(world: World) -> None:
    await minutes(world, 3)
    world.let_pass(MINUTE)
    assert await minutes(world, 1) == [0]
    world.let_pass(60 * MINUTE)
    assert await minutes(world, 4) == [0, 0, 0, 1]


async def test_what_would_take_too_long_takes_nothing(world: World) -> None:
    assert await minutes(world, 6, within=1.5) == [0, 0, 0, 1, None, None]
    assert await minutes(world, 1) == [2]


async def test_organisations_do_not_share_a_bucket(world: World) -> None:
    await minutes(world, 3)
    assert await world.limiter.reserve("b|v", BUDGET, 0) == 0


async def test_more_than_the_burst_may_be_taken_when_the_bucket_is_full(world: World) -> None:
    assert await world.limiter.reserve("a|v", BUDGET, 60 * MINUTE, 20) == 0
    assert await minutes(world, 1) == [18]


async def test_one_is_taken_while_there_is_one_and_then_it_says_when(world: World) -> None:
    got = [await world.limiter.take("a", BUDGET) for _ in range(5)]
    assert [allowance.left for allowance in got] == [2, 1, 0, 0, 0]
    assert [round(allowance.wait / MINUTE) for allowance in got] == [0, 0, 0, 1, 1]
    assert [round(allowance.full_in / MINUTE) for allowance in got] == [1, 2, 3, 3, 3]
    world.let_pass(MINUTE)
    assert (await world.limiter.take("a", BUDGET)).wait == 0


async def test_several_are_taken_all_or_none_and_more_than_there_may_be_when_it_is_full(world: World) -> None:
    assert (await world.limiter.take("a", BUDGET, 10)).wait == 0
    got = await world.limiter.take("a", BUDGET)
    assert (got.left, round(got.wait / MINUTE), round(got.full_in / MINUTE)) == (0, 8, 10)
    await world.limiter.take("b", BUDGET)
    refused = await world.limiter.take("b", BUDGET, 3)
    assert (refused.left, round(refused.wait / MINUTE)) == (2, 1)
    assert (await world.limiter.take("b", BUDGET, 2)).wait == 0


async def test_those_who_ask_at_once_get_no_more_than_there_is(world: World) -> None:
    fast = Budget(per_minute=1, burst=50)
    asked = [shared.limiter.take("a", fast) for _ in range(50) for shared in (world.here, world.there)]
    got: list[Allowance] = await asyncio.gather(*asked)
    assert sum(allowance.wait == 0 for allowance in got) == 50


async def test_a_token_is_there_until_its_time_is_over(world: World) -> None:
    assert await world.tokens.get("a") is None
    await world.tokens.put("a", b"sealed", 10 * MINUTE)
    await world.tokens.put("b", b"other", 100 * MINUTE)
    assert (await world.there.tokens.get("a"), await world.tokens.get("b")) == (b"sealed", b"other")
    world.let_pass(10 * MINUTE)
    assert (await world.tokens.get("a"), await world.tokens.get("b")) == (None, b"other")


async def test_a_token_is_replaced_and_dropped(world: World) -> None:
    await world.tokens.put("a", b"old", 10 * MINUTE)
    await world.tokens.put("a", b"new", 10 * MINUTE)
    assert await world.tokens.get("a") == b"new"
    await world.tokens.drop("a", b"new")
    await world.tokens.drop("a", b"new")
    assert await world.tokens.get("a") is None


async def test_dropping_a_token_leaves_the_one_that_came_after_it(world: World) -> None:
    await world.tokens.put("a", b"refused", 10 * MINUTE)
    await world.there.tokens.put("a", b"fresh", 10 * MINUTE)
    await world.tokens.drop("a", b"refused")
    assert await world.tokens.get("a") == b"fresh"


async def test_what_is_over_takes_no_room_for_ever() -> None:
    clock = ManualClock(START)
    tokens, limiter = MemoryTokens(clock), MemoryLimiter(clock)
    for n in range(10_000):
        await tokens.put(f"t{n}", b"x", 1)
        await limiter.reserve(f"l{n}", BUDGET, 60)
    clock.set(START + timedelta(seconds=90))
    await tokens.put("one", b"more", 1)
    assert await limiter.reserve("one more", BUDGET, 60) == 0
    assert (len(tokens._kept), len(limiter._full_at)) == (1, 1)


async def test_what_is_over_leaves_redis_by_itself(world: World, redis_server: Redis) -> None:
    if world.here.link is None:
        return  # memory: the test above
    await world.limiter.take("a", BUDGET)
    await world.tokens.put("a", b"sealed", MINUTE)
    world.let_pass(2 * MINUTE)
    assert {key for key in redis_server.contents() if b"look" not in key} == set()
