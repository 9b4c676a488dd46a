"""Deliveries when something else goes wrong: other receivers, other subscriptions, schedulers that know less."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from runlane import standard_webhooks
from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts import subjects
from runlane.contracts.directory import Org
from runlane.contracts.encoding import encode
from runlane.contracts.events import Failed, FailedData, Failure, Succeeded, SucceededData
from runlane.contracts.subscriptions import (
    Attempt,
    Ping,
    Sealed,
    Subscription,
    SubscriptionState,
    state_key,
    subscription_context,
    subscription_key,
)
from runlane.contracts.webhooks import SecretVersion
from runlane.directory import Directory, org_key
from runlane.ids import new_execution_id
from runlane.ports import Message
from runlane.sealing import Sealer, generate_master_key, parse_master_keys
from runlane_scheduler.courier import Pace
from runlane_scheduler.outbound import Outbound
from runlane_scheduler.posting import Poster, parcel_of
from tests.support.eventually import eventually
from tests.support.hurried_clock import HurriedClock
from tests.support.raw_vendor import SILENCE, Vendor

QUICK = Pace(first=0.05, longest=0.2)


class Desk:
    """Receivers, the subscriptions to them, and schedulers' deliveries; everything of the organisation `acme`."""

    def __init__(self, bus: NatsBus, receiver: Vendor) -> None:
        self.bus, self.receiver = bus, receiver
        self.store, self.clock = NatsDirectoryStore(bus), HurriedClock()
        self.sealer = Sealer(*parse_master_keys(generate_master_key()))
        self._began: list[tuple[Outbound, Poster, asyncio.Task[None] | None]] = []

    def subscription(self, path: str, **settings: Any) -> Subscription:
        """What posts to a path of the receiver."""
        id_, now = new_execution_id(), datetime.now(UTC)
        sealed = msgspec.json.encode(Sealed(self.receiver.url + path, [standard_webhooks.new_secret()]))
        return Subscription(
            org="acme",
            id=id_,
            address=self.receiver.url,
            sealed=self.sealer.seal(sealed, subscription_context("acme", id_)),
            since=now - timedelta(minutes=1),
            versions=[SecretVersion(id="v1", made_at=now)],
            **settings,
        )

    async def subscribe(self, path: str, **settings: Any) -> Subscription:
        made = self.subscription(path, **settings)
        await self.keep(made)
        return made

    async def keep(self, subscription: Subscription) -> None:
        key = subscription_key(subscription.org, subscription.id)
        await self.store.put(key, msgspec.json.encode(subscription))

    async def happen(self, workflow: str = "quick") -> str:
        """An execution succeeds."""
        execution = new_execution_id()
        event = Succeeded(
            id=f"{execution}:succeeded",
            source="/runlane/executor",
            subject=execution,
            time=datetime.now(UTC),
            organization="acme",
            workflow=workflow,
            data=SucceededData(result=Raw(b"1"), duration_ms=1),
        )
        subject = subjects.event("acme", workflow, execution, "state.succeeded")
        await self.bus.publish(Message(subject=subject, payload=encode(event), id=event.id))
        return execution

    async def begin(self, directory: Directory | None = None, pace: Pace = QUICK, *, running: bool = True) -> Outbound:
        """What a scheduler runs; one with a `directory` of its own hears of nothing."""
        host = self.receiver.url.removeprefix("http://")
        directory, poster = directory or await Directory().follow(self.store), Poster(frozenset({host}))
        outbound = Outbound(self.bus, self.store, directory, self.sealer, self.clock, poster, pace)
        task = asyncio.create_task(outbound.run()) if running else None
        self._began.append((outbound, poster, task))
        return outbound

    async def attempts(self, subscription: Subscription) -> list[Attempt]:
        stored = await self.bus.read(subjects.OUTBOUND, subjects.sent("acme", subscription.id))
        return [msgspec.json.decode(it.payload, type=Attempt) for it in stored]

    def posted(self, path: str) -> int:
        return sum(call == f"POST {path}" for call, _, _ in self.receiver.seen)

    async def end(self) -> None:
        for outbound, poster, task in self._began:
            await outbound.drain()
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            await poster.aclose()


