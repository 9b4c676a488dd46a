"""What every directory store does, run over memory and a real nats-server."""

import pytest

from runlane.adapters.memory_directory import MemoryDirectoryStore
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.errors import StateConflict
from runlane.ports import DirectoryStore
from tests.support.eventually import eventually


@pytest.fixture(params=["memory", "nats"])
def store(request: pytest.FixtureRequest) -> DirectoryStore:
    return MemoryDirectoryStore() if request.param == "memory" else NatsDirectoryStore(request.getfixturevalue("bus"))


class Watcher:
    """A copy of the store that a watch keeps."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}
        self.revisions: list[int] = []

    def changed(self, key: str, value: bytes | None, revision: int) -> None:
        self.revisions.append(revision)
        if value is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = value


async def watching(store: DirectoryStore) -> Watcher:
    watcher = Watcher()
    await store.watch(watcher.changed)
    return watcher


async def test_a_watch_begins_with_all_there_is_and_goes_on_with_every_change(store: DirectoryStore) -> None:
    await store.put("orgs.a", b"1")
    await store.put("orgs.a", b"2")
    await store.put("orgs.b", b"3")
    await store.delete("orgs.b")
    watcher = await watching(store)
    assert watcher.entries == {"orgs.a": b"2"}
    await store.put("orgs.c", b"4")
    await store.delete("orgs.a")
    await eventually(lambda: watcher.entries == {"orgs.c": b"4"}, within=20)
    assert watcher.revisions == sorted(watcher.revisions)


async def test_an_empty_store_is_watched_at_once(store: DirectoryStore) -> None:
    assert (await watching(store)).entries == {}


async def test_revisions_grow_over_all_keys(store: DirectoryStore) -> None:
    first, second, third = await store.put("a", b"1"), await store.put("b", b"1"), await store.put("a", b"1")
    assert first < second < third


async def test_a_write_over_another_revision_than_expected_is_refused(store: DirectoryStore) -> None:
    first = await store.put("a", b"1", expect=0)
    second = await store.put("a", b"2", expect=first)
    for stale in (0, first, second + 1):
        with pytest.raises(StateConflict):
            await store.put("a", b"3", expect=stale)
        with pytest.raises(StateConflict):
            await store.delete("a", expect=stale)
    assert (await watching(store)).entries == {"a": b"2"}


async def test_a_removed_key_is_new_again(store: DirectoryStore) -> None:
    first = await store.put("a", b"1", expect=0)
    await store.delete("a", expect=first)
    with pytest.raises(StateConflict):
        await store.put("a", b"2", expect=first)
    again = await store.put("a", b"2", expect=0)
    assert again > first
    with pytest.raises(StateConflict):
        await store.put("a", b"3", expect=0)
    assert (await watching(store)).entries == {"a": b"2"}


async def test_removing_what_is_not_there_is_no_error_and_tells_nobody(store: DirectoryStore) -> None:
    watcher = await watching(store)
    await store.delete("never", expect=0)
    first = await store.put("a", b"1")
    await store.delete("a", expect=first)
    await store.delete("a", expect=0)
    last = await store.put("b", b"1")
    await eventually(lambda: watcher.entries == {"b": b"1"}, within=20)
    assert (len(watcher.revisions), watcher.revisions[-1]) == (3, last)
