"""Remembers the answers of a distant `ports.SecretStore` for a while, and asks once where many want the same."""

import asyncio
from collections.abc import Hashable

from runlane.clock import Clock
from runlane.ports import SecretStore, WritableSecretStore

_MOST_REMEMBERED = 10_000

#: That there is no such secret is remembered for less: whoever misses one will set it and try again.
_ABSENT_SECONDS = 5.0

_Key = tuple[str, str]


class CachedSecrets:
    """See `ports.WritableSecretStore`, where the store behind it is one. Failures are not remembered."""

    def __init__(self, store: SecretStore, clock: Clock, seconds: float) -> None:
        self._store, self._clock, self._seconds = store, clock, seconds
        self._known: dict[_Key, tuple[float, str | None]] = {}
        self._asking: dict[Hashable, asyncio.Task[str | None]] = {}

    async def get(self, org: str, name: str) -> str | None:
        key = (org, name)
        known = self._known.get(key)
        if known is not None and known[0] > self._clock.monotonic():
            return known[1]
        if key not in self._asking:
            self._asking[key] = asyncio.create_task(self._ask(key))
        # Shielded: others may wait for the same answer when this caller gives up.
        return await asyncio.shield(self._asking[key])

    async def names(self, org: str) -> list[str]:
        return await self._store.names(org)

    async def _ask(self, key: _Key) -> str | None:
        try:
            value = await self._store.get(*key)
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            seconds = self._seconds if value is not None else min(self._seconds, _ABSENT_SECONDS)
            self._known[key] = self._clock.monotonic() + seconds, value
            return value
        finally:
            self._asking.pop(key, None)


class CachedWritableSecrets(CachedSecrets):
    """The same over a store that takes changes; what was changed here is asked for anew."""

    def __init__(self, store: WritableSecretStore, clock: Clock, seconds: float) -> None:
        super().__init__(store, clock, seconds)
        self._writable = store

    async def put(self, org: str, name: str, value: str) -> None:
        await self._writable.put(org, name, value)
        self._known.pop((org, name), None)

    async def remove(self, org: str, name: str) -> None:
        await self._writable.remove(org, name)
        self._known.pop((org, name), None)
