"""Keeps a courier for every active subscription, and the state of each. Run by every scheduler beside its work.

Any number of schedulers do the same: the durable consumers share the events out among them.
"""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from runlane.audit import Audit, Target
from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.requests import Caller
from runlane.contracts.subscriptions import (
    Ping,
    Sealed,
    Subscription,
    SubscriptionState,
    is_active,
    ping_event,
    state_key,
    subscription_context,
    subscription_key,
)
from runlane.directory import Directory
from runlane.errors import BusUnavailable, SealBroken
from runlane.ports import Bus, Consumption, Delivery, DirectoryStore
from runlane.sealing import Sealer
from runlane.telemetry import logger

from .courier import Courier, Pace
from .metrics import SUBSCRIPTIONS
from .posting import Poster, parcel_of

_log = logger(__name__)

#: How often it looks without having heard of a change.
_LOOK_SECONDS = 30.0
#: Whoever has not heard of a change for so long has no connection and pulls nothing either.
_ORPHAN_SECONDS = 30.0
_KINDS = ("subscriptions.", "subscriptionstates.")
_PINGS_AT_ONCE = 16
#: How often it is looked whether a ping's subscription is known by now, a second apart.
_PING_LOOKS = 10


class Outbound:
    """See the module. It is its couriers' `Ledger`, too."""

    def __init__(
        self,
        bus: Bus,
        store: DirectoryStore,
        directory: Directory,
        sealer: Sealer,
        clock: Clock,
        poster: Poster,
        pace: Pace | None = None,
    ) -> None:
        self._bus, self._store, self._directory, self._sealer = bus, store, directory, sealer
        self._clock, self._poster, self._pace = clock, poster, pace or Pace()
        self._couriers: dict[str, Courier] = {}
        #: Consumers of nothing that is delivered, and since when that is known here.
        self._orphans: dict[str, float] = {}
        #: Those that take no more and still post something.
        self._leaving: list[Courier] = []
        self._pings: set[asyncio.Task[None]] = set()
        self._changed, self._round = asyncio.Event(), asyncio.Lock()
        self._draining = False
        directory.on_change(self._hear)

    async def run(self) -> None:
        """Deliver for ever."""
        pings = await self._consume_pings()
        try:
            while not self._draining:
                self._changed.clear()
                try:
                    await self.refresh()
                except BusUnavailable as problem:
                    _log.warning("subscriptions wait", reason=problem.message)
                except Exception:
                    _log.exception("subscriptions could not be looked after")
                await self._until_changed()
        finally:
            await pings.stop()

    async def drain(self) -> None:
        """Take no more events, and finish those that are being posted."""
        self._draining = True
        self._changed.set()
        async with self._round:
            couriers, self._couriers = list(self._couriers.values()), {}
            await asyncio.gather(*(courier.stop() for courier in couriers))
            await asyncio.gather(*(courier.finish() for courier in couriers + self._leaving))

    async def refresh(self) -> None:
        """Couriers for what is active, none for the rest. Raises `BusUnavailable`."""
        async with self._round:
            if not self._draining:
                await self._refresh()

    async def _refresh(self) -> None:
        wanted = {subjects.subscriber(it.id, it.since): it for it in self._active()}
        self._leaving = [courier for courier in self._leaving if courier.busy]
        for name, courier in list(self._couriers.items()):
            if wanted.get(name) != courier.subscription:
                del self._couriers[name]
                await courier.stop()
                self._leaving.append(courier)
        await self._remove_orphans(set(wanted))
        for name, subscription in wanted.items():
            if name not in self._couriers:
                await self._begin(name, subscription)
        SUBSCRIPTIONS.set(len(self._couriers))

    # --- the ledger ---------------------------------------------------------------------------------------------------

    async def arrived(self, subscription: Subscription) -> None:
        """All is well."""
        if self._directory.subscription_state(subscription.org, subscription.id) is not None:
            await self._store.delete(state_key(subscription.org, subscription.id))

    async def failed(self, subscription: Subscription) -> None:
        """Something did not arrive."""
        await self._failing_since(subscription)

    async def gave_up(self, subscription: Subscription, reason: str) -> None:
        """An event had all its time; if nothing else arrived in it either, nothing is sent any more.

        Not before: that nothing has arrived for long may only mean that nothing has happened since.
        """
        since = await self._failing_since(subscription)
        if self._clock.now() - since >= timedelta(seconds=self._pace.stop_after):
            await self._stop(subscription, f"Nothing has arrived since {since.isoformat()}: {reason}.")

    async def _failing_since(self, subscription: Subscription) -> datetime:
        known = self._directory.subscription_state(subscription.org, subscription.id)
        if known is not None and known.failing_since is not None and known.failing_since >= subscription.since:
            return known.failing_since
        now = self._clock.now()
        await self._put(SubscriptionState(org=subscription.org, id=subscription.id, failing_since=now))
        return now

    async def gone(self, subscription: Subscription) -> None:
        """The receiver wants no more."""
        await self._stop(subscription, "The receiver answered 410 Gone.")

    async def _stop(self, subscription: Subscription, reason: str) -> None:
        org, id_ = subscription.org, subscription.id
        known = self._directory.subscription_state(org, id_)
        if not is_active(subscription, known):
            return
        audit = Audit(self._bus, self._clock, "/runlane/scheduler", Caller(id="runlane"))
        async with audit.record("stop", Target(org, "subscriptions", id_), after={"reason": reason}):
            since = None if known is None else known.failing_since
            now = self._clock.now()
            await self._put(SubscriptionState(org=org, id=id_, failing_since=since, stopped_at=now, reason=reason))
        _log.warning("a subscription was stopped", org=org, id=id_, reason=reason)

    async def _put(self, state: SubscriptionState) -> None:
        key, value = state_key(state.org, state.id), msgspec.json.encode(state)
        self._directory.apply(key, value, await self._store.put(key, value))

    # --- couriers -----------------------------------------------------------------------------------------------------

    def _hear(self, key: str) -> None:
        if key.startswith(_KINDS):
            self._changed.set()

    async def _until_changed(self) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), _LOOK_SECONDS)
        except TimeoutError:
            return

    def _active(self) -> Iterator[Subscription]:
        for subscription in self._directory.all_subscriptions():
            state = self._directory.subscription_state(subscription.org, subscription.id)
            if self._directory.org(subscription.org) is not None and is_active(subscription, state):
                yield subscription

    async def _begin(self, name: str, subscription: Subscription) -> None:
        courier = self._courier(subscription)
        if courier is None:
            return
        try:
            await courier.start()
        except BusUnavailable as problem:
            if not self._bus.connected:
                raise
            # Refused: it must not keep the others from beginning. The next round tries again.
            _log.error("a subscription has no consumer", id=subscription.id, reason=problem.message)
            return
        self._couriers[name] = courier

    def _courier(self, subscription: Subscription) -> Courier | None:
        context = subscription_context(subscription.org, subscription.id)
        try:
            sealed = msgspec.json.decode(self._sealer.open(subscription.sealed, context), type=Sealed)
        except SealBroken as problem:
            _log.error("a subscription cannot be opened", id=subscription.id, reason=problem.message)
            return None
        return Courier(self._bus, self._clock, self._poster, self, self._pace, subscription, sealed)

    async def _remove_orphans(self, wanted: set[str]) -> None:
        """Consumers of what is no longer delivered, once all schedulers must have heard that it is not: one that still
        pulled would make the consumer anew, from its beginning."""
        now, known = self._clock.monotonic(), self._orphans
        found = await self._bus.consumers(subjects.EVENTS, subjects.SUBSCRIBERS)
        self._orphans = {name: known.get(name, now) for name in found if name not in wanted}
        for name, since in list(self._orphans.items()):
            if now - since >= _ORPHAN_SECONDS and not await self._is_news(name):
                await self._bus.remove_consumer(subjects.EVENTS, name)

    async def _is_news(self, name: str) -> bool:
        """Whether a consumer is of a subscription that others have heard of already, and this process has not.

        Removed, it would be made anew from its beginning, and everything would be sent again. A consumer whose
        subscription this process does know can go: what is active again has another (`subjects.subscriber`).
        """
        id_ = subjects.subscription_of(name)
        stored = await self._bus.last(subjects.DIRECTORY_STREAM, subjects.DIRECTORY_PREFIX + subscription_key("*", id_))
        if stored is None or not stored.payload:
            return False
        there = msgspec.json.decode(stored.payload, type=Subscription)
        return subjects.subscriber(id_, there.since) == name and self._directory.subscription(there.org, id_) != there

    # --- pings --------------------------------------------------------------------------------------------------------

    async def _consume_pings(self) -> Consumption:
        return await self._bus.consume(
            subjects.OUTBOUND, subjects.PINGS, self._take_ping, lambda: _PINGS_AT_ONCE - len(self._pings)
        )

    def _take_ping(self, delivery: Delivery) -> None:
        task = asyncio.create_task(self._ping(delivery))
        self._pings.add(task)
        task.add_done_callback(self._pings.discard)

    async def _ping(self, delivery: Delivery) -> None:
        """One attempt, whether it is active or not; a ping is not repeated. That of a subscription which this process
        has not heard of comes again a little later: it may be as new as the ping."""
        ping = msgspec.json.decode(delivery.payload, type=Ping)
        subscription = self._directory.subscription(ping.org, ping.subscription)
        if subscription is None and delivery.delivered < _PING_LOOKS:
            delivery.nak(1.0)
            return
        delivery.ack()
        courier = None if subscription is None else self._courier(subscription)
        if courier is not None:
            await courier.ping(parcel_of(ping_event(ping)))