@pytest.fixture
async def desk(bus: NatsBus) -> AsyncIterator[Desk]:
    receiver = Vendor()
    receiver.answer("POST /well")
    receiver.answers["POST /silent"] = (SILENCE, {}, b"")
    receiver.answers["POST /broken"] = (500, {}, b"")
    await receiver.start()
    desk = Desk(bus, receiver)
    await desk.store.put(org_key("acme"), msgspec.json.encode(Org(id="acme", name="Acme")))
    yield desk
    await receiver.stop()
    await desk.end()


async def test_receivers_that_say_nothing_hold_up_no_other(desk: Desk) -> None:
    """Fifteen of them have eight posts each under way: more than one client keeps connections for."""
    silent = [await desk.subscribe("/silent", workflows=["quick"]) for _ in range(15)]
    await desk.begin()
    for _ in range(8):
        await desk.happen()
    await eventually(lambda: desk.posted("/silent") >= 100)
    await desk.subscribe("/well", workflows=["other"])
    await desk.happen("other")
    await eventually(lambda: desk.posted("/well"))
    assert [await desk.attempts(it) for it in silent] == [[]] * 15, "it came when the silent ones had been given up"


async def test_a_change_to_one_whose_receiver_says_nothing_holds_up_no_other(desk: Desk) -> None:
    silent = await desk.subscribe("/silent", workflows=["quick"])
    await desk.begin()
    await desk.happen()
    await eventually(lambda: desk.posted("/silent"))
    await desk.keep(msgspec.structs.replace(silent, description="another"))
    await desk.subscribe("/well", workflows=["other"])
    await desk.happen("other")
    await eventually(lambda: desk.posted("/well"))
    assert await desk.attempts(silent) == []


async def test_one_that_the_broker_does_not_take_holds_up_no_other(desk: Desk) -> None:
    await desk.subscribe("/broken", workflows=["*", "quick"])  # filters that overlap
    await desk.subscribe("/well")
    await desk.happen()
    await desk.begin()
    await eventually(lambda: desk.posted("/well"))


async def test_a_scheduler_that_has_not_heard_of_a_subscription_leaves_its_consumer_alone(desk: Desk) -> None:
    """Made anew it would begin at its beginning, and everything would be sent again."""
    behind = Directory()
    made = await desk.subscribe("/well")
    running = await desk.begin()
    name = subjects.subscriber(made.id, made.since)
    await desk.happen()
    await eventually(lambda: desk.posted("/well"))
    info = f"CONSUMER.INFO.{subjects.EVENTS}.{name}"
    made_at = (await desk.bus.api(info, None))["created"]
    late = await desk.begin(behind, running=False)
    for _ in range(3):
        await late.refresh()
        desk.clock.advance(60)
    there = await eventually(lambda: desk.bus.ask(info))
    assert there is not None
    assert there["created"] == made_at
    await desk.store.delete(subscription_key("acme", made.id))
    await eventually(lambda: not running._couriers)
    await late.refresh()
    desk.clock.advance(60)
    await late.refresh()
    assert await desk.bus.consumers(subjects.EVENTS, subjects.SUBSCRIBERS) == []


async def test_what_is_removed_is_not_sent_again_by_a_scheduler_that_has_not_heard_of_it_yet(desk: Desk) -> None:
    """It would make the consumer anew that the other has removed."""
    made = await desk.subscribe("/well")
    behind, quick = Directory(), await desk.begin(running=False)
    behind.apply(org_key("acme"), msgspec.json.encode(Org(id="acme", name="Acme")), 1)
    behind.apply(subscription_key("acme", made.id), msgspec.json.encode(made), 2)
    slow = await desk.begin(behind, running=False)
    await slow.refresh()
    await desk.happen()
    await eventually(lambda: desk.posted("/well"))
    info = f"CONSUMER.INFO.{subjects.EVENTS}.{subjects.subscriber(made.id, made.since)}"
    made_at = (await desk.bus.api(info, None))["created"]
    await desk.store.delete(subscription_key("acme", made.id))
    for _ in range(3):
        await quick.refresh()
    there = await eventually(lambda: desk.bus.ask(info))
    assert there is not None
    assert there["created"] == made_at
    behind.apply(subscription_key("acme", made.id), None, 3)
    await slow.refresh()
    desk.clock.advance(60)
    await quick.refresh()
    assert await desk.bus.consumers(subjects.EVENTS, subjects.SUBSCRIBERS) == []


