"""Reads stored messages directly from a stream, without a consumer (JetStream direct get, ADR-31)."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from nats.aio.msg import Msg

from runlane.adapters.nats.connection import Connection
from runlane.errors import BusUnavailable
from runlane.ports import Stored

_READ_SECONDS = 3.0


class Reader:
    """Direct reads over one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def last(self, stream: str, filter_: str) -> Stored | None:
        found = await self.newest(stream, filter_)
        return max(found, key=lambda stored: stored.sequence, default=None)

    async def newest(self, stream: str, filter_: str) -> list[Stored]:
        return await self._get(stream, {"multi_last": [filter_]})

    async def at(self, stream: str, sequence: int) -> bool:
        """Whether there is a message of this sequence (still)."""
        found = await self._get(stream, {"seq": sequence, "batch": 1})
        return bool(found) and found[0].sequence == sequence

    async def read(self, stream: str, filter_: str, after: int, limit: int) -> list[Stored]:
        return await self._get(stream, {"seq": after + 1, "batch": limit, "next_by_subj": filter_})

    async def _get(self, stream: str, request: dict[str, Any]) -> list[Stored]:
        found: list[Stored] = []
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reply, token = self._connection.expect(lambda message: _collect(message, found, done))
        try:
            self._connection.post(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request), reply)
            await asyncio.wait_for(done, _READ_SECONDS)
        except TimeoutError:
            raise BusUnavailable("The message broker did not answer a read in time.") from None
        finally:
            self._connection.forget(token)
        return found


def _collect(message: Msg, found: list[Stored], done: "asyncio.Future[None]") -> None:
    headers = message.headers or {}
    status = headers.get("Status")
    if status is None:
        found.append(stored_of(headers, message.data))
    elif not done.done():
        # 204 is the end of a batch, 404 means that there is nothing.
        if status in ("204", "404"):
            done.set_result(None)
        else:
            done.set_exception(BusUnavailable(f"The message broker refused a read: {headers.get('Description')}."))


def stored_of(headers: dict[str, str], payload: bytes) -> Stored:
    """A stored message from the headers that direct reads and republished messages carry."""
    moment = headers.get("Nats-Time-Stamp")
    return Stored(
        subject=headers["Nats-Subject"],
        sequence=int(headers["Nats-Sequence"]),
        payload=payload,
        time=datetime.fromisoformat(moment) if moment else datetime.now(UTC),
        id=headers.get("Nats-Msg-Id", ""),
    )
