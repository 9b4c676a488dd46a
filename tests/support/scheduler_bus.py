"""A bus in memory for the scheduler's tests: compare-and-set before deduplication, as nats-server does it.

`tests/integration/test_scheduler_over_nats.py` runs the same scheduler over the real one.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

import msgspec

from runlane.contracts import subjects
from runlane.contracts.events import TickData, Ticked, decode_event
from runlane.contracts.requests import Request, decode_request
from runlane.errors import BusUnavailable, StateConflict
from runlane.ports import ConsumerLag, Message, Stored


class SchedulerBus:
    """Stores what is published; `before_publish` may raise or wait to make trouble at a chosen moment."""

    def __init__(self) -> None:
        self.connected = True
        self.stored: list[Stored] = []
        self.published: list[Message] = []
        self.sent: list[str] = []
        self.before_publish: Callable[[Message], None] = lambda message: None
        self._ids: dict[tuple[str, str], int] = {}

    async def publish(self, message: Message, *, timeout: float = 5.0) -> int:
        await asyncio.sleep(0)
        if not self.connected:
            raise BusUnavailable
        self.before_publish(message)
        stream = _stream_of(message.subject)
        if message.expect_last is not None:
            last = await self.last(stream, message.expect_on or message.subject)
            if (last.sequence if last else 0) != message.expect_last:
                raise StateConflict
        known = self._ids.get((stream, message.id))
        if known is not None:
            return known
        self.published.append(message)
        sequence = len(self.published)
        self.stored.append(Stored(message.subject, sequence, message.payload, datetime.now(UTC), message.id))
        self._ids[stream, message.id] = sequence
        return sequence

    async def counts(self, stream: str, filter_: str) -> dict[str, int]:
        found = (one.subject for one in self.stored if _stream_of(one.subject) == stream)
        return Counter(subject for subject in found if _matches(filter_, subject))

    def send(self, subject: str, payload: bytes) -> None:
        self.sent.append(subject)

    async def last(self, stream: str, filter_: str) -> Stored | None:
        if not self.connected:
            raise BusUnavailable
        return next((stored for stored in reversed(self.stored) if _matches(filter_, stored.subject)), None)

    async def last_of_each(self, stream: str, filter_: str) -> list[Stored]:
        if not self.connected:
            raise BusUnavailable
        return list({stored.subject: stored for stored in self.stored if _matches(filter_, stored.subject)}.values())

    async def read(self, stream: str, filter_: str, *, after: int = 0, limit: int = 1000) -> list[Stored]:
        _not_for_schedulers()

    async def listen(self, subject: str, heard: Callable[[str, bytes], None]) -> NoReturn:
        _not_for_schedulers()

    async def listen_live(self, filter_: str, heard: Callable[[Stored], None]) -> NoReturn:
        _not_for_schedulers()

    async def consume(self, stream: str, consumer: str, deliver: object, room: object) -> NoReturn:
        _not_for_schedulers()

    async def lag(self, stream: str, consumer: str) -> ConsumerLag:
        _not_for_schedulers()

    # --- what tests ask ------------------------------------------------------------------------------------------

    def forget_ids(self) -> None:
        """The deduplication window is over."""
        self._ids.clear()

    def forget(self, filter_: str) -> None:
        """Messages aged out of the stream."""
        self.stored = [stored for stored in self.stored if not _matches(filter_, stored.subject)]

    def ticks(self, org: str = "*", workflow: str = "*") -> list[TickData]:
        """The tick records, in the order of the stream."""
        events = [decode_event(s.payload) for s in self.stored if _matches(f"runlane.tick.{org}.{workflow}", s.subject)]
        return [event.data for event in events if isinstance(event, Ticked)]

    def requests(self) -> list[Request]:
        """The requests, delayed ones too, in the order of the stream."""
        return [decode_request(s.payload) for s in self.stored if _stream_of(s.subject) != subjects.EVENTS]

    def store(self, subject: str, event: msgspec.Struct) -> int:
        """Store an event as somebody else would."""
        message = Message(subject=subject, payload=msgspec.json.encode(event), id=f"other:{len(self.published)}")
        self.published.append(message)
        self.stored.append(Stored(subject, len(self.published), message.payload, datetime.now(UTC), message.id))
        return len(self.published)


def _stream_of(subject: str) -> str:
    kind = subject.split(".")[1]
    return {"request": subjects.REQUESTS, "delayed": subjects.DELAYED}.get(kind, subjects.EVENTS)


def _matches(filter_: str, subject: str) -> bool:
    pattern = re.escape(filter_).replace(r"\*", r"[^.]+")
    return re.fullmatch(pattern.removesuffix(">") + (".+" if filter_.endswith(">") else ""), subject) is not None


def _not_for_schedulers() -> NoReturn:
    raise AssertionError("a scheduler has no business with this")