async def test_an_old_failure_does_not_cost_the_next_event_its_day(desk: Desk) -> None:
    """The last event was given up ten days ago, and none came since: this one's first failure stops nothing."""
    made = await desk.subscribe("/broken")
    ago = datetime.now(UTC) - timedelta(days=10)
    state = SubscriptionState(org="acme", id=made.id, failing_since=ago)
    made = msgspec.structs.replace(made, since=ago - timedelta(days=1))
    await desk.keep(made)
    await desk.store.put(state_key("acme", made.id), msgspec.json.encode(state))
    await desk.begin()
    await desk.happen()
    await eventually(lambda: desk.posted("/broken") >= 2)
    desk.receiver.answer("POST /broken")

    async def taken() -> bool:
        return [it.outcome for it in await desk.attempts(made)][-1:] == ["delivered"]

    await eventually(taken)


async def test_a_test_of_what_a_scheduler_has_not_heard_of_yet_is_not_lost(desk: Desk) -> None:
    made = desk.subscription("/well", enabled=False)
    await desk.begin()
    ping = Ping(new_execution_id(), "acme", made.id, datetime.now(UTC))
    message = Message(subject=subjects.ping("acme", made.id), payload=msgspec.json.encode(ping), id=ping.id)
    await desk.bus.publish(message)
    await eventually(lambda: _taken(desk))
    await desk.keep(made)
    await eventually(lambda: desk.posted("/well"))


async def _taken(desk: Desk) -> bool:
    return (await desk.bus.lag(subjects.OUTBOUND, subjects.PINGS)).delivered > 0


async def test_a_scheduler_joins_another_at_a_single_filter(desk: Desk) -> None:
    await desk.subscribe("/well", workflows=["quick"], events=["succeeded"])
    await desk.begin()
    joined = await desk.begin(running=False)
    await joined.refresh()
    await desk.happen()
    await eventually(lambda: desk.posted("/well"))


async def test_a_scheduler_that_is_stopped_finishes_what_it_posts(desk: Desk) -> None:
    """Also what it posted for a subscription that has been changed meanwhile."""
    asked, answer = 0, asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        await reader.readuntil(b"\r\n\r\n")
        asked += 1
        await answer.wait()
        writer.write(b"HTTP/1.1 204 Said\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(slow, "127.0.0.1", 0) as server:
        desk.receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        made = await desk.subscribe("/slow")
        stopping = await desk.begin()
        await desk.happen()
        await eventually(lambda: asked == 1)
        await desk.keep(msgspec.structs.replace(made, description="another"))
        await eventually(lambda: stopping._leaving)
        drained = asyncio.create_task(stopping.drain())
        await eventually(lambda: not stopping._couriers)
        answer.set()
        await drained
    assert [it.outcome for it in await desk.attempts(made)] == ["delivered"]
    consumer = subjects.subscriber(made.id, made.since)

    async def acknowledged() -> bool:
        return (await desk.bus.lag(subjects.EVENTS, consumer)).unacknowledged == 0

    await eventually(acknowledged)


@pytest.mark.parametrize("asked", ["\u00b2", "-5", "soon", "9" * 4000, "Wed, 21 Oct 99999 07:28:00 GMT", "nan"])
async def test_a_time_that_cannot_be_read_is_no_reason_to_stop_trying(desk: Desk, asked: str) -> None:
    answers = [(503, {"Retry-After": asked}, b""), (200, {}, b"")]
    desk.receiver.answers["POST /odd"] = lambda _: answers.pop(0)
    made = await desk.subscribe("/odd")
    await desk.begin()
    await desk.happen()
    (first, *_) = await eventually(lambda: desk.attempts(made))
    assert (first.outcome, first.status) == ("failed", 503)


def test_what_only_those_may_see_who_may_see_internals_is_not_sent() -> None:
    internal = {"type": "KeyError", "message": "'x'", "traceback": "line 3 of offboard.py"}
    failure = Failure("Broken", "it broke", details={"field": "x"}, internal=internal)
    event = Failed(
        id="e1:failed",
        source="/runlane/executor",
        subject="e1",
        time=datetime.now(UTC),
        organization="acme",
        workflow="quick",
        data=FailedData(failure=failure, duration_ms=1),
    )
    sent = msgspec.json.decode(parcel_of(encode(event)).body)
    assert sent["data"]["failure"] == {"error": "Broken", "message": "it broke", "details": {"field": "x"}}
