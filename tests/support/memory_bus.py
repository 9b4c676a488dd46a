"""For tests of records and the recorder: events as their publishers write them, and a bus in memory that delivers them.

`tests/integration/test_recorder_over_nats.py` runs the recorder over the real one.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from msgspec import Raw

from runlane.contracts import subjects
from runlane.contracts.approvals import ApprovalTerms
from runlane.contracts.encoding import encode
from runlane.contracts.events import (
    STATE_TAILS,
    AnyEvent,
    ApprovalExpired,
    ApprovalExpiredData,
    Approved,
    Cancelled,
    CancelledData,
    DecidedData,
    Decision,
    Declined,
    Failed,
    FailedData,
    Failure,
    PendingApproval,
    PendingApprovalData,
    Queued,
    QueuedData,
    Rejected,
    RejectedData,
    Retrying,
    RetryingData,
    Signalled,
    SignalledData,
    Started,
    StartedData,
    Succeeded,
    SucceededData,
    Suspended,
    SuspendedData,
    TickData,
    Ticked,
    Traced,
    TracedData,
)
from runlane.contracts.requests import Caller, Trigger
from runlane.contracts.trace import LogEntry, ProgressEntry, SignalEntry, TraceEntry
from runlane.errors import BusUnavailable
from runlane.ports import ConsumerLag, Message, Stored

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)


class Story:
    """What one execution tells, one second between any two events."""

    def __init__(self, execution: str = "e1", org: str = "acme", workflow: str = "hello", at: datetime = START) -> None:
        self.execution, self.org, self.workflow = execution, org, workflow
        self.at, self.first_started_at, self.attempt = at, at, 0

    def queued(self, **data: Any) -> Queued:
        known: dict[str, Any] = {"trigger": Trigger(), "caller": Caller("key1"), "input": Raw(b'{"n":1}')}
        return Queued(**self._envelope(), data=QueuedData(**known | data))

    def started(self, executor: str = "executor-1", **data: Any) -> Started:
        self.attempt += 1
        envelope = self._envelope()
        if self.attempt == 1:
            self.first_started_at = envelope["time"]
        known = {"executor": executor, "request": "REQUESTS:1", "first_started_at": self.first_started_at}
        return Started(**envelope, data=StartedData(**known | data))

    def traced(self, *entries: TraceEntry) -> Traced:
        return Traced(**self._envelope(), data=TracedData(entries=list(entries)))

    def retrying(self, message: str = "no answer", trace: list[TraceEntry] | None = None) -> Retrying:
        envelope = self._envelope()
        data = RetryingData(
            failure=Failure("IntegrationError", message, {"integration": "msgraph"}),
            next_attempt=self.attempt + 1,
            next_attempt_at=envelope["time"] + timedelta(seconds=30),
            first_started_at=self.first_started_at,
            trace=trace or [],
        )
        return Retrying(**envelope, data=data)

    def suspended(self, reason: str = "sleep", trace: list[TraceEntry] | None = None) -> Suspended:
        envelope = self._envelope()
        until = envelope["time"] + timedelta(hours=1)
        data = SuspendedData(reason=reason, first_started_at=self.first_started_at, until=until, trace=trace or [])
        return Suspended(**envelope, data=data)

    def succeeded(self, result: bytes = b'{"ok":true}', trace: list[TraceEntry] | None = None) -> Succeeded:
        return Succeeded(**self._envelope(), data=SucceededData(result=Raw(result), duration_ms=7, trace=trace or []))

    def failed(self, trace: list[TraceEntry] | None = None) -> Failed:
        failure = Failure("InternalServerError", "unexpected", {}, {"type": "KeyError", "message": "x"})
        return Failed(**self._envelope(), data=FailedData(failure=failure, duration_ms=9, trace=trace or []))

    def cancelled(self, reason: str | None = "enough") -> Cancelled:
        return Cancelled(**self._envelope(), data=CancelledData(by=Caller("key2", "ann@acme.test"), reason=reason))

    def pending_approval(self, *given: Decision, count: int = 1, **data: Any) -> PendingApproval:
        envelope = self._envelope()
        terms = ApprovalTerms(
            expires_at=START + timedelta(days=3), rule="as declared", message="Delete it?", count=count
        )
        known: dict[str, Any] = {"terms": terms, "digest": "d", "asked_at": START, "decisions": list(given)}
        return PendingApproval(**envelope, data=PendingApprovalData(**known | data))

    def decision(self, who: str = "ann", approved: bool = True, reason: str | None = "fine") -> Decision:
        return Decision(approved=approved, by=Caller(who, f"{who}@acme.test"), at=self.at, digest="d", reason=reason)

    def approved(self, *given: Decision, **data: Any) -> Approved:
        return Approved(**self._envelope(), data=DecidedData(decisions=list(given), asked_at=START, **data))

    def declined(self, *given: Decision, **data: Any) -> Declined:
        return Declined(**self._envelope(), data=DecidedData(decisions=list(given), asked_at=START, **data))

    def rejected(self, *given: Decision) -> Rejected:
        return Rejected(**self._envelope(), data=RejectedData(decisions=list(given)))

    def approval_expired(self) -> ApprovalExpired:
        envelope = self._envelope()
        return ApprovalExpired(**envelope, data=ApprovalExpiredData(expired_at=envelope["time"]))

    def signalled(self, name: str = "paid", number: int = 1) -> Signalled:
        envelope = self._envelope()
        entry = SignalEntry(at=envelope["time"], name=name, id=f"e{number}", data=Raw(b'{"n":1}'), by=Caller("key1"))
        return Signalled(**envelope, data=SignalledData(number=number, entry=entry))

    def log(self, message: str) -> LogEntry:
        return LogEntry(at=self.at, level="info", message=message, data=Raw(b'{"of":"log"}'))

    def progress(self, percent: float, message: str | None = None) -> ProgressEntry:
        return ProgressEntry(at=self.at, percent=percent, message=message)

    def _envelope(self) -> dict[str, Any]:
        self.at += timedelta(seconds=1)
        return {
            "id": f"{self.execution}:{self.at.timestamp()}",
            "source": "/runlane/test",
            "subject": self.execution,
            "time": self.at,
            "organization": self.org,
            "workflow": self.workflow,
            "attempt": self.attempt,
        }


def ticked(minute: int, org: str = "acme", workflow: str = "audit", **data: Any) -> Ticked:
    """What became of the tick so many minutes after `START`."""
    scheduled_for = START + timedelta(minutes=minute)
    known: dict[str, Any] = {"scheduled_for": scheduled_for, "outcome": "fired", "schedule": "* * * * *"}
    return Ticked(
        id=f"{org}:{workflow}:{minute}",
        source="/runlane/test",
        subject=f"{workflow}/{scheduled_for.isoformat()}",
        time=scheduled_for + timedelta(seconds=1),
        organization=org,
        workflow=workflow,
        data=TickData(**known | data),
    )


def subject_of(event: AnyEvent) -> str:
    """Where the event is published."""
    if isinstance(event, Ticked):
        return subjects.tick(event.organization, event.workflow)
    if isinstance(event, Signalled):
        return subjects.signal(event.organization, event.workflow, event.subject, event.data.entry.id)
    tail = "queued" if isinstance(event, Queued) else "trace" if isinstance(event, Traced) else STATE_TAILS[type(event)]
    return subjects.event(event.organization, event.workflow, event.subject, tail)


def stored(events: Iterable[AnyEvent], first: int = 1) -> list[Stored]:
    """The events as a stream holds them that nothing else was written to."""
    return [Stored(subject_of(event), first + place, encode(event), START) for place, event in enumerate(events)]


class MemoryDelivery:
    """One delivery, and what its consumer said of it."""

    def __init__(self, bus: "MemoryBus", message: Stored) -> None:
        self._bus = bus
        self.subject, self.payload, self.sequence, self.delivered = (
            message.subject,
            message.payload,
            message.sequence,
            1,
        )
        self.time = message.time
        self.renewals = 0

    def ack(self) -> None:
        self._bus.acknowledged.append(self.sequence)

    def in_progress(self) -> None:
        self.renewals += 1

    def nak(self) -> NoReturn:
        _not_for_recorders()

    def term(self, reason: str) -> NoReturn:
        _not_for_recorders()


class MemoryConsumption:
    """Delivers what is stored as long as there is room."""

    def __init__(self, bus: "MemoryBus", deliver: Callable[[MemoryDelivery], None], room: Callable[[], int]) -> None:
        self._bus, self._deliver, self._room = bus, deliver, room
        self.stopped = False

    def pull(self) -> None:
        while not self.stopped and self._room() > 0 and (message := self._bus.take()) is not None:
            delivery = MemoryDelivery(self._bus, message)
            self._bus.deliveries.append(delivery)
            self._deliver(delivery)

    async def stop(self) -> None:
        self.stopped = True


class MemoryBus:
    """One stream and one consumer of it. `leased` counts messages at its beginning that an earlier consumer holds."""

    def __init__(self, leased: int = 0) -> None:
        self.connected = True
        self.messages: list[Stored] = []
        self.deliveries: list[MemoryDelivery] = []
        self.acknowledged: list[int] = []
        self.buried: list[Message] = []
        self.consumption: MemoryConsumption | None = None
        self._leased = self._taken = leased
        #: Every other message goes to another consumer.
        self.shared = False
        self.reads = 0

    def store(self, *messages: Stored) -> None:
        """Store messages and deliver them if somebody wants them."""
        self.messages += messages
        if self.consumption is not None:
            self.consumption.pull()

    def take(self) -> Stored | None:
        """The next message that was not delivered."""
        if self._taken + self.shared >= len(self.messages):
            return None
        self._taken += 1 + self.shared
        return self.messages[self._taken - 1]

    async def consume(
        self, stream: str, consumer: str, deliver: Callable[[MemoryDelivery], None], room: Callable[[], int]
    ) -> MemoryConsumption:
        assert (stream, consumer) == (subjects.EVENTS, subjects.RECORDER)
        self.consumption = MemoryConsumption(self, deliver, room)
        self.consumption.pull()
        return self.consumption

    async def read(self, stream: str, filter_: str, *, after: int = 0, limit: int = 1000) -> list[Stored]:
        self.reads += 1
        prefix = filter_.removesuffix(">")
        found = [it for it in self.messages if it.sequence > after and it.subject.startswith(prefix)]
        return found[:limit]

    async def lag(self, stream: str, consumer: str) -> ConsumerLag:
        if not self.connected:
            raise BusUnavailable
        unacknowledged = self._taken - len(self.acknowledged)
        delivered = self.messages[self._taken - 1].sequence if self._taken else 0
        pending = len(self.messages) - self._taken
        return ConsumerLag(floor=0, pending=pending, unacknowledged=unacknowledged, delivered=delivered)

    def lose(self, count: int) -> None:
        """Send the next ones to a connection that is no more: they come again, but later."""
        self._taken += count

    async def publish(self, message: Message, *, timeout: float = 5.0) -> int:
        assert message.subject.startswith("runlane.dead."), "a recorder publishes nothing else"
        self.buried.append(message)
        return len(self.buried)

    def send(self, subject: str, payload: bytes) -> NoReturn:
        _not_for_recorders()

    async def listen(self, subject: str, heard: Callable[[str, bytes], None]) -> NoReturn:
        _not_for_recorders()

    async def listen_live(self, filter_: str, heard: Callable[[Stored], None]) -> NoReturn:
        _not_for_recorders()

    async def last(self, stream: str, filter_: str) -> NoReturn:
        _not_for_recorders()

    async def last_of_each(self, stream: str, filter_: str) -> NoReturn:
        _not_for_recorders()


def _not_for_recorders() -> NoReturn:
    raise AssertionError("a recorder has no business with this")
