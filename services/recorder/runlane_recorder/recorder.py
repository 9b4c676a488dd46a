"""Takes events from the stream in batches, folds them into the record store, acknowledges them once they are there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

import msgspec
from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.deadletters import DeadLetter, letter_message
from runlane.errors import BusUnavailable, InfrastructureError, StoreUnavailable
from runlane.ports import Bus, ConsumerLag, Delivery, RecordStore, Stored
from runlane.telemetry import logger

from .metrics import APPLIED, APPLY_SECONDS, BATCH_SIZE, LAG, PRUNED, UNRECORDABLE

_log = logger(__name__)

_BATCH = 500
#: So many old rows are removed at once: whatever is to be recorded meanwhile waits for that.
_REMOVED_AT_ONCE = 200
#: While one batch is being stored, the next ones are already on their way.
_CAPACITY = 3 * _BATCH
_LONGEST_RETENTION_DAYS = 36_500

#: What folding or storing raises because of what an event holds, such as a time without a zone or a number too large.
_SPOILED = (msgspec.DecodeError, TypeError, ValueError, ArithmeticError)


class Pace(Struct, frozen=True, kw_only=True):
    """How a recorder takes its time, in seconds.

    `rest`: after it has removed old rows, for so many times as long as that took the store is left to what comes in.
    """

    linger: float = 0.02
    renew: float = 5.0
    retry: float = 0.1
    retry_at_most: float = 5.0
    measure: float = 5.0
    tidy: float = 3600.0
    rest: float = 2.0


class Chore(Protocol):
    """What a recorder does beside its work, for ever."""

    async def run(self) -> None: ...


class Recorder:
    """The room (`runlane.service.Room`)."""

    def __init__(
        self,
        bus: Bus,
        store: RecordStore,
        clock: Clock,
        retention_days: float,
        pace: Pace | None = None,
        audit_days: float = 400,
        beside: Sequence[Chore] = (),
    ) -> None:
        self._bus, self._store, self._clock = bus, store, clock
        self._retention, self._audit_retention = _span(retention_days), _span(audit_days)
        self._pace, self._beside = pace or Pace(), beside
        self._waiting: list[Delivery] = []
        self._batch: list[Delivery] = []
        self._arrived, self._full = asyncio.Event(), asyncio.Event()
        self._draining, self._drained = asyncio.Event(), asyncio.Event()
        self._through = 0
        self._store_problem: str | None = None
        #: How many events this one has recorded.
        self.recorded = 0

    async def run(self) -> None:
        """Record until drained. Raises `BusUnavailable` when the stream cannot be consumed."""
        work = [self._record_all(), self._renew_leases(), self._measure_lag(), self._keep_tidy()]
        work += [chore.run() for chore in self._beside]
        tasks = [asyncio.create_task(part) for part in work]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Take nothing more, record and acknowledge what is here."""
        for event in (self._draining, self._arrived, self._full):
            event.set()
        await self._drained.wait()

    def problems(self) -> Mapping[str, str]:
        found = {} if self._bus.connected else {"nats": "not connected"}
        if self._store_problem is not None:
            found["record store"] = self._store_problem
        return found

    async def _record_all(self) -> None:
        await self._take_over()
        consumption = await self._bus.consume(subjects.EVENTS, subjects.RECORDER, self._delivered, self._room)
        while not self._draining.is_set():
            await self._gather()
            await self._record_batch()
            consumption.pull()
        await consumption.stop()
        while self._waiting:
            await self._record_batch()
        self._drained.set()

    async def _take_over(self) -> None:
        """Fold in what an earlier recorder took and never acknowledged: it comes again only when its leases end."""
        lag = await self._bus.lag(subjects.EVENTS, subjects.RECORDER)
        await self._fill_gap(lag.delivered + 1)

    async def _fill_gap(self, before: int) -> None:
        """Fold in everything between the last event recorded here and `before`, from the stream itself.

        What was not delivered was sent to another recorder, to somebody who is gone, or to a connection that broke, and
        comes again when its lease ends; events after it come at once. Readers count on it that an execution whose end
        is in the store is there as a whole.
        """
        if self._through + 1 < before:
            # What was acknowledged is recorded: another recorder may have done that for days.
            self._through = max(self._through, (await self._lag()).floor)
        while self._through + 1 < before:
            page = await self._read_on()
            missed = [stored for stored in page if stored.sequence < before]
            await self._apply(missed)
            self._through = missed[-1].sequence if missed and len(missed) == len(page) else before - 1

    async def _lag(self) -> ConsumerLag:
        while True:
            try:
                return await self._bus.lag(subjects.EVENTS, subjects.RECORDER)
            except BusUnavailable as problem:
                _log.warning("cannot ask how far the records are", reason=problem.message)
                await asyncio.sleep(self._pace.retry)

    async def _read_on(self) -> list[Stored]:
        while True:
            try:
                return await self._bus.read(subjects.EVENTS, subjects.EVERYTHING, after=self._through, limit=_BATCH)
            except BusUnavailable as problem:
                _log.warning("cannot read what was missed yet", reason=problem.message)
                await asyncio.sleep(self._pace.retry)

    def _delivered(self, delivery: Delivery) -> None:
        self._waiting.append(delivery)
        self._arrived.set()
        if len(self._waiting) >= _BATCH:
            self._full.set()

    def _room(self) -> int:
        return max(0, _CAPACITY - len(self._waiting) - len(self._batch))

    async def _gather(self) -> None:
        """Wait for the first delivery, and then a little for a full batch."""
        await self._arrived.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pace.linger):
                await self._full.wait()

    async def _record_batch(self) -> None:
        self._batch, self._waiting = self._waiting[:_BATCH], self._waiting[_BATCH:]
        if not self._waiting:
            self._arrived.clear()
        if len(self._waiting) < _BATCH:
            self._full.clear()
        now = datetime.now(UTC)
        events = {it.sequence: Stored(it.subject, it.sequence, it.payload, now) for it in self._batch}
        new = sorted(sequence for sequence in events if sequence > self._through)
        if new and new[-1] - self._through > len(new):
            await self._fill_gap(new[-1] + 1)
        elif new:
            await self._apply([events[sequence] for sequence in new])
            self._through = new[-1]
        for delivery in self._batch:
            delivery.ack()
        self._batch = []

    async def _apply(self, events: Sequence[Stored]) -> None:
        """Store them; what cannot be stored is found by halving and left out, so that it holds up nothing else."""
        if not events:
            return
        try:
            await self._persist(events)
        except _SPOILED as problem:
            if len(events) > 1:
                half = len(events) // 2
                await self._apply(events[:half])
                await self._apply(events[half:])
                return
            UNRECORDABLE.inc()
            left_out = events[0]
            # Neither payload nor message: both may hold what nobody should read in a log.
            _log.error(
                "event left out of the records",
                subject=left_out.subject,
                sequence=left_out.sequence,
                reason=type(problem).__name__,
            )
            await self._bury(left_out, type(problem).__name__)

    async def _bury(self, event: Stored, reason: str) -> None:
        """Keep it as a dead letter: the stream forgets it one day."""
        known = subjects.parse_event(event.subject)
        letter = DeadLetter(
            kind="event",
            reason=f"it cannot be recorded: {reason}",
            at=self._clock.now(),
            source=f"{subjects.EVENTS}:{event.sequence}",
            subject=event.subject,
            org=known.org if known else None,
            workflow=known.workflow if known else None,
            execution_id=known.execution if known else None,
        )
        try:
            await self._bus.publish(letter_message(letter, event.payload))
        except InfrastructureError as problem:
            # It is in the stream and in the log; holding up all other events for it would be worse.
            _log.error("a dead letter could not be kept", sequence=event.sequence, reason=problem.message)

    async def _persist(self, events: Sequence[Stored]) -> None:
        """Store them, however long the store is away."""
        pause = self._pace.retry
        while True:
            try:
                with APPLY_SECONDS.time():
                    await self._store.apply(events)
            except StoreUnavailable as problem:
                self._note(problem.message)
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._pace.retry_at_most)
            else:
                break
        self._note(None)
        APPLIED.inc(len(events))
        self.recorded += len(events)
        BATCH_SIZE.observe(len(events))

    def _note(self, problem: str | None) -> None:
        if problem != self._store_problem:
            log = _log.info if problem is None else _log.warning
            log("record store", problem=problem)
        self._store_problem = problem

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(self._pace.renew)
            for delivery in (*self._batch, *self._waiting):
                delivery.in_progress()

    async def _measure_lag(self) -> None:
        while True:
            with suppress(BusUnavailable):
                lag = await self._bus.lag(subjects.EVENTS, subjects.RECORDER)
                LAG.set(lag.pending + lag.unacknowledged)
            await asyncio.sleep(self._pace.measure)

    async def _keep_tidy(self) -> None:
        while True:
            now = self._clock.now()
            with suppress(StoreUnavailable):  # whoever applies says so, and the next round catches up
                await self._remove(self._store.prune, now - self._retention)
                await self._remove(self._store.prune_audit, now - self._audit_retention)
            await asyncio.sleep(self._pace.tidy)

    async def _remove(self, prune: Callable[[datetime, int], Awaitable[int]], before: datetime) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            gone = await prune(before, _REMOVED_AT_ONCE)
            if not gone:
                return
            PRUNED.inc(gone)
            await asyncio.sleep(self._pace.rest * (loop.time() - began))


def _span(days: float) -> timedelta:
    return timedelta(days=min(days, _LONGEST_RETENTION_DAYS))
