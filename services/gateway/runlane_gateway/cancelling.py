"""Cancels an execution by writing the state that ends it: the state line decides who was first."""

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import Cancelled, CancelledData
from runlane.contracts.records import Record
from runlane.contracts.requests import Caller
from runlane.errors import Conflict, StateConflict
from runlane.ports import Bus, Message, Stored

from .accept import PUBLISH_SECONDS
from .reasons import shown_reason
from .waiting import Waiters, is_terminal, status_of

#: Every lost round means that the execution moved on; one that moves so often without ending does not exist.
_ROUNDS = 50


class Canceller:
    """Writes `cancelled`, then tells the executor and whoever waits here."""

    def __init__(self, bus: Bus, clock: Clock, waiters: Waiters, name: str) -> None:
        self._bus, self._clock, self._waiters = bus, clock, waiters
        self._source = f"/runlane/gateway/{name}"

    async def cancel(self, org: str, record: Record, by: Caller, reason: str | None) -> None:
        """Returns once it is stored; also when it was cancelled before. Raises `Conflict` when it ended otherwise."""
        if record.finished:
            _check_ended(record.status)
            return
        line = subjects.state_line(org, record.workflow, record.execution_id)
        for _ in range(_ROUNDS):
            last = await self._bus.last(subjects.EVENTS, line)
            if last is not None and is_terminal(last):
                _check_ended(status_of(last))
                return
            event = self._event(org, record, by, reason)
            try:
                await self._bus.publish(_message(event, line, last), timeout=PUBLISH_SECONDS)
            except StateConflict:
                continue
            self._bus.send(subjects.cancel(record.execution_id), b"")
            self._waiters.ended(record.execution_id, encode(event))
            return
        raise Conflict("It moves on faster than it can be cancelled; try again.")

    def _event(self, org: str, record: Record, by: Caller, reason: str | None) -> Cancelled:
        return Cancelled(
            id=f"{record.execution_id}:cancelled",
            source=self._source,
            subject=record.execution_id,
            time=self._clock.now(),
            organization=org,
            workflow=record.workflow,
            attempt=record.attempt,
            data=CancelledData(by=by, reason=shown_reason(reason)),
        )


def _message(event: Cancelled, line: str, last: Stored | None) -> Message:
    sequence = 0 if last is None else last.sequence
    return Message(
        subject=subjects.event(event.organization, event.workflow, event.subject, "state.cancelled"),
        payload=encode(event),
        id=f"{event.id}:{sequence}",
        expect_last=sequence,
        expect_on=line,
    )


def _check_ended(status: str) -> None:
    if status != "Cancelled":
        raise Conflict(f"It has ended already: {status}.", details={"status": status})
