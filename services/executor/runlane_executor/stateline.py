"""Writes the state line of executions: every change is a compare-and-set, so the broker is the referee (DESIGN §3)."""

import itertools
from datetime import datetime
from typing import Any, cast

from msgspec import Raw

from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import STATE_TAILS, Event, StateEvent, Traced, TracedData, decode_event
from runlane.contracts.requests import Request
from runlane.contracts.trace import TraceEntry
from runlane.errors import BusUnavailable, StateConflict
from runlane.ports import Bus, Message, Stored
from runlane.requesting import request_message
from runlane.telemetry import logger
from runlane_executor import metrics

_log = logger(__name__)

#: How long one publish keeps trying while the broker is away before it says so in the log and goes on trying.
_PATIENCE_SECONDS = 30.0


class StateLine:
    """Publishes the events of executions on behalf of one executor."""

    def __init__(self, bus: Bus, executor: str) -> None:
        self.bus, self.executor = bus, executor
        self._moves = itertools.count(1)
        self.source = f"/runlane/executor/{executor}"

    def envelope(self, request: Request, at: datetime, name: str) -> dict[str, Any]:
        """The CloudEvents attributes of an event of this execution; `name` makes its id."""
        return {
            "id": f"{request.execution_id}:{name}",
            "source": self.source,
            "subject": request.execution_id,
            "time": at,
            "organization": request.org,
            "workflow": request.workflow,
            "attempt": request.attempt,
        }

    async def move(self, request: Request, event: StateEvent, expect: int) -> int:
        """Move the state line on from `expect`; returns the new state's sequence.

        Keeps trying while the broker is away. Raises `StateConflict` when somebody else moved it first and
        `MessageTooLarge` when the event cannot be stored.
        """
        org, workflow, execution = request.org, request.workflow, request.execution_id
        tail = STATE_TAILS[type(event)]
        message = Message(
            subject=subjects.event(org, workflow, execution, tail),
            payload=encode(event),
            # Each move has its own: two claims by one executor, of a request that came twice, are not repetitions.
            id=f"{execution}:{expect}:{tail}:{self.executor}:{next(self._moves)}",
            expect_last=expect,
            expect_on=subjects.state_line(org, workflow, execution),
        )
        return await self.publish(message)

    async def trace(self, request: Request, claim: int, number: int, at: datetime, entries: list[bytes]) -> int:
        """Store trace entries, provided that the claim still stands. Raises `StateConflict` when it does not."""
        org, workflow, execution = request.org, request.workflow, request.execution_id
        name = f"trace:{claim}:{number}"
        event = Traced(**self.envelope(request, at, name), data=TracedData(entries=as_entries(entries)))
        message = Message(
            subject=subjects.event(org, workflow, execution, "trace"),
            payload=encode(event),
            id=f"{execution}:{name}",
            expect_last=claim,
            expect_on=subjects.state_line(org, workflow, execution),
        )
        return await self.publish(message)

    async def request_later(self, request: Request, lane: str, at: datetime) -> None:
        """Hand the execution back to the queue for a later time; doing so again replaces the earlier one."""
        # With its time: asking again for another time must not pass for a repetition.
        identity = f"{request.execution_id}:{request.attempt}:{request.last_state}:{at.timestamp():.3f}:{self.executor}"
        await self.publish(request_message(request, lane, identity, at))

    async def last(self, request: Request) -> tuple[Stored, Event] | None:
        """The state an execution is in now."""
        line = subjects.state_line(request.org, request.workflow, request.execution_id)
        stored = await self.bus.last(subjects.EVENTS, line)
        return None if stored is None else (stored, decode_event(stored.payload))

    async def is_queued(self, request: Request) -> bool:
        """Whether the execution was accepted."""
        queued = subjects.event(request.org, request.workflow, request.execution_id, "queued")
        return await self.bus.last(subjects.EVENTS, queued) is not None

    async def publish(self, message: Message) -> int:
        """Store it, however long the broker is away. Raises `StateConflict`, `MessageTooLarge`."""
        while True:
            try:
                return await self.bus.publish(message, timeout=_PATIENCE_SECONDS)
            except StateConflict:
                metrics.REFUSED.inc()
                raise
            except BusUnavailable as problem:
                _log.warning("still not stored, trying on", subject=message.subject, reason=problem.message)


def as_entries(entries: list[bytes]) -> list[TraceEntry]:
    """Entries that are JSON already go into the event as they are."""
    return cast(list[TraceEntry], [Raw(entry) for entry in entries])
