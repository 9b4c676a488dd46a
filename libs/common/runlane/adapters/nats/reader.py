"""Reads stored messages directly from a stream, without a consumer (JetStream direct get, ADR-31).

In a cluster any replica answers that, and may not have the latest yet. There the leader is asked first what the last
message is, and a replica that does not know it is asked again.
"""

import asyncio
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct
from nats.aio.msg import Msg

from runlane.adapters.nats.connection import Connection
from runlane.errors import BusUnavailable
from runlane.ports import Stored

_READ_SECONDS = 3.0
#: How long a replica may take to have what the leader has.
_LAG_SECONDS = 2.0
_LAG_STEP = 0.02
_NO_MESSAGE = 10037


class _Message(Struct):
    subject: str
    seq: int
    time: datetime
    data: bytes = b""
    hdrs: bytes = b""


class _Problem(Struct):
    err_code: int = 0
    description: str = ""


class _Answer(Struct):
    """Of `STREAM.MSG.GET`: what the stream's leader has."""

    message: _Message | None = None
    error: _Problem | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode


class Reader:
    """Direct reads over one connection. `clustered`: there are several replicas of each stream."""

    def __init__(self, connection: Connection, *, clustered: bool = False) -> None:
        self._connection, self._clustered = connection, clustered

    async def last(self, stream: str, filter_: str) -> Stored | None:
        if self._clustered:
            return await self._leaders_last(stream, filter_)
        found = await self.newest(stream, filter_)
        return max(found, key=lambda stored: stored.sequence, default=None)

    async def newest(self, stream: str, filter_: str) -> list[Stored]:
        return await self._up_to_date(stream, filter_, {"multi_last": [filter_]})

    async def at(self, stream: str, sequence: int) -> bool:
        """Whether there is a message of this sequence (still)."""
        found = await self._get(stream, {"seq": sequence, "batch": 1})
        return bool(found) and found[0].sequence == sequence

    async def read(self, stream: str, filter_: str, after: int, limit: int) -> list[Stored]:
        request = {"seq": after + 1, "batch": limit, "next_by_subj": filter_}
        return await self._up_to_date(stream, filter_, request, after, limit)

    async def _up_to_date(
        self, stream: str, filter_: str, request: dict[str, Any], after: int = 0, limit: int = 0
    ) -> list[Stored]:
        """What a replica answers that has all that the leader had when it was asked."""
        if not self._clustered:
            return await self._get(stream, request)
        leader = await self._leaders_last(stream, filter_)
        deadline = asyncio.get_running_loop().time() + _LAG_SECONDS
        while True:
            found = await self._get(stream, request)
            latest = max((stored.sequence for stored in found), default=after)
            if leader is None or latest >= leader.sequence or (limit and len(found) >= limit):
                return found
            if asyncio.get_running_loop().time() > deadline:
                raise BusUnavailable("A replica of the message broker does not have what its leader has.")
            await asyncio.sleep(_LAG_STEP)

    async def _leaders_last(self, stream: str, filter_: str) -> Stored | None:
        answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()
        reply, token = self._connection.expect(lambda message: None if answer.done() else answer.set_result(message))
        try:
            request = msgspec.json.encode({"last_by_subj": filter_})
            self._connection.post(f"$JS.API.STREAM.MSG.GET.{stream}", request, reply)
            told = _decode_answer((await asyncio.wait_for(answer, _READ_SECONDS)).data)
        except TimeoutError:
            raise BusUnavailable("The message broker did not answer a read in time.") from None
        except msgspec.DecodeError:
            raise BusUnavailable("The message broker has no leader for a stream now.") from None
        finally:
            self._connection.forget(token)
        if told.message is None:
            if told.error is not None and told.error.err_code != _NO_MESSAGE:
                raise BusUnavailable(f"The message broker refused a read: {told.error.description}.")
            return None
        return _stored_by_leader(told.message)

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


def _stored_by_leader(message: _Message) -> Stored:
    # NATS/1.0\r\nName: value\r\n…
    lines = (line.partition(":") for line in message.hdrs.decode("utf-8", "replace").split("\r\n"))
    headers = {name: value.strip() for name, _, value in lines}
    return Stored(message.subject, message.seq, message.data, message.time, headers.get("Nats-Msg-Id", ""))


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
