"""The live tail of an execution as server-sent events: what is stored first, then what comes, without gap or repetition.

An event's id is `{stream sequence}-{index}`, so a client that comes back with `Last-Event-ID` continues where it was.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable

import msgspec
from msgspec import Struct

from runlane.contracts import subjects
from runlane.contracts.messages import decode_event
from runlane.contracts.records import Record
from runlane.ports import Bus, Stored
from runlane.telemetry import logger

from .moments import Moment, moments_of_event, moments_of_record
from .reading import Records
from .waiting import is_terminal

_log = logger(__name__)

#: Without news for so long, a comment keeps proxies from hanging up, and the stream is read for what was missed.
_HEARTBEAT_SECONDS = 15.0

_EVENT_ID = re.compile(r"(\d{1,18})-(\d{1,9})")

_encode = msgspec.json.Encoder().encode


class _Place(Struct, order=True):
    sequence: int
    index: int


class LiveTail:
    """Follows executions. `closing` ends every stream, so that their clients go to another gateway."""

    def __init__(self, bus: Bus, records: Records, closing: asyncio.Event) -> None:
        self._bus, self._records, self._closing = bus, records, closing

    async def follow(self, record: Record, last_event_id: str, *, internals: bool) -> AsyncIterator[bytes]:
        """Server-sent events until the one that ends the execution."""
        place = _place(last_event_id)
        arrived: asyncio.Queue[Stored] = asyncio.Queue()
        live = await self._bus.listen_live(
            subjects.all_events(record.org, record.execution_id, record.workflow), arrived.put_nowait
        )
        try:
            ended = False
            found = await self._stored(record, place)
            if not found and record.finished:
                # Its events have left the stream: the record tells the same.
                yield _written(moments_of_record(record, internals), place)
                return
            while not ended:
                for stored in found:
                    yield _written(moments_of_event(stored.sequence, decode_event(stored.payload), internals), place)
                    ended = ended or is_terminal(stored)
                if not ended:
                    found = await self._more(record, arrived, place)
                    if not found:
                        if self._closing.is_set():
                            return
                        yield b": still here\n\n"
        finally:
            await live.stop()

    async def _stored(self, record: Record, place: _Place) -> list[Stored]:
        """The last event may have been sent in part, so it is read again; what was sent of it is left out."""
        after = max(0, place.sequence - 1)
        return await self._records.events(record.org, record.workflow, record.execution_id, after)

    async def _more(self, record: Record, arrived: asyncio.Queue[Stored], place: _Place) -> list[Stored]:
        """What came live, in order; what the stream holds when nothing came; nothing when there is nothing."""
        getting = asyncio.ensure_future(arrived.get())
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait(
                {getting, closing}, timeout=_HEARTBEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if getting.done():
                return [getting.result()]
            return [] if closing.done() else await self._stored(record, place)
        finally:
            getting.cancel()
            closing.cancel()


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
