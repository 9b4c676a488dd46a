"""Reads records so that a caller always sees its own writes: the record store, and the part of EVENTS that it lacks.

Used by every door that shows or changes an execution.
"""

import asyncio

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.events import decode_event
from runlane.contracts.records import Record, fold
from runlane.errors import BusUnavailable, NotFound, StoreUnavailable
from runlane.ports import Bus, RecordStore, Stored
from runlane.telemetry import logger

from .waiting import is_terminal

_log = logger(__name__)

_FLOOR_AGE_SECONDS = 0.05
_LAG_SECONDS = 0.7
_PAGE = 1000
_CATCH_UP_SECONDS = 1.0
_CATCH_UP_STEP = 0.02
_RECHECK_SECONDS = 5.0


class Records:
    """Records of executions, always scoped by organisation."""

    def __init__(self, bus: Bus, store: RecordStore, clock: Clock) -> None:
        self._bus, self._store, self._clock = bus, store, clock
        self._floor, self._floor_at = 0, -_FLOOR_AGE_SECONDS
        self._waiting: set[asyncio.Event] = set()
        self._leaving = False
        self._asking_floor: asyncio.Task[BusUnavailable | None] | None = None

    async def get(self, org: str, execution_id: str, *, certain: bool = False) -> Record:
        """The record as of now. Raises `NotFound`; `StoreUnavailable` or `BusUnavailable` where nothing is known of it.

        While the broker is away, the record of what has not finished is as old as the store; where it has to be
        `certain`, that is `BusUnavailable` too.
        """
        if not self._floor_is_recent():
            # What has finished stays as it is, whatever the broker would say, and even when it says nothing.
            record, no_store = await self._stored(org, execution_id)
            if record is not None and record.finished:
                return record
        # The floor comes first: what it covers was in the store before the store is asked.
        floor, no_bus = await self._recent_floor()
        record, no_store = await self._stored(org, execution_id)
        if record is not None and record.finished:
            return record
        if no_bus is None:
            try:
                record = await self._overlay(org, execution_id, record, 0 if no_store else floor)
            except BusUnavailable as problem:
                no_bus = problem
        if record is not None and (no_bus is None or not certain):
            return record
        if no_store is not None or no_bus is not None:
            raise no_store or no_bus or NotFound()
        raise NotFound(f"There is no execution {execution_id}.")

    async def wait_finished(self, org: str, record: Record, seconds: float) -> Record:
        """The record once it has finished, or as it is after `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        ended = asyncio.Event()
        self._waiting.add(ended)
        live = await self._bus.listen_live(
            subjects.state_line(org, record.workflow, record.execution_id),
            lambda stored: ended.set() if is_terminal(stored) else None,
        )
        try:
            while True:
                record = await self.get(org, record.execution_id)
                remaining = deadline - loop.time()
                if record.finished or remaining <= 0 or self._leaving:
                    return record
                try:
                    async with asyncio.timeout(min(remaining, _RECHECK_SECONDS)):
                        await ended.wait()
                except TimeoutError:
                    continue
        finally:
            self._waiting.discard(ended)
            await live.stop()

    def let_go(self) -> None:
        """The gateway is ending: whoever waits gets the record as it is."""
        self._leaving = True
        for ended in self._waiting:
            ended.set()

    async def events(self, org: str, workflow: str, execution_id: str, after: int) -> list[Stored]:
        """All events of an execution that the stream holds after a sequence, oldest first."""
        filter_ = subjects.all_events(org, execution_id, workflow)
        found: list[Stored] = []
        while True:
            page = await self._bus.read(subjects.EVENTS, filter_, after=after, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found
            after = page[-1].sequence

    async def caught_up(self, sequence: int) -> None:
        """Wait until the store holds what was stored up to now, at least up to `sequence`; one second at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _CATCH_UP_SECONDS
        goal: int | None = None
        while self._bus.connected and loop.time() < deadline:
            try:
                async with asyncio.timeout(deadline - loop.time()):
                    lag = await self._bus.lag(subjects.EVENTS, subjects.RECORDER)
            except (TimeoutError, BusUnavailable):
                return
            behind = lag.pending + lag.unacknowledged
            goal = max(sequence, lag.floor + behind) if goal is None else goal
            if behind == 0 or lag.floor >= goal:
                return
            await asyncio.sleep(_CATCH_UP_STEP)

    async def _stored(self, org: str, execution_id: str) -> tuple[Record | None, StoreUnavailable | None]:
        try:
            return await self._store.get(org, execution_id), None
        except StoreUnavailable as problem:
            _log.warning("record store cannot answer", reason=problem.message)
            return None, problem

    async def _overlay(self, org: str, execution_id: str, record: Record | None, floor: int) -> Record | None:
        workflow = "*" if record is None else record.workflow
        for stored in await self.events(org, workflow, execution_id, floor):
            record = fold(record, stored.sequence, decode_event(stored.payload))
        return record

    def _floor_is_recent(self) -> bool:
        return self._clock.monotonic() - self._floor_at < _FLOOR_AGE_SECONDS

    async def _recent_floor(self) -> tuple[int, BusUnavailable | None]:
        """The sequence up to which the recorder has stored everything; an older answer is only a lower one."""
        if self._floor_is_recent():
            return self._floor, None
        if self._asking_floor is None:
            self._asking_floor = asyncio.create_task(self._ask_floor())
        problem = await asyncio.shield(self._asking_floor)
        return self._floor, problem

    async def _ask_floor(self) -> BusUnavailable | None:
        asked_at = self._clock.monotonic()
        try:
            if not self._bus.connected:
                return BusUnavailable()
            async with asyncio.timeout(_LAG_SECONDS):
                lag = await self._bus.lag(subjects.EVENTS, subjects.RECORDER)
        except TimeoutError:
            return BusUnavailable()
        except BusUnavailable as problem:
            return problem
        finally:
            self._asking_floor = None
        self._floor, self._floor_at = max(self._floor, lag.floor), asked_at
        return None
