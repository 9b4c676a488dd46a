"""Delivers one subscription's events, each until it has arrived or is too old. Started and stopped by `outbound`.

Its durable consumer is shared by all schedulers: each event is with one of them at a time, and comes to another when
that one dies. What could not be delivered is given back for later; nothing waits here.
"""

import asyncio
import random
from datetime import timedelta
from typing import Protocol

import msgspec
from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.subscriptions import (
    Attempt,
    AttemptOutcome,
    Sealed,
    Subscription,
    filters_of,
    live_secrets,
)
from runlane.errors import RunlaneError
from runlane.ids import new_execution_id
from runlane.ports import Bus, Consumption, Delivery, Durable, Message
from runlane.telemetry import logger

from .metrics import SENT, SENT_SECONDS
from .posting import POST_SECONDS, Answered, Parcel, Poster, parcel_of

_log = logger(__name__)

#: Posts to one address at the same time.
_AT_ONCE = 8
#: Events that may wait for another attempt; beyond that the rest wait in the stream.
_MOST_OUT = 1000
#: A scheduler that is silent for longer is taken for dead: longer than an attempt may take.
_LEASE = 2 * POST_SECONDS


class Pace(Struct, frozen=True, kw_only=True):
    """How deliveries are repeated, in seconds. The waits double from `first` to `longest`, each up to a tenth longer.

    An event that is older than `patience` is given up. Where nothing arrived for `stop_after` by then, the subscription
    stops: that is less than `patience` by the longest wait, so that a single event that nobody took stops it, too.
    """

    first: float = 5.0
    longest: float = 600.0
    patience: float = 86_400.0
    stop_after: float = 79_200.0

    def wait(self, attempt: int) -> float:
        wait = min(self.first * 2 ** min(attempt - 1, 30), self.longest)
        return float(wait) * random.uniform(1, 1.1)  # nosec B311


class Ledger(Protocol):
    """Who is told how a subscription fares."""

    async def arrived(self, subscription: Subscription) -> None: ...
    async def failed(self, subscription: Subscription) -> None: ...
    async def gave_up(self, subscription: Subscription, reason: str) -> None: ...
    async def gone(self, subscription: Subscription) -> None: ...


class Courier:
    """See the module."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        poster: Poster,
        ledger: Ledger,
        pace: Pace,
        subscription: Subscription,
        sealed: Sealed,
    ) -> None:
        self._bus, self._clock, self._poster, self._ledger, self._pace = bus, clock, poster, ledger, pace
        self.subscription, self._sealed = subscription, sealed
        self._under_way: set[asyncio.Task[None]] = set()
        self._consumption: Consumption | None = None

    async def start(self) -> None:
        """Begin to deliver. Raises `BusUnavailable`."""
        wanted = self.subscription
        durable = Durable(filters=filters_of(wanted), since=wanted.since, lease=_LEASE, most=_MOST_OUT)
        name = subjects.subscriber(wanted.id, wanted.since)
        self._consumption = await self._bus.consume_durable(
            subjects.EVENTS, name, durable, self.take, lambda: _AT_ONCE - len(self._under_way)
        )

    @property
    def busy(self) -> bool:
        """Whether something is being posted."""
        return bool(self._under_way)

    async def stop(self) -> None:
        """Take no more; what is being posted goes on."""
        if self._consumption is not None:
            await self._consumption.stop()

    async def finish(self) -> None:
        """Wait for what is being posted."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=POST_SECONDS)

    def take(self, delivery: Delivery) -> None:
        """Deliver an event."""
        task = asyncio.create_task(self._deliver(delivery))
        self._under_way.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if not task.cancelled() and (problem := task.exception()) is not None:
            _log.error("a delivery failed in a way nobody foresaw", id=self.subscription.id, reason=repr(problem))
        if self._consumption is not None:
            self._consumption.pull()

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            parcel = parcel_of(delivery.payload)
        except (msgspec.DecodeError, KeyError) as problem:
            _log.error("not an event", subject=delivery.subject, sequence=delivery.sequence, reason=str(problem))
            delivery.term("not an event")
            return
        await self._attempt_at(parcel, delivery)

    async def ping(self, parcel: Parcel) -> None:
        """One attempt, from which nothing follows."""
        answered = await self._post(parcel)
        await self._note(self._attempt(parcel, 1, answered, "delivered" if answered.arrived else "given_up"))

    async def _post(self, parcel: Parcel) -> Answered:
        now = self._clock.now()
        answered = await self._poster.post(
            self._sealed.url, live_secrets(self.subscription, self._sealed, now), parcel, now
        )
        SENT_SECONDS.observe(answered.duration_ms / 1000)
        return answered

    async def _attempt_at(self, parcel: Parcel, delivery: Delivery) -> None:
        answered = await self._post(parcel)
        outcome, wait = self._outcome(answered, delivery)
        SENT.labels(outcome).inc()
        match outcome:
            case "failed":
                delivery.nak(wait)
            case "given_up":
                delivery.term("too old to be delivered")
            case _:
                delivery.ack()
        await self._tell(self._attempt(parcel, delivery.delivered, answered, outcome, wait))

    def _outcome(self, answered: Answered, delivery: Delivery) -> tuple[AttemptOutcome, float]:
        """What became of it, and in how many seconds it is tried again."""
        if answered.arrived:
            return "delivered", 0
        if answered.status == 410:
            return "gone", 0
        wait = max(self._pace.wait(delivery.delivered), answered.wait)
        age = (self._clock.now() - delivery.time).total_seconds()
        return ("given_up", 0) if age + wait > self._pace.patience else ("failed", wait)

    def _attempt(
        self, parcel: Parcel, number: int, answered: Answered, outcome: AttemptOutcome, wait: float = 0
    ) -> Attempt:
        now = self._clock.now()
        return Attempt(
            at=now,
            event=parcel.id,
            type=parcel.type,
            number=number,
            outcome=outcome,
            duration_ms=answered.duration_ms,
            status=answered.status,
            problem=answered.problem,
            next_at=now + timedelta(seconds=wait) if wait else None,
        )

    async def _tell(self, attempt: Attempt) -> None:
        wanted = self.subscription
        try:
            await self._note(attempt)
            match attempt.outcome:
                case "delivered":
                    await self._ledger.arrived(wanted)
                case "gone":
                    await self._ledger.gone(wanted)
                case "failed":
                    await self._ledger.failed(wanted)
                case "given_up":
                    await self._ledger.gave_up(wanted, attempt.problem or f"it answered {attempt.status}")
        except RunlaneError as problem:
            _log.warning("what became of a delivery is not noted", id=wanted.id, reason=problem.message)

    async def _note(self, attempt: Attempt) -> None:
        subject = subjects.sent(self.subscription.org, self.subscription.id)
        await self._bus.publish(
            Message(subject=subject, payload=msgspec.json.encode(attempt), id=f"sent:{new_execution_id()}")
        )
