"""Takes in events from outside for an execution, and wakes it where it waits for them (ADR 13).

First a wake-up is stored that has an executor look at the execution a little later, then the event, then the request
for the next run: wherever that breaks off, either the event was not accepted or the execution is woken.
"""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Raw, Struct

from runlane.approving import wake_message
from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import Signalled, SignalledData, Suspended, decode_event
from runlane.contracts.records import Record
from runlane.contracts.requests import Caller
from runlane.contracts.trace import SignalEntry, trace_context
from runlane.errors import BusUnavailable, Conflict, PayloadTooLarge, StateConflict, TooManyRequests
from runlane.lanes import Lanes
from runlane.ports import Bus, Message, Stored
from runlane.redaction import Redactor
from runlane.sealing import Sealer

from .accept import PUBLISH_SECONDS
from .deciding import WAKE_SECONDS, next_run, request_of
from .waiting import is_terminal, status_of

#: So many events one execution may be sent, each of so many bytes of JSON.
MOST_EVENTS = 256
MOST_BYTES = 64 * 1024

_ROUNDS = 300

#: A replica may lag behind what was stored; then it is asked again.
_STALE_READS = 60
_STALE_SECONDS = 0.05


class Signal(Struct, frozen=True, kw_only=True):
    """An event that somebody sends. The same `id` of the same name again is the same event."""

    name: str
    id: str
    data: dict[str, Any]
    by: Caller


class Signaller:
    """Sends events to executions."""

    def __init__(self, bus: Bus, sealer: Sealer, clock: Clock, name: str) -> None:
        self._bus, self._sealer, self._clock = bus, sealer, clock
        self._lanes = Lanes(bus)
        self._source = f"/runlane/gateway/{name}"

    async def send(self, record: Record, signal: Signal) -> bool:
        """Store it and wake whoever waits for it; False when it had been stored before.

        Raises `Conflict` when the execution has ended, `TooManyRequests` when it was sent too many events,
        `PayloadTooLarge`.
        """
        if len(msgspec.json.encode(signal.data)) > MOST_BYTES:
            raise PayloadTooLarge(f"The data exceeds {MOST_BYTES} bytes.", details={"limit_bytes": MOST_BYTES})
        wake_at = self._clock.now() + timedelta(seconds=WAKE_SECONDS)
        await self._bus.publish(wake_message(request_of(record), wake_at), timeout=PUBLISH_SECONDS)
        sequence, new = await self._store(record, signal)
        await self._wake(record, signal.name, sequence)
        return new

    async def _store(self, record: Record, signal: Signal) -> tuple[int, bool]:
        subject, line = _subject(record, signal), subjects.signals(record.org, record.workflow, record.execution_id)
        for _ in range(_ROUNDS):
            known = await self._bus.newest(subjects.EVENTS, _all_of(record))
            before = next((stored for stored in known if stored.subject == subject), None)
            if before is not None:
                return before.sequence, False
            _check_unfinished(known)
            last = max((stored for stored in known if _is(stored, "signal.")), key=_sequence, default=None)
            try:
                return await self._bus.publish(self._message(record, signal, subject, line, last), timeout=5.0), True
            except StateConflict:
                continue
        raise Conflict("Too many events come for it at once; try again.")

    async def _wake(self, record: Record, name: str, sequence: int) -> None:
        """Ask for its next run, if it waits for such an event. To whoever comes to wait later it is there already."""
        state = _last_state(await self._known_up_to(record, sequence))
        event = None if state is None else decode_event(state.payload)
        if state is None or not isinstance(event, Suspended) or event.data.reason != subjects.waits_for(name):
            return
        request = msgspec.structs.replace(
            request_of(record),
            attempt=event.attempt,
            last_state=state.sequence,
            first_started_at=event.data.first_started_at,
            waited_seconds=event.data.waited_seconds,
            suspended_at=event.time,
        )
        lane = await self._lanes.choose(request.org, "normal")
        await self._bus.publish(next_run(request, lane), timeout=PUBLISH_SECONDS)

    async def _known_up_to(self, record: Record, sequence: int) -> list[Stored]:
        """The last event of each kind, from somebody who knows of the one just stored: he knows all before it too."""
        for _ in range(_STALE_READS):
            known = await self._bus.newest(subjects.EVENTS, _all_of(record))
            if any(stored.sequence >= sequence for stored in known):
                return known
            await asyncio.sleep(_STALE_SECONDS)
        raise BusUnavailable("The events of an execution cannot be read up to their end.")

    def _message(self, record: Record, signal: Signal, subject: str, line: str, last: Stored | None) -> Message:
        number = 1 if last is None else _number(last) + 1
        if number > MOST_EVENTS:
            raise TooManyRequests(f"It was sent {MOST_EVENTS} events, and takes no more.")
        kept, now = Redactor().sanitized(signal.data), self._clock.now()
        sealed = self._sealer.seal(kept.true_json, trace_context(record.org, record.execution_id))
        entry = SignalEntry(
            at=now,
            name=signal.name,
            id=signal.id,
            data=Raw(kept.json),
            by=signal.by,
            sealed=sealed if kept.changed else None,
        )
        event = Signalled(
            id=f"{record.execution_id}:event:{signal.name}:{signal.id}",
            source=self._source,
            subject=record.execution_id,
            time=now,
            organization=record.org,
            workflow=record.workflow,
            attempt=record.attempt,
            data=SignalledData(number=number, entry=entry),
        )
        after = 0 if last is None else last.sequence
        identity = f"{event.id}:{after}"
        return Message(subject=subject, payload=encode(event), id=identity, expect_last=after, expect_on=line)


def was_sent(record: Record, signal: Signal) -> bool:
    """Whether the record says that the execution was sent it."""
    entries = (line.entry for line in record.trace)
    return any(isinstance(it, SignalEntry) and (it.name, it.id) == (signal.name, signal.id) for it in entries)


def _all_of(record: Record) -> str:
    return subjects.all_events(record.org, record.execution_id, record.workflow)


def _subject(record: Record, signal: Signal) -> str:
    digest = hashlib.sha256(f"{signal.name}|{signal.id}".encode()).hexdigest()[:32]
    return subjects.signal(record.org, record.workflow, record.execution_id, digest)


def _is(stored: Stored, kind: str) -> bool:
    parsed = subjects.parse_event(stored.subject)
    return parsed is not None and parsed.tail.startswith(kind)


def _sequence(stored: Stored) -> int:
    return stored.sequence


def _last_state(known: list[Stored]) -> Stored | None:
    return max((stored for stored in known if _is(stored, "state.")), key=_sequence, default=None)


def _check_unfinished(known: list[Stored]) -> None:
    last = _last_state(known)
    if last is not None and is_terminal(last):
        status = status_of(last)
        raise Conflict(f"It has ended already: {status}.", details={"status": status})


def _number(stored: Stored) -> int:
    event = decode_event(stored.payload)
    return event.data.number if isinstance(event, Signalled) else 0
