"""What only PostgreSQL can do wrong: be away, refuse, be written to by two."""

import asyncio

import pytest

from runlane.adapters.sql.store import open_record_store
from runlane.contracts.records import ExecutionQuery
from runlane.errors import ConfigurationError, StoreUnavailable
from tests.support.eventually import eventually
from tests.support.memory_bus import Story, stored
from tests.support.postgresql import Postgresql


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://runlane:hush@127.0.0.1:1/records", "cannot be reached"),
        ("postgresql://runlane:hush@{server}/nowhere", "refuses us"),
    ],
)
async def test_a_database_that_cannot_be_used_is_said_without_its_password(
    postgresql_server: Postgresql, url: str, reason: str
) -> None:
    with pytest.raises(StoreUnavailable, match=reason) as problem:
        async with open_record_store(url.format(server=f"127.0.0.1:{postgresql_server.port}"), migrate=True):
            pass
    assert "hush" not in str(problem.value)


async def test_an_address_without_a_database_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ConfigurationError):
        async with open_record_store("postgresql://runlane@127.0.0.1"):
            pass


async def test_two_that_migrate_at_once_make_one_schema(postgresql_url: str) -> None:
    async def opened() -> None:
        async with open_record_store(postgresql_url, migrate=True) as store:
            await store.ping()

    await asyncio.gather(*(opened() for _ in range(4)))


async def test_two_recorders_that_fold_the_same_events_at_once_leave_each_once(postgresql_url: str) -> None:
    stories = [Story(f"e{number}") for number in range(40)]
    events = stored([event for it in stories for event in (it.queued(), it.started(), it.traced(it.log("x")))])
    async with (
        open_record_store(postgresql_url, migrate=True) as one,
        open_record_store(postgresql_url) as other,
    ):
        halves = [events[::2], events[1::2], events, events[::-1]]
        await asyncio.gather(*(store.apply(half) for store in (one, other) for half in halves))
        page = await one.find(ExecutionQuery(orgs=None, limit=100))
        assert len(page.items) == 40
        for item in page.items:
            record = await other.get(item.org, item.execution_id)
            assert record is not None
            assert len(record.trace) == 1


async def test_a_store_whose_server_was_away_answers_again(postgresql_server: Postgresql, postgresql_url: str) -> None:
    async with open_record_store(postgresql_url, migrate=True) as store:
        await store.apply(stored([Story("before").queued()]))
        postgresql_server.kill()
        try:
            with pytest.raises(StoreUnavailable):
                await store.apply(stored([Story("meanwhile").queued()], 2))
        finally:
            postgresql_server.start()

        async def applied() -> bool:
            try:
                await store.apply(stored([Story("after").queued()], 3))
            except StoreUnavailable:
                return False
            return True

        await eventually(applied)
        assert {it.execution_id for it in (await store.find(ExecutionQuery(orgs=None))).items} == {"before", "after"}
