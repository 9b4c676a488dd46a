"""Writes to the directory, seen by this gateway's own copy at once. Used by the doors that change it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from runlane.contracts.directory import Entry
from runlane.directory import Directory
from runlane.errors import Conflict, StateConflict
from runlane.ports import DirectoryStore

_T = TypeVar("_T", bound=Entry)

_ROUNDS = 5
_SEEN_SECONDS = 1.0


class Changes:
    """Changes entries of the directory."""

    def __init__(self, store: DirectoryStore, directory: Directory) -> None:
        self._store, self._directory = store, directory
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}
        directory.on_change(self._seen)

    async def put(self, key: str, entry: Entry, *, expect: int | None = None) -> None:
        """Write an entry. Raises `StateConflict`, `BusUnavailable`."""
        value = msgspec.json.encode(entry)
        revision = await self._store.put(key, value, expect=expect)
        if self._directory.revisions.get(key, 0) < revision:
            self._directory.apply(key, value, revision)

    async def change(self, key: str, known: Callable[[], _T | None], changed: Callable[[_T | None], _T]) -> _T:
        """Write `changed(known())` over exactly what it was made from; raises `Conflict` when others keep writing."""
        for _ in range(_ROUNDS):
            next_change = self._next_change(key)
            entry = changed(known())
            try:
                # Without a revision it is written whatever is there: for a deleted key the store would refuse 0.
                await self.put(key, entry, expect=self._directory.revisions.get(key))
            except StateConflict:
                await _at_most(next_change)
            else:
                return entry
        raise Conflict("Somebody else is changing this; try again.")

    async def delete(self, key: str) -> None:
        """Remove an entry; returns once this gateway's copy is without it."""
        next_change = self._next_change(key)
        await self._store.delete(key)
        if key in self._directory.revisions:
            await _at_most(next_change)

    def _next_change(self, key: str) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(key, []).append(future)
        return future

    def _seen(self, key: str) -> None:
        for future in self._awaited.pop(key, ()):
            if not future.done():
                future.set_result(None)


async def _at_most(change: "asyncio.Future[None]") -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(change, _SEEN_SECONDS)
