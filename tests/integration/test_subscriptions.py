"""Subscriptions over HTTP and a real nats-server: what is sent, to whom, and what becomes of it when nobody answers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest

from runlane import standard_webhooks
from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.clock import ManualClock, SystemClock
from runlane.contracts import subjects
from runlane.contracts.events import Failure
from runlane.contracts.trace import LogEntry
from runlane.directory import Directory, api_key_key
from runlane_scheduler.courier import Pace
from runlane_scheduler.outbound import Outbound
from runlane_scheduler.posting import Poster
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway, api_key
from tests.support.hurried_clock import HurriedClock
from tests.support.raw_vendor import HANG_UP, Vendor

pytest_plugins = ["tests.support.gateway_fixtures"]

HOOK = "POST /hook"
_OWNERS = ("canManageWebhooks", "canViewExecutions", "canExecuteWorkflows", "canManageExecutions")
ALL = "/subscriptions/acme"


@pytest.fixture
async def receiver() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    vendor.answer(HOOK)
    await vendor.start()
    yield vendor
    await vendor.stop()


@pytest.fixture
def allowed(receiver: Vendor) -> frozenset[str]:
    return frozenset({receiver.url.removeprefix("http://")})


@pytest.fixture
def settings(settings: Any, receiver: Vendor) -> Any:
    """The operator allows the receiver, which is on loopback."""
    return msgspec.structs.replace(settings, allowed_hosts=receiver.url.removeprefix("http://"))


@pytest.fixture
async def owner(gateway: Gateway, bus: NatsBus) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may manage subscriptions of acme; another of globex beside it."""
    for name, org in (("owner", "acme"), ("other", "globex")):
        key = api_key(name, org, *_OWNERS)
        await NatsDirectoryStore(bus).put(api_key_key(name), msgspec.json.encode(key))
    await eventually(lambda: gateway.parts.directory.api_key("other"), within=20)
    async with gateway.client("owner") as opened:
        yield opened


Delivering = Callable[..., Awaitable[Outbound]]


@pytest.fixture
async def delivering(gateway: Gateway, bus: NatsBus, allowed: frozenset[str]) -> AsyncIterator[Delivering]:
    """Starts what a scheduler runs beside its schedules."""
    began: list[tuple[Outbound, Poster, asyncio.Task[None]]] = []

    async def begin(pace: Pace | None = None, clock: Any = None) -> Outbound:
        store, poster = NatsDirectoryStore(bus), Poster(allowed)
        directory = await Directory().follow(store)
        clock = clock or SystemClock()
        pace = pace or Pace(first=0.05, longest=0.2)
        outbound = Outbound(bus, store, directory, gateway.parts.sealer, clock, poster, pace)
        began.append((outbound, poster, asyncio.create_task(outbound.run())))
        return outbound

    yield begin
    for outbound, poster, task in began:
        await outbound.drain()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await poster.aclose()


async def subscribe(owner: httpx.AsyncClient, receiver: Vendor, **body: Any) -> dict[str, Any]:
    answer = await owner.post(ALL, json={"url": f"{receiver.url}/hook", **body})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def run(client: httpx.AsyncClient, workflow: str = "quick") -> str:
    answer = await client.post(f"/workflows/{workflow}", json={})
    assert answer.status_code in (200, 202), answer.text
    return str(answer.json()["executionId"])


async def attempts(owner: httpx.AsyncClient, made: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await owner.get(f"{ALL}/{made['id']}/attempts")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["attempts"])


async def subscribers(bus: NatsBus) -> list[str]:
    return await bus.consumers(subjects.EVENTS, subjects.SUBSCRIBERS)


# --- what arrives -----------------------------------------------------------------------------------------------------


