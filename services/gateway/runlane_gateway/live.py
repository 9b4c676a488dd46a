"""The live tail of an execution as server-sent events: what is stored, then what comes, without gap or repetition.

An event's id is `{stream sequence}-{index}`, so a client that comes back with `Last-Event-ID` continues where it was.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing

import msgspec
from msgspec import Struct

from runlane.contracts import subjects
from runlane.contracts.events import decode_event
from runlane.contracts.records import Record
from runlane.ports import Bus, Stored

from .lifetimes import Lifetimes
from .moments import Moment, moments_of_event, moments_of_record
from .permissions import VIEW_INTERNALS
from .principals import Principal
from .reading import Records
from .waiting import is_terminal

#: Without news for so long, a comment keeps proxies from hanging up, and the stream is read for what was missed.
_HEARTBEAT_SECONDS = 15.0

#: A replica may lag behind the news of it; then it is asked again.
_STALE_READS = 20
_STALE_SECONDS = 0.05

_EVENT_ID = re.compile(r"(\d{1,18})-(\d{1,9})")

_encode = msgspec.json.Encoder().encode


class _Place(Struct, order=True):
    """Up to where everything was sent."""

    sequence: int
    index: int


class _News:
    """The highest sequence heard of. The events themselves are read from the stream, as news may get lost."""

    def __init__(self, *ends: asyncio.Event) -> None:
        self._ends = ends
        self._heard = asyncio.Event()
        self.latest = 0

    def heard(self, stored: Stored) -> None:
        self.latest = max(self.latest, stored.sequence)
        self._heard.set()

    async def wait(self) -> bool:
        """Whether there was news before it was time for a heartbeat or to end."""
        waits = {asyncio.ensure_future(event.wait()) for event in (self._heard, *self._ends)}
        await asyncio.wait(waits, timeout=_HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        heard = self._heard.is_set()
        self._heard.clear()
        return heard


class LiveTail:
    """Follows executions. `closing` ends every stream, so that their clients go to another gateway."""

    def __init__(self, bus: Bus, records: Records, lifetimes: Lifetimes, closing: asyncio.Event) -> None:
        self._bus, self._records, self._lifetimes, self._closing = bus, records, lifetimes, closing

    async def follow(self, record: Record, last_event_id: str, principal: Principal) -> AsyncIterator[bytes]:
        """Server-sent events until the one that ends the execution, or until the caller's credentials end."""
        internals = principal.may(VIEW_INTERNALS)
        with self._lifetimes.of(principal) as expired:
            async with aclosing(self._follow(record, _place(last_event_id), internals, expired)) as texts:
                async for text in texts:
                    yield text

    async def _follow(
        self, record: Record, place: _Place, internals: bool, expired: asyncio.Event
    ) -> AsyncGenerator[bytes]:
        news = _News(self._closing, expired)
        filter_ = subjects.all_events(record.org, record.execution_id, record.workflow)
        live = await self._bus.listen_live(filter_, news.heard)
        try:
            # The last event may have been sent in part: it is read again, and what was sent of it left out.
            found = await self._read(record, place.sequence - 1, 0)
            if not found and record.finished:
                # Its events have left the stream; the record tells the same.
                yield _written(moments_of_record(record, internals), place)
                return
            while True:
                for stored in found:
                    moments = moments_of_event(stored.sequence, decode_event(stored.payload), internals)
                    yield _written(moments, place)
                    if is_terminal(stored):
                        return
                heard = await news.wait()
                if self._closing.is_set() or expired.is_set():
                    return
                if not heard:
                    yield b": still here\n\n"
                found = await self._read(record, place.sequence, news.latest)
        finally:
            await live.stop()

    async def _read(self, record: Record, after: int, at_least: int) -> list[Stored]:
        found: list[Stored] = []
        for _ in range(_STALE_READS):
            found = await self._records.events(record.org, record.workflow, record.execution_id, max(0, after))
            if max(after, found[-1].sequence if found else 0) >= at_least:
                break
            await asyncio.sleep(_STALE_SECONDS)
        return found


def _written(moments: Iterable[Moment], place: _Place) -> bytes:
    """What lies beyond `place`, which is moved along."""
    text = bytearray()
    for moment in moments:
        here = _Place(moment.sequence, moment.index)
        if here > place:
            place.sequence, place.index = here.sequence, here.index
            data = _encode(moment.data)
            text += b"id: %d-%d\nevent: %s\ndata: %s\n\n" % (here.sequence, here.index, moment.name.encode(), data)
    return bytes(text)


def _place(last_event_id: str) -> _Place:
    found = _EVENT_ID.fullmatch(last_event_id)
    return _Place(-1, -1) if found is None else _Place(int(found[1]), int(found[2]))
