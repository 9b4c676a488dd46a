"""The second look of `runlane verify`: each execution, tick, audit entry or delivery that differed, by itself.

What differs still, with the recorder up to its last event and no newer one, is a difference; it is repaired on request.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal

import msgspec

from runlane.contracts import subjects
from runlane.contracts.events import AnyEvent, Audited, Delivered, Ticked, decode_event
from runlane.contracts.records import Record, fold
from runlane.errors import BusUnavailable
from runlane.inspection import SIDES, Difference, Inspection, Options, Place, SideRow, Span, What
from runlane.ports import Bus, Stored

#: Events and rows are read so many at a time.
PAGE = 500
_ROUNDS = 10
_PAUSE_SECONDS = 0.1

#: What folding raises because of what an event holds; the recorder leaves such an event out.
_SPOILED = (msgspec.DecodeError, TypeError, ValueError, ArithmeticError, RecursionError)


class Settling:
    """Collects suspects, and settles them at the end."""

    def __init__(self, bus: Bus, store: Inspection, span: Callable[[], Awaitable[Span]], options: Options) -> None:
        self._bus, self._store, self._ask_span, self._options = bus, store, span, options
        self._suspects: set[Place] = set()
        #: Executions of which nothing can be said, because there were new events at every look.
        self.going_on = 0
        self._side_suspects: dict[What, set[tuple[str, str]]] = {what: set() for what in SIDES}

    def suspect(self, place: Place) -> None:
        """An execution to be looked at again."""
        self._suspects.add(place)

    def suspect_side(self, what: What, org: str, id_: str) -> None:
        """A tick, audit entry or delivery to be looked at again."""
        self._side_suspects[what].add((org, id_))

    async def recorded_up_to(self, sequence: int) -> None:
        """Wait until the recorder has stored this event. Raises `BusUnavailable` when it does not come on any more."""
        loop, at = asyncio.get_running_loop(), -1
        since = loop.time()
        while True:
            lag = await self._bus.lag(subjects.EVENTS, subjects.RECORDER)
            if lag.floor >= sequence or lag.pending + lag.unacknowledged == 0:
                return
            if lag.floor > at:
                at, since = lag.floor, loop.time()
            elif loop.time() - since > self._options.patience:
                raise BusUnavailable(f"The recorder stays at event {at} of {sequence}: is one running?")
            await asyncio.sleep(_PAUSE_SECONDS)

    async def settle(self) -> list[Difference]:
        """The differences that remain, those that were repaired too."""
        found = [await self._settle_record(place) for place in sorted(self._suspects)]
        for what in SIDES:
            if self._side_suspects[what]:
                found += await self._settle_sides(what, self._side_suspects[what])
        return [difference for difference in found if difference is not None]

    async def _settle_record(self, place: Place) -> Difference | None:
        found: Difference | None = None
        rebuilt: Record | None = None
        read = 0
        for _ in range(_ROUNDS):
            last = await self._last_of(place)
            rebuilt = await self._rebuilt(place, rebuilt, read, last)
            read = last
            await self.recorded_up_to(last)
            now = await self._difference(place, rebuilt)
            if await self._last_of(place) > last:
                continue  # it went on meanwhile
            if now is not None and self._is_repaired(now):
                found = found or now
                # The recorder has everything that is there and nothing newer; what comes later, it adds to this.
                await self._store.replace(place, rebuilt)
                continue
            if found is None:
                return now
            found.repaired = now is None
            return found
        self.going_on += 1
        return found

    async def _difference(self, place: Place, rebuilt: Record | None) -> Difference | None:
        stored = await self._store.records([place])
        span = await self._ask_span()  # its events may have aged out meanwhile
        if rebuilt is not None:
            return difference(place, rebuilt, stored, self._options) if is_whole(rebuilt, span) else None
        there = stored.get(place)
        if place not in stored or (there is not None and not span.should_know(there.state_sequence, there.listed_at)):
            return None
        return Difference("extra", "execution", place[1], place[0])

    async def _rebuilt(self, place: Place, record: Record | None, after: int, last: int) -> Record | None:
        """The record with the events after `after` and up to `last` in it."""
        while after < last:
            page = await self._bus.read(subjects.EVENTS, _filter(place), after=after, limit=PAGE)
            for stored in page:
                event = decoded(stored) if stored.sequence <= last else None
                record = record if event is None else folded(record, stored.sequence, event)
            after = page[-1].sequence if page else last
        return record

    def _is_repaired(self, found: Difference) -> bool:
        return self._options.repair and (found.kind != "extra" or self._options.remove_extra)

    async def _last_of(self, place: Place) -> int:
        last = await self._bus.last(subjects.EVENTS, _filter(place))
        return 0 if last is None else last.sequence

    async def _settle_sides(self, what: What, wanted: set[tuple[str, str]]) -> list[Difference | None]:
        """These have no subject of their own: the stream is read once more for all of them."""
        span = await self._ask_span()
        await self.recorded_up_to(span.last)
        expected = await self._sides_told(what, wanted, span)
        found = []
        for place in sorted(wanted):
            there = next(iter(await self._store.sides(what, [place])), None)
            found.append(await self._settle_side(what, place, expected.get(place), there, span))
        return found

    async def _sides_told(self, what: What, wanted: set[tuple[str, str]], span: Span) -> dict[tuple[str, str], SideRow]:
        told: dict[tuple[str, str], SideRow] = {}
        after = span.first - 1
        while after < span.last:
            page = await self._bus.read(subjects.EVENTS, subjects.EVERYTHING, after=after, limit=PAGE)
            if not page:
                break
            for side in self._sides_in(page, span.last):
                if side.what == what and (side.org, side.id) in wanted:
                    told[side.org, side.id] = side
            after = page[-1].sequence
        return told

    def _sides_in(self, page: Iterable[Stored], last: int) -> Iterable[SideRow]:
        for stored in page:
            event = decoded(stored) if stored.sequence <= last else None
            if isinstance(event, Ticked | Audited | Delivered):
                yield self._store.side(stored.sequence, event)

    async def _settle_side(
        self, what: What, place: tuple[str, str], expected: SideRow | None, there: SideRow | None, span: Span
    ) -> Difference | None:
        if there == expected or (there is not None and await self._is_newer(there.sequence, span)):
            return None
        kind: Literal["missing", "changed", "extra"] = "changed"
        if there is None or expected is None:
            kind = "missing" if there is None else "extra"
        found = Difference(kind, what, *place)
        if self._is_repaired(found):
            found.repaired = await self._store.replace_side(there, expected)
        return found

    async def _is_newer(self, sequence: int, span: Span) -> bool:
        """Whether there is an event of this sequence that was not there when the stream was read."""
        return sequence > span.last and sequence <= (await self._ask_span()).last


def is_whole(record: Record, span: Span) -> bool:
    """Whether all its events are there still."""
    return span.first <= 1 or (record.queued_at is not None and span.should_know(0, record.queued_at))


def difference(
    place: Place, rebuilt: Record, stored: dict[Place, Record | None], options: Options
) -> Difference | None:
    """What is wrong with what the store has of an execution; what was deleted for its age is not missing."""
    execution_id, org = place
    if place not in stored:
        ended = rebuilt.completed_at
        gone = ended is not None and ended < options.keep_from
        return None if gone else Difference("missing", "execution", org, execution_id)
    there = stored[place]
    if there is None:
        return Difference("unreadable", "execution", org, execution_id)
    names = (field.name for field in msgspec.structs.fields(Record))
    fields = [name for name in names if getattr(rebuilt, name) != getattr(there, name)]
    return Difference("changed", "execution", org, execution_id, fields) if fields else None


def decoded(stored: Stored) -> AnyEvent | None:
    """The event; None where the recorder leaves it out too."""
    try:
        return decode_event(stored.payload)
    except _SPOILED:
        return None


def folded(record: Record | None, sequence: int, event: AnyEvent) -> Record | None:
    """The record with the event in it, or without an event that cannot be folded."""
    try:
        return fold(record, sequence, event)
    except _SPOILED:
        return record


def _filter(place: Place) -> str:
    execution_id, org = place
    return subjects.all_events(org, execution_id)