async def test_an_ending_arrives_signed_and_without_what_is_ours(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering
) -> None:
    executor.trace = [LogEntry(at=datetime.now(UTC), level="info", message="a line", data=msgspec.Raw(b"{}"))]
    made = await subscribe(owner, receiver)
    await delivering()
    execution = await run(owner)
    await eventually(lambda: receiver.seen)
    _, headers, body = receiver.seen[0]
    event = msgspec.json.decode(body)
    assert event["type"] == "dev.runlane.execution.succeeded"
    assert (event["subject"], event["organization"]) == (execution, "acme")
    assert event["data"] == {"result": {"done": True}, "duration_ms": 5}
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["webhook-id"] == event["id"]
    key, stamp = standard_webhooks.key_of(made["secret"]), headers["webhook-timestamp"].encode()
    expected = standard_webhooks.signature(key, event["id"].encode(), stamp, body).decode()
    assert headers["webhook-signature"] == expected
    assert abs(int(stamp) - datetime.now(UTC).timestamp()) < 60
    (told,) = await eventually(lambda: attempts(owner, made))
    assert (told["outcome"], told["status"], told["number"]) == ("delivered", 200, 1)
    assert told["event"] == event["id"]


async def test_only_what_was_asked_for_arrives(
    owner: httpx.AsyncClient, gateway: Gateway, executor: Executor, receiver: Vendor, delivering: Delivering
) -> None:
    await subscribe(owner, receiver, events=["failed"], workflows=["quick"])
    await delivering()
    await run(owner)
    async with gateway.client("other") as other:
        await run(other)
    executor.failure = Failure("Broken", "it broke")
    await owner.post("/workflows/slow", json={})
    async with gateway.client("other") as other:
        await other.post("/workflows/quick", json={})
    answer = await owner.post("/workflows/quick", json={})
    await eventually(lambda: receiver.seen)
    events = [msgspec.json.decode(body) for _, _, body in receiver.seen]
    assert [(it["type"].rpartition(".")[2], it["organization"], it["workflow"]) for it in events] == [
        ("failed", "acme", "quick")
    ]
    assert events[0]["subject"] in answer.text


async def test_what_happened_while_no_scheduler_ran_is_sent_and_what_was_before_is_not(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering
) -> None:
    before = await run(owner)
    await subscribe(owner, receiver)
    after = await run(owner)
    await delivering()
    await eventually(lambda: receiver.seen)
    assert [msgspec.json.decode(body)["subject"] for _, _, body in receiver.seen] == [after]
    assert before != after


async def test_two_schedulers_share_the_work_and_nothing_comes_twice(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering
) -> None:
    made = await subscribe(owner, receiver)
    await delivering()
    await delivering()
    ids = {await run(owner) for _ in range(30)}
    await eventually(lambda: len(receiver.seen) >= 30)
    await eventually(lambda: _all_told(owner, made, 30))
    assert {msgspec.json.decode(body)["subject"] for _, _, body in receiver.seen} == ids
    assert len(receiver.seen) == 30


async def _all_told(owner: httpx.AsyncClient, made: dict[str, Any], count: int) -> bool:
    return len(await attempts(owner, made)) == count


# --- when nobody takes it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refusal", [500, 404, 301, HANG_UP])
async def test_what_is_refused_comes_again_with_the_same_id_until_it_is_taken(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering, refusal: int
) -> None:
    receiver.answers[HOOK] = (refusal, {"Location": f"{receiver.url}/elsewhere"}, b"")
    made = await subscribe(owner, receiver)
    await delivering()
    await run(owner)
    await eventually(lambda: len(receiver.seen) >= 3)
    state = (await owner.get(f"{ALL}/{made['id']}")).json()
    assert state["status"] == "active"
    assert state["failingSince"] is not None
    receiver.answer(HOOK)

    async def well() -> bool:
        return (await owner.get(f"{ALL}/{made['id']}")).json()["failingSince"] is None

    await eventually(well)
    assert len({headers["webhook-id"] for _, headers, _ in receiver.seen}) == 1
    assert {call for call, _, _ in receiver.seen} == {HOOK}, "a redirect was followed"
    told = await attempts(owner, made)
    assert [it["outcome"] for it in told] == ["delivered"] + ["failed"] * (len(told) - 1)
    assert told[-1]["nextAt"] is not None


