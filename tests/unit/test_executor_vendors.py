"""What executions share in the intake: one fetch of a token at a time, per organisation, whatever becomes of it."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Struct

from runlane.adapters.memory_limiter import MemoryLimiter
from runlane.adapters.memory_tokens import MemoryTokens
from runlane.clock import ManualClock
from runlane.ports import Budget
from runlane.sealing import Sealer
from runlane_executor import vendors
from runlane_executor.frames import BudgetAnswer, BudgetAsked, TokenAnswer, TokenAsked, TokenFetched
from runlane_executor.vendors import VendorDesk
from tests.support.eventually import eventually

START = datetime(2026, 1, 1, tzinfo=UTC)


class Watched(MemoryTokens):
    """Shows what it was given."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.given: dict[str, bytes] = {}

    async def put(self, key: str, sealed: bytes, seconds: float) -> None:
        self.given[key] = sealed
        await super().put(key, sealed, seconds)


class Desk:
    """A desk, with a pipe that remembers what was said to it."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.tokens = Watched(self.clock)
        self.desk = VendorDesk(self.tokens, MemoryLimiter(self.clock), Sealer(bytes(32)))
        self.said: dict[int, Struct] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._calls = 0

    def send(self, frame: TokenAnswer | BudgetAnswer) -> None:
        self.said[frame.call] = frame

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def ask(self, execution: str, org: str = "acme", refused: str | None = None) -> int:
        self._calls += 1
        asked = TokenAsked(self._calls, execution, "graph", refused)
        self.desk.heard(asked, org, self, self._background)  # type: ignore[arg-type]  # all that it is asked for
        return self._calls

    def fetched(self, execution: str, token: str | None, org: str = "acme", seconds: float = 100) -> None:
        frame = TokenFetched(execution, "graph", token, seconds)
        self.desk.heard(frame, org, self, self._background)  # type: ignore[arg-type]

    async def answer(self, call: int) -> str | None:
        await eventually(lambda: call in self.said)
        found = self.said[call]
        assert isinstance(found, TokenAnswer)
        return found.value

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_one_fetches_and_the_others_get_what_it_fetched(desk: Desk) -> None:
    first = desk.ask("e1")
    assert await desk.answer(first) is None
    others = [desk.ask(f"e{n}") for n in range(2, 6)]
    await desk.settle()
    assert not set(others) & set(desk.said)
    desk.fetched("e1", "t1")
    assert [await desk.answer(call) for call in others] == ["t1"] * 4


async def test_organisations_have_tokens_of_their_own(desk: Desk) -> None:
    assert await desk.answer(desk.ask("e1", "acme")) is None
    desk.fetched("e1", "t1", "acme")
    assert await desk.answer(desk.ask("e2", "other")) is None


async def test_a_failed_fetch_is_the_next_ones_to_do(desk: Desk) -> None:
    assert await desk.answer(desk.ask("e1")) is None
    second, third = desk.ask("e2"), desk.ask("e3")
    await desk.settle()
    desk.fetched("e1", None)
    assert await desk.answer(second) is None
    assert third not in desk.said
    desk.fetched("e2", "t2")
    assert await desk.answer(third) == "t2"


async def test_an_execution_that_ends_over_its_fetch_leaves_it_to_the_next(desk: Desk) -> None:
    assert await desk.answer(desk.ask("e1")) is None
    second = desk.ask("e2")
    await desk.settle()
    desk.desk.over("e1")
    assert await desk.answer(second) is None


async def test_an_execution_that_is_run_again_does_not_wait_for_itself(desk: Desk) -> None:
    assert await desk.answer(desk.ask("e1")) is None
    assert await desk.answer(desk.ask("e1")) is None
    waiting = desk.ask("e2")
    desk.fetched("e1", "t1")
    assert await desk.answer(waiting) == "t1"


async def test_one_that_waited_and_was_stopped_does_not_end_anothers_fetch(desk: Desk) -> None:
    assert await desk.answer(desk.ask("e1")) is None
    waiting = desk.ask("e2")
    await desk.settle()
    desk.fetched("e3", None)
    await desk.settle()
    assert waiting not in desk.said
    desk.fetched("e1", "t1")
    assert await desk.answer(waiting) == "t1"


async def test_whoever_has_waited_long_enough_fetches_for_itself(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendors, "_FETCH_SECONDS", 0.02)
    assert await desk.answer(desk.ask("e1")) is None
    assert await desk.answer(desk.ask("e2")) is None
    desk.fetched("e2", "t2")
    assert await desk.answer(desk.ask("e3")) == "t2"


async def test_a_refused_token_is_forgotten_and_fetched_once(desk: Desk) -> None:
    assert await desk.answer(desk.ask("e1")) is None
    desk.fetched("e1", "old")
    assert await desk.answer(desk.ask("e2", refused="old")) is None
    late = desk.ask("e3", refused="old")
    await desk.settle()
    assert late not in desk.said
    desk.fetched("e2", "new")
    assert await desk.answer(late) == "new"
    assert await desk.answer(desk.ask("e4", refused="old")) == "new"


async def test_a_token_is_kept_until_it_ends_and_sealed(desk: Desk) -> None:
    assert await desk.answer(desk.ask("e1")) is None
    desk.fetched("e1", "the-token", seconds=100)
    assert await desk.answer(desk.ask("e2")) == "the-token"
    assert b"the-token" not in b"".join(desk.tokens.given.values())
    desk.clock.set(START + timedelta(seconds=101))
    assert await desk.answer(desk.ask("e3")) is None


async def test_a_token_sealed_with_another_key_counts_as_none(desk: Desk) -> None:
    await desk.tokens.put("token|acme|graph", Sealer(b"x" * 32).seal(b"t", "token|acme|graph"), 100)
    assert await desk.answer(desk.ask("e1")) is None


async def test_a_store_that_fails_leaves_executions_to_fetch_for_themselves(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise ConnectionError

    for name in ("get", "put"):
        monkeypatch.setattr(desk.tokens, name, fail)
    assert await desk.answer(desk.ask("e1")) is None
    desk.fetched("e1", "t1")
    assert await desk.answer(desk.ask("e2")) is None


async def test_budgets_are_counted_by_organisation_and_vendor(desk: Desk) -> None:
    async def reserve(call: int, org: str, vendor: str) -> float | None:
        asked = BudgetAsked(call, "e1", vendor, Budget(60, 1), 60, 1)
        desk.desk.heard(asked, org, desk, desk._background)  # type: ignore[arg-type]
        await eventually(lambda: call in desk.said)
        answer = desk.said[call]
        assert isinstance(answer, BudgetAnswer)
        return answer.wait

    assert await reserve(1, "acme", "msgraph") == 0
    assert await reserve(2, "acme", "msgraph") == 1
    assert await reserve(3, "acme", "halopsa") == 0
    assert await reserve(4, "other", "msgraph") == 0
