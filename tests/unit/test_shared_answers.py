"""Answers that several wait for are worked out once, and kept for a moment."""

import asyncio
from contextlib import suppress

import pytest

from runlane_gateway.shared_answers import SharedAnswers


class Source:
    """Answers with how often it was asked, once `gate` is open."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()
        self.broken = False

    async def ask(self, key: str) -> int:
        self.asked += 1
        await self.gate.wait()
        if self.broken:
            raise ValueError(key)
        return self.asked


async def test_those_who_ask_at_once_share_an_answer_also_when_the_first_goes() -> None:
    source = Source()
    answers = SharedAnswers(source.ask, 60)
    first, second = asyncio.create_task(answers.get("a")), asyncio.create_task(answers.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    with suppress(asyncio.CancelledError):
        await first
    source.gate.set()
    assert await second == await answers.get("a") == source.asked == 1


async def test_an_answer_that_is_too_old_is_asked_for_again() -> None:
    source = Source()
    source.gate.set()
    answers = SharedAnswers(source.ask, -1)
    assert [await answers.get("a"), await answers.get("a")] == [1, 2]


async def test_a_failure_is_told_and_not_kept() -> None:
    source = Source()
    source.gate.set()
    source.broken = True
    answers = SharedAnswers(source.ask, 60)
    with pytest.raises(ValueError, match="a"):
        await answers.get("a")
    source.broken = False
    assert await answers.get("a") == 2


async def test_no_more_answers_are_kept_than_there_is_room_for() -> None:
    source = Source()
    source.gate.set()
    answers = SharedAnswers(source.ask, 60)
    for number in range(300):
        await answers.get(str(number))
    assert await answers.get("299") == 300
    assert await answers.get("0") == 301