async def test_a_receiver_that_asks_for_time_gets_it(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering
) -> None:
    receiver.answers[HOOK] = (503, {"Retry-After": "120"}, b"")
    made = await subscribe(owner, receiver)
    await delivering()
    await run(owner)
    (told,) = await eventually(lambda: attempts(owner, made))
    wait = datetime.fromisoformat(told["nextAt"]) - datetime.fromisoformat(told["at"])
    assert wait == timedelta(seconds=120)


async def test_one_that_is_gone_is_asked_no_more_until_it_is_enabled_again(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering, bus: NatsBus
) -> None:
    receiver.answers[HOOK] = (410, {}, b"")
    made, clock = await subscribe(owner, receiver), HurriedClock()
    outbound = await delivering(clock=clock)
    await run(owner)

    async def stopped() -> bool:
        return (await owner.get(f"{ALL}/{made['id']}")).json()["status"] == "stopped"

    await eventually(stopped)
    assert "410" in (await owner.get(f"{ALL}/{made['id']}")).json()["reason"]
    await outbound.refresh()
    clock.advance(60)
    await outbound.refresh()
    assert await subscribers(bus) == [], "a stopped subscription costs the broker nothing"
    missed = await run(owner)
    receiver.answer(HOOK)
    again = await owner.put(f"{ALL}/{made['id']}", json={})
    assert (again.status_code, again.json()["status"]) == (200, "active")
    heard = await run(owner)
    await eventually(lambda: len(receiver.seen) > 1)
    assert [msgspec.json.decode(body)["subject"] for _, _, body in receiver.seen[1:]] == [heard]
    assert missed != heard


async def test_one_that_takes_nothing_for_too_long_is_stopped_and_the_trail_says_so(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering, bus: NatsBus
) -> None:
    receiver.answers[HOOK] = (500, {}, b"")
    made = await subscribe(owner, receiver)
    await delivering(Pace(first=0.05, longest=0.1, patience=0.5, stop_after=0))
    await run(owner)

    async def stopped() -> bool:
        return (await owner.get(f"{ALL}/{made['id']}")).json()["status"] == "stopped"

    await eventually(stopped)
    trail = await bus.read(subjects.EVENTS, subjects.audit("acme"))
    actions = {(it["data"]["action"], it["data"]["outcome"]) for it in map(_event, trail)}
    assert ("stop", "done") in actions


def _event(stored: Any) -> dict[str, Any]:
    event: dict[str, Any] = msgspec.json.decode(stored.payload)
    return event


async def test_an_event_that_is_too_old_is_given_up(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering
) -> None:
    receiver.answers[HOOK] = (500, {}, b"")
    made = await subscribe(owner, receiver)
    await delivering(clock=ManualClock(datetime.now(UTC) + timedelta(days=2)))
    await run(owner)

    async def given_up() -> bool:
        return [it["outcome"] for it in await attempts(owner, made)] == ["given_up"]

    await eventually(given_up)
    state = (await owner.get(f"{ALL}/{made['id']}")).json()
    assert state["status"] == "active", "others may have arrived: one event is no reason to stop"


async def test_what_a_scheduler_held_when_it_died_comes_from_another(
    owner: httpx.AsyncClient, gateway: Gateway, executor: Executor, receiver: Vendor, bus: NatsBus,
    delivering: Delivering,
) -> None:  # fmt: skip
    """It posted, and died before it could say so: the receiver gets it twice, with one id."""
    await subscribe(owner, receiver)
    first = await delivering()
    await eventually(lambda: subscribers(bus))
    receiver.answers[HOOK] = (1, {}, b"")  # says nothing until the client has gone
    await run(owner)
    await eventually(lambda: receiver.seen)
    for courier in first._couriers.values():
        for task in list(courier._under_way):
            task.cancel()
    receiver.answer(HOOK)
    (name,) = await subscribers(bus)
    there = (await bus.api(f"CONSUMER.INFO.EVENTS.{name}", None))["config"]
    quick = {**there, "ack_wait": 500_000_000}
    await bus.api(f"CONSUMER.CREATE.EVENTS.{name}", {"stream_name": "EVENTS", "config": quick})
    await eventually(lambda: len(receiver.seen) == 2)
    assert receiver.seen[0][1]["webhook-id"] == receiver.seen[1][1]["webhook-id"]


