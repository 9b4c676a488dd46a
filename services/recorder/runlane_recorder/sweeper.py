"""Finds executions that nobody looks after and puts them on the queue again. Run by every recorder beside its work.

It never decides how an execution stands: the state line does. A request for one that is looked after after all is
refused there, so any number of sweepers may sweep the same one, and a wrong guess costs a message. What no event tells
of any more cannot go on and is ended, by the same compare-and-set as any other end.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import (
    STATE_TAILS,
    AnyEvent,
    Approved,
    Declined,
    Failed,
    FailedData,
    Failure,
    PendingApproval,
    Queued,
    Retrying,
    Started,
    Suspended,
    TerminalEvent,
    decode_event,
)
from runlane.contracts.records import ExecutionQuery, Record, Status, Summary
from runlane.contracts.requests import Request, decode_request
from runlane.errors import BusUnavailable, HistoryExpired, StateConflict, StoreUnavailable
from runlane.lanes import Lanes
from runlane.ports import Bus, Message, RecordStore, Stored
from runlane.redaction import masked_names
from runlane.requesting import request_message
from runlane.telemetry import logger

from .metrics import STUCK, SWEPT
from .remains import QUEUES, clear_remains

_log = logger(__name__)

_UNFINISHED: tuple[Status, ...] = ("Scheduled", "Queued", "PendingApproval", "Running", "Retrying", "Suspended")
_PAGE = 200
#: Of a queue, so many messages are looked through; where there are more, what is queued is not lost but waits.
_QUEUE_PAGE, _MOST_QUEUED = 250, 5_000

Place = tuple[str, str]


class Sweep(Struct, frozen=True, kw_only=True):
    """How often a sweeper looks, and for how long it leaves alone what only just should have moved on. In seconds."""

    every: float = 30.0
    patience: float = 60.0


class Sweeper:
    """See the module. `sweep` is one round."""

    def __init__(self, bus: Bus, store: RecordStore, clock: Clock, pace: Sweep | None = None) -> None:
        self._bus, self._store, self._clock = bus, store, clock
        self._lanes = Lanes(bus)
        self._pace = pace or Sweep()

    async def run(self) -> None:
        """Sweep for ever. What cannot be reached now is looked at in the next round."""
        while True:
            await asyncio.sleep(self._pace.every)
            try:
                await self.sweep()
            except (BusUnavailable, StoreUnavailable) as problem:
                _log.warning("could not look for lost executions", reason=problem.message)
            except Exception:
                _log.exception("could not look for lost executions")

    async def sweep(self) -> int:
        """Look at every unfinished execution that should have moved on; returns how many were put on the queue."""
        await clear_remains(self._bus)
        before = self._clock.now() - timedelta(seconds=self._pace.patience)
        queued: dict[Place, frozenset[str] | None] = {}
        swept = overdue = 0
        after: str | None = None
        while True:
            page = await self._store.find(
                ExecutionQuery(orgs=None, statuses=list(_UNFINISHED), queued_before=before, after=after, limit=_PAGE)
            )
            for summary in page.items:
                if _is_due(summary, before):
                    overdue += 1
                    swept += await self._look(summary, before, queued)
            after = page.next
            if after is None:
                STUCK.set(overdue)
                return swept

    async def _look(self, summary: Summary, before: datetime, queued: dict[Place, frozenset[str] | None]) -> bool:
        """Whether it had to be put on the queue."""
        org, workflow, execution_id = summary.org, summary.workflow, summary.execution_id
        if summary.status == "Queued" and await self._waiting(summary, queued) is None:
            return False  # one among very many: asking the broker for each of a million would take it minutes
        stored = await self._bus.last(subjects.EVENTS, subjects.state_line(org, workflow, execution_id))
        try:
            state = None if stored is None else decode_event(stored.payload)
        except msgspec.DecodeError:
            return False  # of a newer version: whoever wrote it looks after it
        if isinstance(state, TerminalEvent) or (state is not None and not _was_due(state, before)):
            return False
        if isinstance(state, Started):
            if await self._is_leased(execution_id, state.data.request):
                return False
        elif await self._will_come(summary, state, queued):
            return False
        record = await self._store.get(org, execution_id)
        queued_event = await self._bus.last(subjects.EVENTS, subjects.event(org, workflow, execution_id, "queued"))
        if record is None or record.finished:
            return False
        if stored is None and queued_event is None:
            await self._end(record)
            return False
        await self._put_back(record, stored, state, wake=_needs_approval(queued_event))
        return True

    async def _end(self, record: Record) -> None:
        """No event tells of it any more, nobody runs it and no message asks for it: its steps would run again, and
        nobody knows whether it was approved. It ends."""
        error, now = HistoryExpired(), self._clock.now()
        event = Failed(
            id=f"{record.execution_id}:outlived",
            source="/runlane/recorder",
            subject=record.execution_id,
            time=now,
            organization=record.org,
            workflow=record.workflow,
            attempt=record.attempt,
            data=FailedData(failure=Failure(error.code, error.message), duration_ms=_duration_ms(record, now)),
        )
        line = (record.org, record.workflow, record.execution_id)
        message = Message(
            subject=subjects.event(*line, STATE_TAILS[Failed]),
            payload=encode(event),
            id=event.id,
            expect_last=0,
            expect_on=subjects.state_line(*line),
        )
        try:
            await self._bus.publish(message)
        except StateConflict:
            return  # somebody looks after it after all
        SWEPT.labels("outlived").inc()
        _log.warning("ended an execution that outlived its events", execution_id=record.execution_id, org=record.org)

    async def _is_leased(self, execution_id: str, request: str) -> bool:
        """Whether the message is there still whose lease the run holds: then the broker sees to it that it goes on.

        After a restore another message may have its sequence.
        """
        stream, _, sequence = request.partition(":")
        filters = dict(QUEUES)
        if stream not in filters or not sequence.isdigit():
            return False
        found = await self._bus.read(stream, filters[stream], after=int(sequence) - 1, limit=1)
        return any(stored.sequence == int(sequence) and execution_id in _executions_in([stored]) for stored in found)

    async def _will_come(
        self, summary: Summary, state: AnyEvent | None, queued: dict[Place, frozenset[str] | None]
    ) -> bool:
        """Whether a message for it waits for its time, or for an executor."""
        places = [subjects.delayed(summary.execution_id), subjects.wake(summary.execution_id)]
        if state is None or isinstance(state, PendingApproval):
            places.append(subjects.expiry(summary.execution_id))  # of what was decided, it comes far too late
        for subject in places:
            if await self._bus.last(subjects.DELAYED, subject) is not None:
                return True
        there = await self._waiting(summary, queued)
        return there is None or summary.execution_id in there

    async def _waiting(self, summary: Summary, queued: dict[Place, frozenset[str] | None]) -> frozenset[str] | None:
        """`_queued` of its workflow, asked once in a round."""
        place = (summary.org, summary.workflow)
        if place not in queued:
            queued[place] = await self._queued(*place)
        return queued[place]

    async def _queued(self, org: str, workflow: str) -> frozenset[str] | None:
        """The executions of a workflow that messages on the queues ask for; None where there are too many to tell."""
        found: set[str] = set()
        for stream, subject in (
            (subjects.REQUESTS, subjects.request("*", org, workflow)),
            (subjects.DELAYED, subjects.due("*", org, workflow)),
            (subjects.WAITING, subjects.waiting_of(org, workflow)),
        ):
            after = read = 0
            while page := await self._bus.read(stream, subject, after=after, limit=_QUEUE_PAGE):
                after, read = page[-1].sequence, read + len(page)
                found.update(_executions_in(page))
                if read >= _MOST_QUEUED:
                    return None
        return frozenset(found)

    async def _put_back(self, record: Record, stored: Stored | None, state: AnyEvent | None, *, wake: bool) -> None:
        """`wake`: it may not run before it was approved, whatever has become of that."""
        sequence = 0 if stored is None else stored.sequence
        what = "queued" if state is None else type(state).__name__.lower()
        reason = f"swept: nobody looked after it any more ({what})"
        request = _request(record, state, sequence, reason)
        if state is None:
            request = msgspec.structs.replace(request, wake=wake)
        lane = await self._lanes.choose(record.org, "normal")
        # The same guess of several sweepers is one message.
        await self._bus.publish(request_message(request, lane, f"{record.execution_id}:swept:{sequence}"))
        SWEPT.labels(what).inc()
        _log.warning(
            "put a lost execution on the queue again",
            execution_id=record.execution_id,
            org=record.org,
            workflow=record.workflow,
            state=what,
        )


def _duration_ms(record: Record, now: datetime) -> int:
    return 0 if record.started_at is None else max(0, int((now - record.started_at).total_seconds() * 1000))


def _is_due(summary: Summary, before: datetime) -> bool:
    """Whether it should have moved on before then, as far as its record says."""
    match summary.status:
        case "Queued" | "Running" | "PendingApproval":
            return True
        case "Scheduled":
            return summary.run_at is not None and summary.run_at < before
        case _:
            return summary.resumes_at is not None and summary.resumes_at < before


def _was_due(state: AnyEvent, before: datetime) -> bool:
    """The same, as the state line says."""
    match state:
        case Retrying(data=retrying):
            return retrying.next_attempt_at < before
        case Suspended(data=suspended):
            return suspended.until is not None and suspended.until < before
        case PendingApproval(data=pending):
            return pending.terms.expires_at < before
        case Approved(data=decided) | Declined(data=decided):
            return max(state.time, decided.run_at or state.time) < before
        case _:
            return state.time < before


def _needs_approval(queued: Stored | None) -> bool:
    event = None if queued is None else decode_event(queued.payload)
    return isinstance(event, Queued) and event.data.needs_approval


def _executions_in(page: Iterable[Stored]) -> Iterable[str]:
    for stored in page:
        try:
            yield decode_request(stored.payload).execution_id
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            continue  # an executor gives it up


def _request(record: Record, state: AnyEvent | None, sequence: int, reason: str) -> Request:
    """What asks for its next run; for one that waits, what asks an executor to look what it waits for."""
    request = Request(
        execution_id=record.execution_id,
        org=record.org,
        workflow=record.workflow,
        caller=record.caller,
        accepted_at=record.queued_at or record.listed_at,
        trigger=record.trigger,
        sealed_parameters=record.sealed_input,
        attempt=max(1, record.attempt),
        last_state=sequence,
        first_started_at=record.started_at,
        sensitive=sorted(masked_names(record.input)) if record.input is not None else [],
        redriven=reason,
    )
    if isinstance(state, Started):
        data = state.data
        return msgspec.structs.replace(
            request,
            attempt=state.attempt,
            first_started_at=data.first_started_at,
            waited_seconds=data.waited_seconds,
            crashes=data.crashes,
        )
    return request if state is None else msgspec.structs.replace(request, wake=True)
