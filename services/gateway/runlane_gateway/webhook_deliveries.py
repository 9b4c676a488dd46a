"""Tells EVENTS what became of each delivery. Called by the webhook door.

What started something is told with it. Everything else is told in the background and bounded, so that somebody who
sends garbage fills neither the store nor the log, and learns nothing from how long an answer takes.
"""

import asyncio

from msgspec import Struct
from prometheus_client import Counter

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import Delivered, DeliveryData, DeliveryOutcome
from runlane.errors import RunlaneError
from runlane.ports import Bus, Message
from runlane.telemetry import logger

from .rates import Buckets

_log = logger(__name__)

#: Of each webhook, so many deliveries a minute that started nothing are told of, and so many at once.
TOLD_PER_MINUTE = 60
TOLD_AT_ONCE = 120
_MOST_AT_ONCE = 256
_LONGEST_REASON = 300

_outcomes = Counter("runlane_webhook_deliveries", "Deliveries of webhooks.", ["outcome"])
_untold = Counter("runlane_webhook_deliveries_untold", "Deliveries that started nothing and were not told of.")


class Arrival(Struct, frozen=True, kw_only=True):
    """A delivery as it came in, known to be for a webhook that is there."""

    id: str
    org: str
    workflow: str
    scheme: str
    size_bytes: int
    address: str | None
    sender_id: str | None = None


class Deliveries:
    """Tells of deliveries."""

    def __init__(self, bus: Bus, clock: Clock, source: str) -> None:
        self._bus, self._clock, self._source = bus, clock, source
        self._buckets = Buckets(clock)
        self._telling: set[asyncio.Task[None]] = set()

    def event(
        self, arrival: Arrival, outcome: DeliveryOutcome, *, execution_id: str | None = None, reason: str | None = None
    ) -> Message:
        """What is to be published of a delivery."""
        event = Delivered(
            id=f"{arrival.id}:{outcome}",
            source=self._source,
            subject=arrival.id,
            time=self._clock.now(),
            organization=arrival.org,
            workflow=arrival.workflow,
            data=DeliveryData(
                outcome=outcome,
                scheme=arrival.scheme,
                reason=None if reason is None else reason[:_LONGEST_REASON],
                execution_id=execution_id,
                sender_id=arrival.sender_id,
                size_bytes=arrival.size_bytes,
                address=arrival.address,
            ),
        )
        subject = subjects.delivery(arrival.org, arrival.workflow)
        return Message(subject=subject, payload=encode(event), id=event.id)

    def tell(
        self, arrival: Arrival, outcome: DeliveryOutcome, *, execution_id: str | None = None, reason: str | None = None
    ) -> None:
        """Tell of one that started nothing, later, unless there were too many."""
        place = arrival.org, arrival.workflow
        if len(self._telling) >= _MOST_AT_ONCE or self._buckets.take(place, TOLD_PER_MINUTE, TOLD_AT_ONCE) > 0:
            _untold.inc()
            return
        message = self.event(arrival, outcome, execution_id=execution_id, reason=reason)
        task = asyncio.create_task(self._publish(message))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def count(self, outcome: str) -> None:
        """Count it at /metrics."""
        _outcomes.labels(outcome).inc()

    async def _publish(self, message: Message) -> None:
        try:
            await self._bus.publish(message)
        except RunlaneError as problem:
            _log.warning("a delivery was not told of", subject=message.subject, reason=problem.message)