# --- its secrets ------------------------------------------------------------------------------------------------------


async def test_a_new_secret_signs_beside_the_old_one_for_as_long_as_was_said(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering
) -> None:
    made = await subscribe(owner, receiver)
    rotated = (await owner.post(f"{ALL}/{made['id']}/rotate", json={})).json()
    await delivering()
    await run(owner)
    await eventually(lambda: receiver.seen)
    _, headers, body = receiver.seen[0]
    id_, stamp = headers["webhook-id"].encode(), headers["webhook-timestamp"].encode()
    both = [standard_webhooks.key_of(secret) for secret in (rotated["secret"], made["secret"])]
    signed = [standard_webhooks.signature(key, id_, stamp, body).decode() for key in both]
    assert headers["webhook-signature"].split(" ") == signed
    again = (await owner.post(f"{ALL}/{made['id']}/rotate", json={"overlapSeconds": 0})).json()
    assert len(again["secrets"]) == 3
    await run(owner)
    await eventually(lambda: len(receiver.seen) == 2)
    assert len(receiver.seen[1][1]["webhook-signature"].split(" ")) == 1


async def test_neither_secret_nor_token_is_shown_or_stored_in_clear(
    owner: httpx.AsyncClient, receiver: Vendor, bus: NatsBus, delivering: Delivering
) -> None:
    token = "T0KEN-that-opens-the-door"
    answer = await owner.post(ALL, json={"url": f"{receiver.url}/hooks/{token}?key={token}"})
    made = answer.json()
    assert made["url"] == f"{receiver.url}/hooks/***?***"
    await delivering()
    await owner.post(f"{ALL}/{made['id']}/test")
    await eventually(lambda: receiver.seen)
    await eventually(lambda: attempts(owner, made))
    shown = [(await owner.get(ALL)).text, (await owner.get(f"{ALL}/{made['id']}/attempts")).text]
    stored = [
        it.payload.decode()
        for stream in (subjects.EVENTS, subjects.OUTBOUND, subjects.DIRECTORY_STREAM)
        for it in await bus.read(stream, ">")
    ]
    secret = made["secret"].removeprefix("whsec_")
    assert not [text for text in shown + stored if token in text or secret in text]


# --- doors ------------------------------------------------------------------------------------------------------------


