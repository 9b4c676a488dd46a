"""When what a caller has open ends: with its key, with its time, and not with somebody else's."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec

from runlane.clock import ManualClock
from runlane.contracts.directory import ApiKey
from runlane.directory import Directory, api_key_key
from runlane_gateway.lifetimes import Lifetimes
from runlane_gateway.principals import Principal

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def principal(key_id: str = "k1", **known: object) -> Principal:
    return Principal(key_id, key_id, None, None, frozenset(), **known)  # type: ignore[arg-type]


def put(directory: Directory, key_id: str, revision: int) -> None:
    key = ApiKey(id=key_id, secret_sha256="0" * 64, name=key_id)
    directory.apply(api_key_key(key_id), msgspec.json.encode(key), revision)


async def test_it_ends_when_the_key_changes_or_goes_and_not_when_another_does() -> None:
    directory = Directory()
    lifetimes = Lifetimes(directory, ManualClock(NOW))
    put(directory, "k1", 1)
    put(directory, "k2", 2)
    with lifetimes.of(principal()) as one, lifetimes.of(principal()) as two, lifetimes.of(principal("k2")) as other:
        directory.apply(api_key_key("k1"), None, 3)
        assert (one.is_set(), two.is_set(), other.is_set()) == (True, True, False)
        put(directory, "k2", 4)
        assert other.is_set()
    directory.apply(api_key_key("k2"), None, 5)


async def test_it_has_ended_when_the_key_went_before_it_was_opened() -> None:
    with Lifetimes(Directory(), ManualClock(NOW)).of(principal()) as ended:
        assert ended.is_set()


async def test_it_ends_when_its_time_is_over() -> None:
    lifetimes = Lifetimes(Directory(), ManualClock(NOW))
    with lifetimes.of(principal(kind="token", expires_at=NOW)) as ended:
        await asyncio.wait_for(ended.wait(), 20)
    with lifetimes.of(principal(kind="token", expires_at=NOW + timedelta(days=400_000))) as ended:
        assert not ended.is_set()
