"""Writes to the directory, seen by this gateway's own copy at once. Used by the doors that change it."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from runlane.contracts.directory import Entry
from runlane.directory import Directory
from runlane.errors import Conflict, StateConflict
from runlane.ports import DirectoryStore

_T = TypeVar("_T", bound=Entry)

_ROUNDS = 5
_SEEN_SECONDS = 1.0
_SEEN_STEP = 0.01


class Changes:
    """Changes entries of the directory."""

    def __init__(self, store: DirectoryStore, directory: Directory) -> None:
        self._store, self._directory = store, directory

    async def put(self, key: str, entry: Entry, *, expect: int | None = None) -> None:
        """Write an entry. Raises `StateConflict`, `BusUnavailable`."""
        value = msgspec.json.encode(entry)
        revision = await self._store.put(key, value, expect=expect)
        if self._directory.revisions.get(key, 0) < revision:
            self._directory.apply(key, value, revision)

    async def change(self, key: str, known: Callable[[], _T | None], changed: Callable[[_T | None], _T]) -> _T:
        """Write `changed(known())` over exactly what it was made from; raises `Conflict` when others keep writing."""
        for _ in range(_ROUNDS):
            revision = self._directory.revisions.get(key, 0)
            entry = changed(known())
            try:
                await self.put(key, entry, expect=revision)
            except StateConflict:
                await self._seen(key, lambda now, old=revision: now != old)
                continue
            return entry
        raise Conflict("Somebody else is changing this; try again.")

    async def delete(self, key: str) -> None:
        """Remove an entry; returns once this gateway's copy is without it."""
        await self._store.delete(key)
        await self._seen(key, lambda now: now == 0)

    async def _seen(self, key: str, expected: Callable[[int], bool]) -> None:
        """Wait, for a second at most, until our copy of the key has the expected revision (0: it is gone)."""
        changed = asyncio.Event()
        forget = self._directory.on_change(lambda _: changed.set())
