"""The audit trail in every record store: what is told later holds, pages, filters, retention."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runlane.adapters.memory_store import MemoryRecordStore
from runlane.adapters.sql.store import open_record_store
from runlane.contracts.audit import AuditQuery
from runlane.contracts.encoding import encode
from runlane.contracts.events import AuditData, Audited
from runlane.contracts.requests import Caller
from runlane.errors import ValidationError
from runlane.ports import RecordStore, Stored
from tests.support.memory_bus import START

ALL = AuditQuery(orgs=None)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RecordStore]:
    if request.param == "memory":
        yield MemoryRecordStore()
        return
    url = f"sqlite:///{tmp_path / 'records.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with open_record_store(url, migrate=True) as opened:
        yield opened


def audited(number: int, org: str = "acme", **data: Any) -> Audited:
    known: dict[str, Any] = {
        "actor": Caller("key1", "ann@acme.test", "Ann"),
        "action": "update",
        "kind": "config",
        "key": "region",
        "outcome": "done",
    }
    return Audited(
        id=f"{number}:x",
        source="/test",
        subject=f"entry{number}",
        time=START + timedelta(minutes=number),
        organization=org,
        data=AuditData(**known | data),
    )


def stored(*events: Audited, first: int = 1) -> list[Stored]:
    return [Stored("runlane.audit.acme", first + n, encode(event), START) for n, event in enumerate(events)]


async def ids(store: RecordStore, query: AuditQuery) -> list[str]:
    return [entry.id for entry in (await store.audit(query)).items]


async def test_an_entry_is_kept_as_it_was_told(store: RecordStore) -> None:
    told = audited(1, before={"value": 1}, after={"value": [None, "ü"]}, address="10.0.0.1", agent="x", request_id="r")
    await store.apply(stored(told))
    (entry,) = (await store.audit(ALL)).items
    assert (entry.id, entry.org, entry.at, entry.actor) == ("entry1", "acme", told.time, told.data.actor)
    assert (entry.before, entry.after, entry.reason) == ({"value": 1}, {"value": [None, "ü"]}, None)
    assert (entry.address, entry.agent, entry.request_id) == ("10.0.0.1", "x", "r")


async def test_the_outcome_replaces_the_intention_whatever_comes_first(store: RecordStore) -> None:
    intended, done = stored(audited(1, outcome="intended"), audited(1, outcome="failed", reason="Conflict"))
    await store.apply([intended])
    assert (await store.audit(ALL)).items[0].outcome == "intended"
    await store.apply([done])
    await store.apply([intended, done])
    await store.apply([intended])
    (entry,) = (await store.audit(ALL)).items
    assert (entry.outcome, entry.reason) == ("failed", "Conflict")


async def test_entries_are_found_by_organisation_actor_kind_action_key_and_time(store: RecordStore) -> None:
    await store.apply(
        stored(
            audited(1),
            audited(2, org="globex"),
            audited(3, actor=Caller("key2")),
            audited(4, kind="secrets", key="token"),
            audited(5, action="delete"),
        )
    )
    assert await ids(store, ALL) == ["entry5", "entry4", "entry3", "entry2", "entry1"]
    assert await ids(store, AuditQuery(orgs=["globex"])) == ["entry2"]
    assert await ids(store, AuditQuery(orgs=[])) == []
    assert await ids(store, AuditQuery(orgs=["acme"], actor="key2")) == ["entry3"]
    assert await ids(store, AuditQuery(orgs=None, kind="secrets")) == ["entry4"]
    assert await ids(store, AuditQuery(orgs=None, key="token")) == ["entry4"]
    assert await ids(store, AuditQuery(orgs=None, action="delete")) == ["entry5"]
    minutes = timedelta(minutes=1)
    assert await ids(store, AuditQuery(orgs=None, since=START + 2 * minutes, until=START + 4 * minutes)) == [
        "entry3",
        "entry2",
    ]


async def test_pages_follow_each_other_without_gap_or_repetition(store: RecordStore) -> None:
    await store.apply(stored(*(audited(number) for number in range(7))))
    seen: list[str] = []
    query: AuditQuery | None = AuditQuery(orgs=["acme"], limit=3)
    while query is not None:
        page = await store.audit(query)
        seen += [entry.id for entry in page.items]
        query = None if page.next is None else AuditQuery(orgs=["acme"], limit=3, after=page.next)
    assert seen == [f"entry{number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize("cursor", ["", "%%%", "WzFd", "bnVsbA"])
async def test_a_cursor_that_is_none_is_refused(store: RecordStore, cursor: str) -> None:
    with pytest.raises(ValidationError):
        await store.audit(AuditQuery(orgs=None, after=cursor))


async def test_old_entries_are_removed_and_executions_are_not_theirs_to_remove(store: RecordStore) -> None:
    await store.apply(stored(*(audited(number) for number in range(5))))
    assert await store.prune(START + timedelta(days=1)) == 0
    assert await store.prune_audit(START + timedelta(minutes=3), limit=2) == 2
    assert await store.prune_audit(START + timedelta(minutes=3)) == 1
    assert await ids(store, ALL) == ["entry4", "entry3"]
