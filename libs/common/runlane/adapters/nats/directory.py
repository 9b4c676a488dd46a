"""`ports.DirectoryStore` over a JetStream key-value bucket."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.puller import NatsDelivery
from runlane.contracts.subjects import DIRECTORY_PREFIX, DIRECTORY_STREAM
from runlane.errors import BusUnavailable, StateConflict
from runlane.ports import Stored


class NatsDirectoryStore:
    """See `ports.DirectoryStore`. A change is tried for `patience` seconds."""

    def __init__(self, bus: NatsBus, patience: float = 5.0) -> None:
        self._bus, self._patience = bus, patience

    async def put(self, key: str, value: bytes, *, expect: int | None = None) -> int:
        try:
            return await self._store(key, value, {}, expect)
        except StateConflict:
            # A key that was removed has no value, yet its marker has a revision.
            marker = await self._last(key) if expect == 0 else None
            if marker is None or marker.payload:
                raise
            return await self._store(key, value, {}, marker.sequence)

    async def delete(self, key: str, *, expect: int | None = None) -> None:
        if expect == 0:
            # Nothing to remove, and no marker to leave behind, if it is so.
            found = await self._last(key)
            if found is not None and found.payload:
                raise StateConflict
            return
        await self._store(key, b"", {"KV-Operation": "PURGE", "Nats-Rollup": "sub"}, expect)

    async def _last(self, key: str) -> Stored | None:
        try:
            async with asyncio.timeout(self._patience):
                return await self._bus.last(DIRECTORY_STREAM, DIRECTORY_PREFIX + key)
        except TimeoutError:
            raise BusUnavailable("The message broker did not answer a read in time.") from None

    async def _store(self, key: str, value: bytes, headers: dict[str, str], expect: int | None) -> int:
        headers["Nats-Msg-Id"] = uuid.uuid4().hex
        if expect is not None:
            headers["Nats-Expected-Last-Subject-Sequence"] = str(expect)
        return await self._bus.publisher.store(DIRECTORY_PREFIX + key, value, headers, self._patience)

    async def watch(self, changed: Callable[[str, bytes | None, int], None]) -> None:
        loaded: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        seen = 0

        def heard(delivery: NatsDelivery) -> None:
            nonlocal seen
            if delivery.sequence > seen:
                seen = delivery.sequence
                gone = delivery.headers is not None and "KV-Operation" in delivery.headers
                changed(delivery.subject[len(DIRECTORY_PREFIX) :], None if gone else delivery.payload, seen)
            if delivery.pending == 0 and not loaded.done():
                loaded.set_result(None)

        def config() -> dict[str, Any]:
            everything = {"filter_subject": f"{DIRECTORY_PREFIX}>"}
            if seen:
                return {**everything, "deliver_policy": "by_start_sequence", "opt_start_seq": seen + 1}
            return {**everything, "deliver_policy": "last_per_subject"}

        if await self._bus.follow(DIRECTORY_STREAM, config, heard):
            await loaded
