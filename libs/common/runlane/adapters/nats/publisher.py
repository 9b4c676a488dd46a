"""Stores messages on streams: compare-and-set, deduplication, delayed delivery, repetition without a second copy."""

import asyncio
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from nats.aio.msg import Msg

from runlane.adapters.nats.connection import MAX_MESSAGE_BYTES, Connection
from runlane.adapters.nats.reader import Reader
from runlane.adapters.nats.wire import Headers
from runlane.errors import BusUnavailable, MessageTooLarge, StateConflict, StorageFull
from runlane.ports import Message

# Error codes of nats-server (server/errors.json).
_WRONG_LAST_SEQUENCE = frozenset({10071, 10164})
_STORAGE_FULL = frozenset({10023, 10047, 10077, 10122})

#: How long one attempt waits for its acknowledgement before the same message is sent again.
_ATTEMPT_SECONDS = 2.0
_SWEEP_SECONDS = 0.25

#: Headers are ids and subjects, of tokens of 64 characters; far more than they take is left for them.
_LONGEST_HEADERS = 64 * 1024


class _Problem(Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Problem | None = None


_decode = msgspec.json.Decoder(_Ack).decode


class _NotNow(Exception):
    """No answer, or one that says to try again."""


class Publisher:
    """Publishes with acknowledgement over one connection."""

    def __init__(self, connection: Connection, reader: Reader) -> None:
        self._connection = connection
        self._reader = reader
        self._waiting: dict[str, tuple[asyncio.Future[Msg], float]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    async def publish(self, message: Message, timeout: float) -> int:
        """See `ports.Bus.publish`."""
        return await self.store(message.subject, message.payload, _headers(message), timeout)

    async def store(self, subject: str, payload: bytes, headers: Headers, timeout: float) -> int:
        """Store with raw headers, which must hold an id: it makes a repetition harmless."""
        _check_size(payload, headers)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        pause = 0.05
        repeated = False
        while True:
            remaining = deadline - loop.time()
            try:
                ack = await self._attempt(subject, payload, headers, max(0.01, min(_ATTEMPT_SECONDS, remaining)))
                if ack.duplicate and not repeated and "Nats-Expected-Last-Subject-Sequence" in headers:
                    # A cluster looks for duplicates first, one server checks what is expected first: the same is said.
                    raise StateConflict(details={"reason": "it is there already", "stream": ack.stream})
                return ack.seq
            except _NotNow as problem:
                if loop.time() + pause >= deadline:
                    raise BusUnavailable(f"The message broker did not store a message in time ({problem}).") from None
            except StateConflict as conflict:
                mine = await self._mine(subject, headers, conflict) if repeated else None
                if mine is None:
                    raise
                return mine
            await asyncio.sleep(pause)
            pause = min(1.0, pause * 2)
            repeated = True

    async def _mine(self, subject: str, headers: Headers, conflict: StateConflict) -> int | None:
        """Whether an earlier attempt of this very publish, its acknowledgement lost, was what moved the state.

        The server checks the expected sequence before it looks for duplicates, so it refuses the repetition.
        """
        on = headers.get("Nats-Expected-Last-Subject-Sequence-Subject", subject)
        after = int(headers["Nats-Expected-Last-Subject-Sequence"])
        successor = await self._reader.read(conflict.details["stream"], on, after, 1)
        if successor and successor[0].id == headers["Nats-Msg-Id"]:
            return successor[0].sequence
        return None

    async def _attempt(self, subject: str, payload: bytes, headers: Headers, seconds: float) -> _Ack:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Msg] = loop.create_future()
        reply, token = self._connection.expect(lambda message: _resolve(answer, message))
        self._waiting[token] = (answer, loop.time() + seconds)
        if self._sweeper is None:
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)
        try:
            self._connection.post(subject, payload, reply, headers)
            return _stored(await answer)
        finally:
            self._waiting.pop(token, None)
            self._connection.forget(token)

    def _sweep(self) -> None:
        """One timer for all waiting publishes: a timer each would cost more than the publish."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for answer, expires in list(self._waiting.values()):
            if expires <= now and not answer.done():
                answer.set_exception(_NotNow("no acknowledgement"))
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep) if self._waiting else None


def _resolve(answer: asyncio.Future[Msg], message: Msg) -> None:
    if not answer.done():
        answer.set_result(message)


def _stored(message: Msg) -> _Ack:
    if message.headers is not None and message.headers.get("Status") == "503":
        raise _NotNow("no stream leader")
    ack = _decode(message.data)
    if ack.error is None:
        return ack
    if ack.error.err_code in _WRONG_LAST_SEQUENCE:
        raise StateConflict(details={"reason": ack.error.description, "stream": ack.stream})
    if ack.error.err_code in _STORAGE_FULL:
        raise StorageFull()
    if ack.error.code == 503:
        raise _NotNow(ack.error.description)
    raise BusUnavailable(f"The message broker refused a message: {ack.error.description}.")


def _headers(message: Message) -> Headers:
    headers: dict[str, str] = {"Nats-Msg-Id": message.id}
    if message.expect_last is not None:
        headers["Nats-Expected-Last-Subject-Sequence"] = str(message.expect_last)
        if message.expect_on is not None:
            headers["Nats-Expected-Last-Subject-Sequence-Subject"] = message.expect_on
    if message.deliver_at is not None:
        headers["Nats-Schedule"] = f"@at {_rfc3339(message.deliver_at)}"
        headers["Nats-Schedule-Target"] = message.deliver_to or message.subject
    return headers


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _check_size(payload: bytes, headers: Headers) -> None:
    # nats-py checks the payload alone; the server counts headers too, and a client that exceeds it is closed for good.
    if len(payload) + _LONGEST_HEADERS <= MAX_MESSAGE_BYTES:
        return
    size = len(payload) + sum(map(len, headers)) + sum(map(len, headers.values())) + 4 * len(headers)
    if size > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"A message of {size} bytes exceeds the limit of {MAX_MESSAGE_BYTES} bytes.",
            details={"size_bytes": size, "limit_bytes": MAX_MESSAGE_BYTES},
        )
