"""Rebuilds the records from the event stream and compares them with what is stored: `runlane verify`.

The stream is what holds; the store is only folded from it. Works beside a recorder: it waits until the recorder is
where the stream was when it began, reads the stream once, and has whatever differs then looked at once more by itself
(`settling`), because an execution may have gone on meanwhile.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from runlane.contracts import subjects
from runlane.contracts.events import AnyEvent, Audited, Delivered, Ticked
from runlane.contracts.records import FINISHED, Record
from runlane.inspection import SIDES, Inspection, Options, Place, Report, SideRow, Span, What
from runlane.ports import Bus, Stored
from runlane.settling import PAGE, Settling, decoded, difference, folded, is_whole

_TELL_EVERY = 100_000

Tell = Callable[[str], None]


class Verification:
    """One comparison of stream and store. `tell` hears how far it is."""

    def __init__(
        self, bus: Bus, store: Inspection, span: Callable[[], Awaitable[Span]], options: Options, tell: Tell
    ) -> None:
        self._bus, self._store, self._ask_span = bus, store, span
        self._options, self._tell = options, tell
        self._settling = Settling(bus, store, span, options)
        #: Executions that have not ended as far as the stream was read.
        self._open: dict[Place, Record] = {}
        self._ended: dict[Place, Record] = {}
        self._sides: dict[tuple[What, str, str], SideRow] = {}
        #: Hashes only: these are as many as the store has rows.
        self._seen: set[int] = set()

    async def run(self) -> Report:
        """Compare everything, and repair what is to be repaired. Raises `BusUnavailable`, `StoreUnavailable`."""
        self._span = await self._ask_span()
        self._report = Report(self._span.first, self._span.last)
        await self._settling.recorded_up_to(self._span.last)
        await self._read_stream()
        await self._compare(self._open)
        await self._find_extra()
        await self._find_extra_sides()
        self._report.differences = await self._settling.settle()
        self._report.going_on = self._settling.going_on
        return self._report

    async def _read_stream(self) -> None:
        """Compare what ends as soon as it does, so that a long stream needs no more memory than a short one."""
        after = self._span.first - 1
        while after < self._span.last:
            page = await self._bus.read(subjects.EVENTS, subjects.EVERYTHING, after=after, limit=PAGE)
            if not page:
                break
            for stored in page:
                if stored.sequence <= self._span.last:
                    self._take(stored)
            await self._compare_what_is_ready()
            if page[-1].sequence // _TELL_EVERY > after // _TELL_EVERY:
                self._tell(f"event {page[-1].sequence} of {self._span.last}")
            after = page[-1].sequence
        await self._compare_what_is_ready(everything=True)

    def _take(self, stored: Stored) -> None:
        event = decoded(stored)
        if event is None:
            self._report.undecodable += 1
        elif isinstance(event, Ticked | Audited | Delivered):
            side = self._store.side(stored.sequence, event)
            self._sides[side.what, side.org, side.id] = side
            self._seen.add(hash((side.what, side.org, side.id)))
        else:
            self._fold(stored.sequence, event)

    def _fold(self, sequence: int, event: AnyEvent) -> None:
        place = (event.subject, event.organization)
        known = self._ended.get(place) or self._open.get(place)
        if known is None and hash(place) in self._seen:
            self._settling.suspect(place)  # it was compared already: this came after its end
            return
        self._seen.add(hash(place))
        record = folded(known, sequence, event)
        if record is None:
            return
        self._open.pop(place, None)
        (self._ended if record.status in FINISHED else self._open)[place] = record

    async def _compare_what_is_ready(self, *, everything: bool = False) -> None:
        if everything or len(self._ended) >= PAGE:
            await self._compare(self._ended)
        if everything or len(self._sides) >= PAGE:
            await self._compare_sides()
        while len(self._open) > self._options.open_at_most:
            place = next(iter(self._open))  # the one that has been silent for longest
            self._count(self._open.pop(place))
            self._settling.suspect(place)

    async def _compare(self, records: dict[Place, Record]) -> None:
        for place in [place for place, record in records.items() if not self._count(record)]:
            del records[place]
        for places in _batches(list(records)):
            stored = await self._store.records(places)
            for place in places:
                if difference(place, records[place], stored, self._options):
                    self._settling.suspect(place)
                elif place not in stored:
                    self._report.aged_out += 1
        records.clear()

    def _count(self, record: Record) -> bool:
        judged = is_whole(record, self._span)
        self._report.executions += judged
        self._report.before_events += not judged
        return judged

    async def _compare_sides(self) -> None:
        self._report.others += len(self._sides)
        for what in SIDES:
            ids = [(org, id_) for kind, org, id_ in self._sides if kind == what]
            for some in _batches(ids):
                there = {(row.org, row.id): row for row in await self._store.sides(what, some)}
                for place in some:
                    expected, found = self._sides[what, *place], there.get(place)
                    if found is None and expected.at < self._options.keep_from:
                        self._report.aged_out += 1
                    elif found is None or found.row != expected.row:
                        self._settling.suspect_side(what, *place)
        self._sides.clear()

    async def _find_extra(self) -> None:
        """What the store knows and the stream should, but does not."""
        after: Place | None = None
        while page := await self._store.listed(after, PAGE):
            after = page[-1].place
            for listed in page:
                if hash(listed.place) in self._seen:
                    continue
                if self._span.should_know(listed.sequence, listed.listed_at):
                    self._settling.suspect(listed.place)
                else:
                    self._report.before_events += 1
        for place in await self._store.orphans():
            self._settling.suspect(place)

    async def _find_extra_sides(self) -> None:
        for what in SIDES:
            for row in await self._store.sides_since(what, self._span.first):
                if hash((what, row.org, row.id)) not in self._seen:
                    self._settling.suspect_side(what, row.org, row.id)


def _batches(items: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (items[first : first + PAGE] for first in range(0, len(items), PAGE))
