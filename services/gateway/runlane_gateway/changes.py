"""Writes to the directory: compare-and-set, audited, seen by this gateway's own copy at once. Used by the doors.

A door gets its `ChangesBy` from `parts.changes_by`: whatever it writes honours the request's `If-Match` and
`If-None-Match` and is in the audit trail.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import msgspec

from runlane.audit import Audit, target_of
from runlane.contracts.directory import Entry
from runlane.directory import Directory
from runlane.errors import Conflict, StateConflict
from runlane.ids import new_execution_id
from runlane.ports import DirectoryStore

from .conditions import NO_CONDITION, Condition

_T = TypeVar("_T", bound=Entry)

_ROUNDS = 10
_SEEN_SECONDS = 1.0


class Changes:
    """Writes entries of the directory for all doors."""

    def __init__(self, store: DirectoryStore, directory: Directory) -> None:
        self._store, self.directory = store, directory
        self._awaited: dict[str, asyncio.Future[None]] = {}
        directory.on_change(self._seen)

    def by(self, audit: Audit, condition: Condition = NO_CONDITION) -> "ChangesBy":
        """The same on behalf of somebody."""
        return ChangesBy(self, audit, condition)

    async def write(self, key: str, entry: Entry | None, expect: int) -> None:
        """Write an entry over exactly that revision (0: there is none), or remove it where `entry` is None.

        Returns once this gateway's copy has it. Raises `StateConflict`, `BusUnavailable`.
        """
        if entry is None:
            gone = self.next_change(key)
            await self._store.delete(key, expect=expect)
            if key in self.directory.revisions:
                await at_most(gone)
            return
        value = msgspec.json.encode(entry)
        revision = await self._store.put(key, value, expect=expect)
        if self.directory.revisions.get(key, 0) < revision:
            self.directory.apply(key, value, revision)

    def next_change(self, key: str) -> "asyncio.Future[None]":
        """Done when this gateway's copy of an entry changes."""
        if key not in self._awaited:
            self._awaited[key] = asyncio.get_running_loop().create_future()
        return self._awaited[key]

    async def caught_up(self, key: str, revision: int) -> None:
        """Wait until this gateway's copy has seen a revision that a caller knows of, a second at most."""
        while self.directory.revisions.get(key, 0) < revision:
            if not await at_most(self.next_change(key)):
                return

    def _seen(self, key: str) -> None:
        future = self._awaited.pop(key, None)
        if future is not None:
            future.set_result(None)


class ChangesBy:
    """Changes on behalf of one caller, under the condition that the request makes."""

    def __init__(self, changes: Changes, audit: Audit, condition: Condition) -> None:
        self._changes, self._directory = changes, changes.directory
        self._audit, self._condition = audit, condition

    def check(self, key: str) -> None:
        """Raises `PreconditionFailed` when an entry is not as the caller demands, before anything is changed."""
        self._condition.check(self._directory.revisions.get(key))

    def unconditional(self) -> "ChangesBy":
        """The same for further entries of the same request: its condition is about the first one."""
        return ChangesBy(self._changes, self._audit, NO_CONDITION)

    async def put(self, key: str, entry: Entry, *, expect: int | None = None) -> None:
        """Write an entry. With `expect`, only over that revision, else `StateConflict`.

        Raises `PreconditionFailed`, `Conflict` when others keep writing, `BusUnavailable`.
        """
        if expect is None:
            await self._move(key, lambda: entry)
            return
        self.check(key)
        await self._write(key, entry, expect, new_execution_id())

    async def change(self, key: str, known: Callable[[], _T | None], changed: Callable[[_T | None], _T]) -> _T:
        """Write `changed(known())` over exactly what it was made from; raises what `put` raises."""
        made: list[_T] = []

        def make() -> Entry:
            made.append(changed(known()))
            return made[-1]

        await self._move(key, make)
        return made[-1]

    async def delete(self, key: str) -> None:
        """Remove an entry; one that is not there is no error, unless the caller made it a condition."""
        await self._move(key, lambda: None)

    async def _move(self, key: str, make: Callable[[], Entry | None]) -> None:
        entry_id = new_execution_id()
        await self._changes.caught_up(key, self._condition.newest)
        for _ in range(_ROUNDS):
            revision = self._directory.revisions.get(key)
            self._condition.check(revision)
            entry, next_change = make(), self._changes.next_change(key)
            try:
                await self._write(key, entry, revision or 0, entry_id)
            except StateConflict:
                await at_most(next_change)
            else:
                return
        raise Conflict("Somebody else is changing this; try again.")

    async def _write(self, key: str, entry: Entry | None, expect: int, entry_id: str) -> None:
        before = self._directory.entry(key)
        if entry is None and not expect:
            # Not there as far as is known here; another gateway may just have made it, and then the store objects.
            await self._changes.write(key, None, 0)
            return
        action = "delete" if entry is None else "update" if expect else "create"
        target = target_of(key, entry or before)
        async with self._audit.record(action, target, before, entry, entry_id):
            await self._changes.write(key, entry, expect)


async def at_most(change: "asyncio.Future[None]") -> bool:
    """Wait for a change, a second at most; whether it came."""
    await asyncio.wait({change}, timeout=_SEEN_SECONDS)
    return change.done()
