"""What every `Limiter` and every `TokenStore` must do, in memory or shared."""

from datetime import UTC, datetime, timedelta

import pytest

from runlane.adapters.memory_limiter import MemoryLimiter
from runlane.adapters.memory_tokens import MemoryTokens
from runlane.clock import ManualClock
from runlane.ports import Budget, Limiter, TokenStore

START = datetime(2026, 1, 1, tzinfo=UTC)
BUDGET = Budget(per_minute=60, burst=3)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture(params=["memory"])
def limiter(request: pytest.FixtureRequest, clock: ManualClock) -> Limiter:
    return {"memory": MemoryLimiter}[request.param](clock)


@pytest.fixture(params=["memory"])
def tokens(request: pytest.FixtureRequest, clock: ManualClock) -> TokenStore:
    return {"memory": MemoryTokens}[request.param](clock)


async def test_a_bucket_gives_its_burst_at_once_and_then_one_by_one(limiter: Limiter) -> None:
    assert [await limiter.reserve("a|v", BUDGET, 60) for _ in range(6)] == [0, 0, 0, 1, 2, 3]


async def test_a_bucket_fills_up_again_but_not_beyond_its_burst(limiter: Limiter, clock: ManualClock) -> None:
    for _ in range(3):
        await limiter.reserve("a|v", BUDGET, 60)
    clock.set(START + timedelta(seconds=1))
    assert await limiter.reserve("a|v", BUDGET, 60) == 0
    clock.set(START + timedelta(hours=1))
    assert [await limiter.reserve("a|v", BUDGET, 60) for _ in range(4)] == [0, 0, 0, 1]


async def test_what_would_take_too_long_takes_nothing(limiter: Limiter) -> None:
    assert [await limiter.reserve("a|v", BUDGET, 1.5) for _ in range(6)] == [0, 0, 0, 1, None, None]
    assert await limiter.reserve("a|v", BUDGET, 60) == 2


async def test_organisations_do_not_share_a_bucket(limiter: Limiter) -> None:
    for _ in range(3):
        await limiter.reserve("a|v", BUDGET, 60)
    assert await limiter.reserve("b|v", BUDGET, 60) == 0


async def test_more_than_the_burst_may_be_taken_when_the_bucket_is_full(limiter: Limiter) -> None:
    assert await limiter.reserve("a|v", BUDGET, 60, 20) == 0
    assert await limiter.reserve("a|v", BUDGET, 60) == 18


async def test_a_token_is_there_until_its_time_is_over(tokens: TokenStore, clock: ManualClock) -> None:
    assert await tokens.get("a") is None
    await tokens.put("a", b"sealed", 10)
    await tokens.put("b", b"other", 100)
    assert (await tokens.get("a"), await tokens.get("b")) == (b"sealed", b"other")
    clock.set(START + timedelta(seconds=10))
    assert (await tokens.get("a"), await tokens.get("b")) == (None, b"other")


async def test_a_token_is_replaced_and_dropped(tokens: TokenStore) -> None:
    await tokens.put("a", b"old", 10)
    await tokens.put("a", b"new", 10)
    assert await tokens.get("a") == b"new"
    await tokens.drop("a")
    await tokens.drop("a")
    assert await tokens.get("a") is None


async def test_what_is_over_takes_no_room_for_ever(tokens: TokenStore, limiter: Limiter, clock: ManualClock) -> None:
    for n in range(10_000):
        await tokens.put(f"t{n}", b"x", 1)
        await limiter.reserve(f"l{n}", BUDGET, 60)
    clock.set(START + timedelta(seconds=5))
    await tokens.put("one", b"more", 1)
    assert await limiter.reserve("one more", BUDGET, 60) == 0
    if isinstance(tokens, MemoryTokens) and isinstance(limiter, MemoryLimiter):
        assert (len(tokens._kept), len(limiter._full_at)) == (1, 1)