async def test_a_test_arrives_and_is_told_of(
    owner: httpx.AsyncClient, receiver: Vendor, delivering: Delivering
) -> None:
    made = await subscribe(owner, receiver, enabled=False)
    await delivering()
    answer = await owner.post(f"{ALL}/{made['id']}/test")
    assert answer.status_code == 202
    await eventually(lambda: receiver.seen)
    event = msgspec.json.decode(receiver.seen[0][2])
    assert (event["type"], event["id"]) == ("dev.runlane.subscription.pinged", answer.json()["event"])
    (told,) = await eventually(lambda: attempts(owner, made))
    assert told["outcome"] == "delivered"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "ftp://a.example/x"}, "url"),
        ({"url": "https://"}, "url"),
        ({"url": "https://user:pw@a.example/x"}, "url"),
        ({"url": "http://a.example/x"}, "url"),
        ({"url": "https://127.0.0.1/x"}, "url"),
        ({"url": "https://[::1]/x"}, "url"),
        ({"url": "https://localhost/x"}, "url"),
        ({"url": "https://169.254.169.254/latest"}, "url"),
        ({"url": "https://a.example/" + "x" * 2048}, "url"),
        ({"url": "https://a.example/\u00e4"}, "url"),
        ({"url": "https://a.example:99999/"}, "url"),
        ({"url": "https://a.example/", "events": []}, "events"),
        ({"url": "https://a.example/", "events": ["traced"]}, "events"),
        ({"url": "https://a.example/", "workflows": ["a b"]}, "workflows"),
        ({"url": "https://a.example/", "workflows": ["w"] * 21}, "workflows"),
        ({"url": "https://a.example/", "description": "d" * 201}, "description"),
        ({"url": "https://a.example/", "nonsense": 1}, "nonsense"),
    ],
)
async def test_what_cannot_be_a_subscription_is_refused(
    owner: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await owner.post(ALL, json=body)
    assert answer.status_code in (400, 422)
    assert field in answer.text
    assert (await owner.get(ALL)).json() == {"subscriptions": []}


async def test_nobody_elses_is_seen_changed_or_removed(
    owner: httpx.AsyncClient, gateway: Gateway, receiver: Vendor
) -> None:
    made = await subscribe(owner, receiver)
    async with gateway.client("other") as other, gateway.client("acme") as worker:
        for path in (ALL, f"{ALL}/{made['id']}", f"{ALL}/{made['id']}/attempts"):
            assert (await other.get(path)).status_code == 404
            assert (await worker.get(path)).status_code == 403
        assert (await other.get(f"/subscriptions/globex/{made['id']}")).status_code == 404
        assert (await other.post(f"/subscriptions/globex/{made['id']}/test")).status_code == 404
        assert (await other.delete(f"/subscriptions/globex/{made['id']}")).status_code == 204
    assert (await owner.get(f"{ALL}/{made['id']}")).status_code == 200


async def test_nobody_has_sent_what_he_may_not_see(
    owner: httpx.AsyncClient, gateway: Gateway, receiver: Vendor, bus: NatsBus
) -> None:
    made = await subscribe(owner, receiver, enabled=False)
    await NatsDirectoryStore(bus).put(
        api_key_key("plumber"), msgspec.json.encode(api_key("plumber", "acme", "canManageWebhooks"))
    )
    await eventually(lambda: gateway.parts.directory.api_key("plumber"))
    async with gateway.client("plumber") as plumber:
        new = await plumber.post(ALL, json={"url": f"{receiver.url}/elsewhere"})
        changed = await plumber.put(f"{ALL}/{made['id']}", json={"url": f"{receiver.url}/elsewhere"})
        assert (await plumber.get(f"{ALL}/{made['id']}")).status_code == 200
    for answer in (new, changed):
        assert answer.status_code == 403
        assert answer.json()["details"] == {"permission": "canViewExecutions"}
    assert (await owner.get(ALL)).json()["subscriptions"] == [{**made, "secret": None}]


async def test_an_organisation_has_at_most_twenty(owner: httpx.AsyncClient, receiver: Vendor) -> None:
    for _ in range(20):
        await subscribe(owner, receiver)
    answer = await owner.post(ALL, json={"url": f"{receiver.url}/hook"})
    assert answer.status_code == 409
    assert "20" in answer.json()["message"]


async def test_what_is_removed_is_sent_nothing_more_and_leaves_nothing(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering, bus: NatsBus
) -> None:
    made, clock = await subscribe(owner, receiver), HurriedClock()
    outbound = await delivering(clock=clock)
    await run(owner)
    await eventually(lambda: receiver.seen)
    assert (await owner.delete(f"{ALL}/{made['id']}")).status_code == 204
    await eventually(lambda: not outbound._couriers)
    await outbound.refresh()
    clock.advance(60)
    await outbound.refresh()
    assert await subscribers(bus) == []
    await run(owner)
    assert len(receiver.seen) == 1
    assert (await owner.get(f"{ALL}/{made['id']}")).status_code == 404


async def test_a_change_of_filters_loses_nothing(
    owner: httpx.AsyncClient, executor: Executor, receiver: Vendor, delivering: Delivering
) -> None:
    made = await subscribe(owner, receiver, events=["failed"])
    await delivering()
    changed = await owner.put(f"{ALL}/{made['id']}", json={"events": ["succeeded"], "description": "for the desk"})
    assert changed.json()["events"] == ["succeeded"]
    execution = await run(owner)
    await eventually(lambda: receiver.seen)
    assert msgspec.json.decode(receiver.seen[0][2])["subject"] == execution
