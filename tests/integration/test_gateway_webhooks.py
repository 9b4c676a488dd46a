"""Webhooks over HTTP and a real nats-server: what comes in, what senders see, what operators see."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts import subjects
from runlane.directory import api_key_key, workflow_key
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway, api_key, manifest, serving
from tests.support.nats import NatsServer
from tests.support.webhooks import (
    GITHUB,
    SECRET,
    STANDARD,
    TICKET,
    TICKET_SCHEMA,
    github,
    plain,
    shopify,
    slack,
    standard,
)

pytest_plugins = ["tests.support.gateway_fixtures"]

HOOK = "/webhooks/acme/tickets"
BLOB_SCHEMA = {
    "type": "object",
    "properties": {"event": {}, "about": {"type": "object"}},
    "required": ["event"],
    "additionalProperties": False,
}
REFUSED = b'{"error":"BadRequest","message":"Failed to process webhook"}'
VENDOR_SECRET = "the-vendor-made-this-signing-secret"


@pytest.fixture
async def hooks(gateway: Gateway, bus: NatsBus) -> AsyncIterator[httpx.AsyncClient]:
    """A client that may manage webhooks of acme; there are workflows for them."""
    store = NatsDirectoryStore(bus)
    known: dict[str, Any] = {"execution_mode": "async", "webhook_enabled": True}
    workflows = [
        manifest("tickets", schema=TICKET_SCHEMA, **known),
        manifest("blob", schema=BLOB_SCHEMA, **known),
        manifest("public", webhook_secret_required=False, **known),
        manifest("guarded_hook", requires_approval=True, **known),
        manifest("banned", **known),
    ]
    for workflow in workflows:
        await store.put(workflow_key(workflow.name), msgspec.json.encode(workflow))
    await store.put(api_key_key("hooker"), msgspec.json.encode(api_key("hooker", "acme", roles=["operator"])))
    await eventually(lambda: gateway.parts.directory.api_key("hooker"), within=20)
    async with gateway.client("hooker") as opened:
        yield opened


@pytest.fixture
async def sender(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client(None) as opened:
        yield opened


async def settle(hooks: httpx.AsyncClient, path: str = HOOK, **settings: Any) -> dict[str, Any]:
    answer = await hooks.put(path, json=settings)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def queued(bus: NatsBus) -> int:
    return len(await bus.read(subjects.EVENTS, "runlane.event.*.*.*.queued"))


async def record_all(gateway: Gateway, bus: NatsBus) -> None:
    """What the recorder does."""
    await gateway.records.apply(await bus.read(subjects.EVENTS, ">"))


async def deliveries(
    gateway: Gateway, bus: NatsBus, hooks: httpx.AsyncClient, path: str = HOOK
) -> list[dict[str, Any]]:
    await record_all(gateway, bus)
    answer = await hooks.get(f"{path}/deliveries")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


# --- coming in --------------------------------------------------------------------------------------------------------


async def test_a_delivery_with_the_secret_is_queued_as_the_spec_shows(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, executor: Executor
) -> None:
    await settle(hooks, secret=SECRET)
    answer = await sender.post(HOOK, **plain(TICKET))
    assert answer.status_code == 202
    execution_id = answer.json()["executionId"]
    assert answer.json() == {
        "executionId": execution_id,
        "status": "Queued",
        "message": "Webhook received and queued for processing",
    }
    request = (await eventually(lambda: executor.requests, within=20))[0]
    assert (request.execution_id, request.org, request.workflow) == (execution_id, "acme", "tickets")
    assert executor.parameters(request) == TICKET
    assert (request.trigger.kind, request.caller.id) == ("webhook", "webhook:tickets")


async def test_each_scheme_lets_its_own_in(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, executor: Executor
) -> None:
    await settle(hooks, scheme="standard", secret=STANDARD)
    assert (await sender.post(HOOK, **standard(TICKET))).status_code == 202
    await settle(hooks, scheme="github", secret=GITHUB)
    assert (await sender.post(HOOK, **github(TICKET))).status_code == 202
    await settle(hooks, scheme="slack", secret=VENDOR_SECRET)
    assert (await sender.post(HOOK, **slack(TICKET, VENDOR_SECRET))).status_code == 202
    await settle(hooks, scheme="shopify", secret=VENDOR_SECRET)
    assert (await sender.post(HOOK, **shopify(TICKET, VENDOR_SECRET, "e1"))).status_code == 202
    await eventually(lambda: len(executor.requests) == 4, within=20)
    # And nobody else's any more.
    for other in (plain(TICKET), standard(TICKET), github(TICKET), slack(TICKET, VENDOR_SECRET)):
        assert (await sender.post(HOOK, **other)).content == REFUSED


async def test_without_a_secret_only_where_that_was_declared(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, executor: Executor
) -> None:
    body = {"content": b"{}", "headers": {"Content-Type": "application/json"}}
    assert (await sender.post(HOOK, **body)).status_code == 400
    assert (await sender.post("/webhooks/acme/public", **body)).status_code == 202
    # A secret that was set counts, whatever was declared.
    await settle(hooks, "/webhooks/acme/public", secret=SECRET)
    assert (await sender.post("/webhooks/acme/public", **body)).status_code == 400
    assert (await sender.post("/webhooks/acme/public", **plain({}))).status_code == 202
    await settle(hooks, "/webhooks/acme/public", enabled=False)
    assert (await sender.post("/webhooks/acme/public", **plain({}))).status_code == 400


async def test_what_needs_an_approval_waits_for_it(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, executor: Executor
) -> None:
    path = "/webhooks/acme/guarded_hook"
    await settle(hooks, path, scheme="github", secret=GITHUB)
    delivery = github({})
    answers = [await sender.post(path, **delivery) for _ in range(3)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
    execution_id = answers[0].json()["executionId"]
    assert (await gateway.parts.records.get("acme", execution_id)).status == "PendingApproval"
    assert executor.requests == []


async def test_the_whole_body_and_some_headers_can_be_parameters(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, executor: Executor
) -> None:
    path = "/webhooks/acme/blob"
    await settle(
        hooks, path, scheme="github", secret=GITHUB, bodyAs="event", headersAs="about", headers=["X-GitHub-Event"]
    )
    for body in ({"any": ["thing"]}, [1, 2], "text", None):
        assert (await sender.post(path, **github(body))).status_code == 202
    requests = await eventually(lambda: len(executor.requests) == 4 and executor.requests, within=20)
    found = [executor.parameters(request) for request in requests]
    assert {"event": {"any": ["thing"]}, "about": {"x-github-event": "issues"}} in found
    assert {"event": None, "about": {"x-github-event": "issues"}} in found


# --- what is wrong ----------------------------------------------------------------------------------------------------

DEEP = b'{"a":' * 2000 + b"1" + b"}" * 2000
WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "unknown organisation": ("/webhooks/nowhere/tickets", plain(TICKET)),
    "unknown workflow": ("/webhooks/acme/nosuchthing", plain(TICKET)),
    "a workflow that is no webhook": ("/webhooks/acme/slow", plain({})),
    "a workflow that is disabled here": ("/webhooks/acme/banned", plain({})),
    "another organisation's webhook": ("/webhooks/globex/tickets", plain(TICKET)),
    "names that are no names": ("/webhooks/ac.me/tick*ets", plain(TICKET)),
    "names that are encoded": ("/webhooks/acme/tickets%00", plain(TICKET)),
    "no secret": (HOOK, plain(TICKET, "")),
    "wrong secret": (HOOK, plain(TICKET, SECRET[:-1])),
    "secret and more": (HOOK, plain(TICKET, SECRET + "x")),
    "secret in the wrong header": (HOOK, plain(TICKET, "", Authorization=f"Bearer {SECRET}")),
    "another scheme": (HOOK, github(TICKET)),
    "no JSON": (HOOK, plain(b"ticket_id=123")),
    "broken JSON": (HOOK, plain(b'{"ticket_id": ')),
    "not UTF-8": (HOOK, plain(b'{"ticket_id": "\xff"}')),
    "NaN": (HOOK, plain(b'{"ticket_id": NaN}')),
    "deep JSON": (HOOK, plain(DEEP)),
    "a list": (HOOK, plain([TICKET])),
    "nothing": (HOOK, plain(b"")),
    "a parameter is missing": (HOOK, plain({"ticket_id": "1"})),
    "a parameter too many": (HOOK, plain({**TICKET, "files": {"filepath": "/etc/passwd"}})),
    "a parameter of another type": (HOOK, plain({**TICKET, "status": 7})),
    "a form": (HOOK, plain(b"payload=%7B%7D", **{"Content-Type": "application/x-www-form-urlencoded"})),
    "multipart": (HOOK, plain(TICKET, **{"Content-Type": "multipart/form-data; boundary=x"})),
    "text": (HOOK, plain(TICKET, **{"Content-Type": "text/plain"})),
    "no type": (HOOK, plain(TICKET, **{"Content-Type": ""})),
    "another charset": (HOOK, plain(TICKET, **{"Content-Type": "application/json; charset=utf-16"})),
    "compressed": (HOOK, plain(TICKET, **{"Content-Encoding": "gzip"})),
    "a validation token": (f"{HOOK}?validationToken=x", plain(TICKET, "")),
}


@pytest.mark.parametrize("case", WRONG)
async def test_whatever_is_wrong_looks_the_same(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, bus: NatsBus, case: str
) -> None:
    path, delivery = WRONG[case]
    await settle(hooks, secret=SECRET)
    answer = await sender.post(path, **delivery)
    assert (answer.status_code, answer.content) == (400, REFUSED)
    told = {name: value for name, value in answer.headers.items() if name != "date"}
    assert told == {
        "content-type": "application/json",
        "content-length": str(len(REFUSED)),
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    assert await queued(bus) == 0


@pytest.mark.parametrize("path", [HOOK, "/webhooks/nowhere/nothing"])
async def test_a_body_that_is_too_large_is_413(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, path: str
) -> None:
    await settle(hooks, secret=SECRET)
    answer = await sender.post(path, **plain(b"x" * (gateway.parts.settings.max_body + 1)))
    assert (answer.status_code, answer.json()["message"]) == (413, "Failed to process webhook")


async def test_refused_deliveries_are_listed_with_their_reason_and_nothing_of_them(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, bus: NatsBus
) -> None:
    await settle(hooks, secret=SECRET)
    await sender.post(HOOK, **plain(TICKET, "wrong-secret-of-somebody"))
    await sender.post(HOOK, **plain({"ticket_id": "canary-body"}))
    found = await eventually(lambda: _listed(gateway, bus, hooks, 2), within=20)
    assert {(it["outcome"], it["executionId"]) for it in found} == {("refused", None)}
    reasons = sorted(it["reason"] for it in found)
    assert reasons[1] == "the secret is missing or wrong"
    assert "required property" in reasons[0]
    kept = b"".join(stored.payload for stored in await bus.read(subjects.EVENTS, ">"))
    assert b"canary-body" not in kept
    assert b"wrong-secret-of-somebody" not in kept


async def _listed(gateway: Gateway, bus: NatsBus, hooks: httpx.AsyncClient, count: int) -> list[dict[str, Any]] | None:
    found = await deliveries(gateway, bus, hooks)
    return found if len(found) >= count else None


async def test_the_rate_of_a_webhook_is_kept_and_bad_senders_do_not_use_it_up(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient
) -> None:
    await settle(hooks, secret=SECRET, ratePerMinute=1, burst=2)
    for _ in range(20):
        assert (await sender.post(HOOK, **plain(TICKET, "wrong"))).status_code == 400
    answers = [await sender.post(HOOK, **plain(TICKET)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[2].json() == {"error": "TooManyRequests", "message": "Failed to process webhook"}
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60


async def test_an_address_that_sends_garbage_is_told_to_slow_down_and_others_are_not(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, bus: NatsBus
) -> None:
    await settle(hooks, secret=SECRET)
    answers = await asyncio.gather(*(sender.post(HOOK, **plain(TICKET, "wrong")) for _ in range(400)))
    assert {answer.status_code for answer in answers} == {400, 429}
    # From the same address, as behind a proxy: who has the secret still comes in.
    assert (await sender.post(HOOK, **plain(TICKET))).status_code == 202
    told = [it for it in await deliveries(gateway, bus, hooks) if it["outcome"] == "refused"]
    assert len(told) <= 130, "garbage must not fill the store"


async def test_without_nats_who_is_verified_is_told_to_try_again_and_nobody_else(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, nats_server: NatsServer
) -> None:
    await settle(hooks, secret=SECRET)
    nats_server.pause()
    try:
        answer = await sender.post(HOOK, **plain(TICKET))
        wrong = await sender.post(HOOK, **plain(TICKET, "wrong"))
    finally:
        nats_server.resume()
    assert (answer.status_code, answer.json()["error"]) == (503, "ServiceUnavailable")
    assert int(answer.headers["retry-after"]) >= 1
    assert wrong.content == REFUSED


# --- the same delivery ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["standard", "github"])
async def test_the_same_delivery_a_hundred_times_at_once_is_one_execution(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, executor: Executor, bus: NatsBus, scheme: str
) -> None:
    await settle(hooks, scheme=scheme, secret=STANDARD if scheme == "standard" else GITHUB)
    delivery = standard(TICKET) if scheme == "standard" else github(TICKET)
    answers = await asyncio.gather(*(sender.post(HOOK, **delivery) for _ in range(100)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(202, answers[0].content)}
    await eventually(lambda: executor.requests, within=20)
    assert await queued(bus) == 1
    await eventually(lambda: _nothing_waits(bus), within=20)
    assert len(executor.requests) == 1


async def _nothing_waits(bus: NatsBus) -> bool:
    lag = await bus.lag(subjects.REQUESTS, subjects.executors("0"))
    return lag.pending == 0 and lag.unacknowledged == 0


async def test_a_delivery_is_recognised_after_a_restart_and_when_the_stream_has_forgotten_it(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, bus: NatsBus, executor: Executor
) -> None:
    await settle(hooks, scheme="github", secret=GITHUB)
    delivery = github(TICKET)
    first = await sender.post(HOOK, **delivery)
    await eventually(lambda: executor.requests, within=20)
    async with serving(gateway.parts.settings, bus, NatsDirectoryStore(bus)) as another, another.client(None) as again:
        assert (await again.post(HOOK, **delivery)).content == first.content
    await eventually(lambda: _nothing_waits(bus), within=20)
    await record_all(gateway, bus)
    await bus.api(f"STREAM.PURGE.{subjects.EVENTS}", {})
    assert (await sender.post(HOOK, **delivery)).content == first.content
    assert await queued(bus) == 0


async def test_a_delivery_whose_request_was_never_stored_is_queued_by_its_repetition(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, bus: NatsBus, gateway: Gateway
) -> None:
    """The gateway died between the two: nobody was told 202, and the sender tries again."""
    await settle(hooks, scheme="github", secret=GITHUB)
    delivery = github(TICKET)
    first = await sender.post(HOOK, **delivery)
    await bus.api(f"STREAM.PURGE.{subjects.REQUESTS}", {})
    assert await bus.last(subjects.REQUESTS, ">") is None
    await bus.api(f"STREAM.UPDATE.{subjects.REQUESTS}", await _forgetful(bus))
    again = await eventually(lambda: _requeued(bus, sender, delivery), within=20)
    assert again == first.content


async def _forgetful(bus: NatsBus) -> dict[str, Any]:
    info = await bus.api(f"STREAM.INFO.{subjects.REQUESTS}", {})
    config: dict[str, Any] = info["config"]
    return {**config, "duplicate_window": 100_000_000}


async def _requeued(bus: NatsBus, sender: httpx.AsyncClient, delivery: dict[str, Any]) -> bytes | None:
    answer = await sender.post(HOOK, **delivery)
    assert answer.status_code == 202
    return answer.content if await bus.last(subjects.REQUESTS, ">") is not None else None


async def test_other_deliveries_are_other_executions(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, bus: NatsBus
) -> None:
    await settle(hooks, scheme="github", secret=GITHUB)
    for _ in range(3):
        assert (await sender.post(HOOK, **github(TICKET))).status_code == 202
    await settle(hooks, scheme="github", dedupe="body")
    for _ in range(3):
        await sender.post(HOOK, **github(TICKET))
    await settle(hooks, secret=SECRET)  # a plain secret names no delivery
    for _ in range(3):
        await sender.post(HOOK, **plain(TICKET))
    await settle(hooks, deliveryHeader="X-Event")
    for _ in range(3):
        await sender.post(HOOK, **plain(TICKET, **{"X-Event": "7"}))
    assert (await sender.post(HOOK, **plain(TICKET))).status_code == 400
    assert await queued(bus) == 3 + 1 + 3 + 1


# --- handshakes -------------------------------------------------------------------------------------------------------


async def test_graph_is_answered_its_token_and_sends_its_state_with_each_notification(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, executor: Executor, gateway: Gateway, bus: NatsBus
) -> None:
    path = "/webhooks/acme/blob"
    made = await settle(hooks, path, scheme="msgraph", bodyAs="event")
    token = "Validation: Testing client application reachability for subscription Request-Id: 1 <b>&"
    answer = await sender.post(path, params={"validationToken": token}, headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.text == token.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for wrong in ("", "a\x00b", "x" * 5000):
        assert (await sender.post(path, params={"validationToken": wrong})).status_code == 400
    notification = {"subscriptionId": "s", "clientState": made["secret"], "resource": "users/1"}
    assert (await sender.post(path, json={"value": [notification]})).status_code == 202
    assert (await sender.post(path, json={"value": [{**notification, "clientState": "x"}]})).content == REFUSED
    request = (await eventually(lambda: executor.requests, within=20))[0]
    expected = {"value": [{"subscriptionId": "s", "resource": "users/1"}]}
    assert executor.parameters(request) == {"event": expected}


async def test_slack_is_answered_its_challenge_when_it_signs(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, bus: NatsBus
) -> None:
    await settle(hooks, scheme="slack", secret=VENDOR_SECRET)
    challenge = {"type": "url_verification", "challenge": "3eZbrw1a"}
    answer = await sender.post(HOOK, **slack(challenge, VENDOR_SECRET))
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1a"})
    assert (await sender.post(HOOK, **slack(challenge, "another-secret-of-24-bytes"))).content == REFUSED
    assert (await sender.post(HOOK, **slack(challenge, VENDOR_SECRET, at=1))).content == REFUSED
    assert await queued(bus) == 0


# --- settings ---------------------------------------------------------------------------------------------------------

MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("slow", {}, "workflow"),
    ("quick", {}, "workflow"),
    ("nightly", {}, "workflow"),
    ("tickets", {"scheme": "hmac"}, "scheme"),
    ("tickets", {"secret": "short"}, "secret"),
    ("tickets", {"secret": "x" * 513}, "secret"),
    ("tickets", {"scheme": "standard", "secret": "not base64 at all, but long"}, "secret"),
    ("tickets", {"scheme": "slack"}, "secret"),
    ("tickets", {"scheme": "shopify"}, "secret"),
    ("tickets", {"bodyAs": "nosuch"}, "bodyAs"),
    ("tickets", {"bodyAs": "notes"}, "bodyAs"),  # nothing fills ticket_id and status
    ("tickets", {"scheme": "msgraph"}, "bodyAs"),
    ("blob", {"bodyAs": "event", "headersAs": "event", "headers": ["X-A"]}, "headersAs"),
    ("blob", {"bodyAs": "event", "headers": ["X-A"]}, "headersAs"),
    ("blob", {"bodyAs": "event", "headersAs": "about"}, "headersAs"),
    ("blob", {"bodyAs": "event", "headersAs": "about", "headers": ["Authorization"]}, "headers[0]"),
    ("blob", {"bodyAs": "event", "headersAs": "about", "headers": ["X-Webhook-Secret"]}, "headers[0]"),
    ("blob", {"bodyAs": "event", "headersAs": "about", "headers": ["X A"]}, "headers[0]"),
    ("tickets", {"header": ""}, "header"),
    ("tickets", {"deliveryHeader": "a:b"}, "deliveryHeader"),
    ("tickets", {"scheme": "github", "deliveryHeader": "X-Id"}, "deliveryHeader"),
    ("tickets", {"dedupe": "delivery"}, "dedupe"),
    ("tickets", {"toleranceSeconds": 0}, "toleranceSeconds"),
    ("tickets", {"toleranceSeconds": 86401}, "toleranceSeconds"),
    ("tickets", {"ratePerMinute": 0}, "ratePerMinute"),
    ("tickets", {"burst": 0}, "burst"),
    ("tickets", {"unknown": 1}, "unknown"),
]


@pytest.mark.parametrize(("workflow", "mistake", "field"), MISTAKES)
async def test_what_could_not_work_is_refused_when_it_is_settled(
    hooks: httpx.AsyncClient, workflow: str, mistake: dict[str, Any], field: str
) -> None:
    answer = await hooks.put(f"/webhooks/acme/{workflow}", json=mistake)
    assert (answer.status_code, answer.json()["details"].get("field")) == (400, field), answer.text


@pytest.mark.parametrize("path", ["/webhooks/acme/nosuchthing", "/webhooks/acme/banned", "/webhooks/globex/tickets"])
async def test_what_is_not_there_cannot_be_settled(hooks: httpx.AsyncClient, path: str) -> None:
    assert (await hooks.put(path, json={})).status_code == 404
    assert (await hooks.get(path)).status_code == 404
    assert (await hooks.post(f"{path}/rotate", json={})).status_code == 404
    assert (await hooks.get(f"{path}/deliveries")).status_code == 404
    assert (await hooks.delete(path)).status_code == 404


async def test_a_secret_is_shown_once_and_stored_sealed(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, bus: NatsBus
) -> None:
    made = await settle(hooks)
    secret = made["secret"]
    assert (await sender.post(HOOK, **plain(TICKET, secret))).status_code == 202
    again = await settle(hooks, toleranceSeconds=60)
    assert (again["secret"], len(again["secrets"])) == (None, 1)
    assert (await sender.post(HOOK, **plain(TICKET, secret))).status_code == 202
    shown = await hooks.get(HOOK)
    listed = await hooks.get("/webhooks/acme")
    assert [it["workflow"] for it in listed.json()["webhooks"]] == ["blob", "guarded_hook", "public", "tickets"]
    stored = [*await bus.read("KV_DIRECTORY", ">"), *await bus.read(subjects.EVENTS, ">")]
    kept = b"".join(it.payload for it in stored)
    for place in (shown.content, listed.content, kept):
        assert secret.encode() not in place


async def test_two_secrets_live_while_rotating_and_no_third(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient
) -> None:
    old = (await settle(hooks))["secret"]
    new = (await hooks.post(f"{HOOK}/rotate", json={})).json()["secret"]

    async def let_in() -> list[bool]:
        return [(await sender.post(HOOK, **plain(TICKET, it))).status_code == 202 for it in (old, new)]

    assert await let_in() == [True, True]
    assert (await hooks.post(f"{HOOK}/rotate", json={})).status_code == 409
    kept = await settle(hooks, burst=50)  # other settings change while it goes on
    assert len(kept["secrets"]) == 2
    assert await let_in() == [True, True]
    finished = await hooks.post(f"{HOOK}/rotate/finish")
    assert len(finished.json()["secrets"]) == 1
    assert await let_in() == [False, True]
    immediate = await hooks.post(f"{HOOK}/rotate", json={"overlapSeconds": 0})
    assert await let_in() == [False, False]
    assert (await sender.post(HOOK, **plain(TICKET, immediate.json()["secret"]))).status_code == 202
    assert (await hooks.post(f"{HOOK}/rotate", json={"overlapSeconds": -1})).status_code == 400
    assert (await hooks.post(f"{HOOK}/rotate", json={"secret": "short"})).status_code == 400


async def test_settings_change_under_their_tag_only_and_can_be_forgotten(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient
) -> None:
    await settle(hooks, secret=SECRET)
    tag = (await hooks.get(HOOK)).headers["etag"]
    assert (await hooks.put(HOOK, json={}, headers={"If-Match": tag})).status_code == 200
    assert (await hooks.put(HOOK, json={}, headers={"If-Match": tag})).status_code == 412
    assert (await hooks.delete(HOOK)).status_code == 204
    assert (await hooks.delete(HOOK)).status_code == 204
    assert (await sender.post(HOOK, **plain(TICKET))).status_code == 400
    assert (await hooks.get(HOOK)).json()["configured"] is False


async def test_a_webhook_whose_workflow_changed_is_closed_and_says_why(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, bus: NatsBus
) -> None:
    await settle(hooks, secret=SECRET)
    changed = manifest("tickets", schema=TICKET_SCHEMA, execution_mode="async")
    await NatsDirectoryStore(bus).put(workflow_key("tickets"), msgspec.json.encode(changed))
    known = gateway.parts.directory.workflow
    await eventually(lambda: (found := known("tickets")) is not None and not found.webhook_enabled, within=20)
    assert (await sender.post(HOOK, **plain(TICKET))).content == REFUSED
    assert "webhook_enabled" in (await hooks.get(HOOK)).json()["problems"][0]


# --- deliveries -------------------------------------------------------------------------------------------------------


async def test_a_delivery_can_be_replayed(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, bus: NatsBus, executor: Executor
) -> None:
    await settle(hooks, scheme="github", secret=GITHUB)
    first = (await sender.post(HOOK, **github(TICKET, delivery="d-1"))).json()["executionId"]
    await eventually(lambda: executor.requests, within=20)
    (delivery,) = await deliveries(gateway, bus, hooks)
    assert (delivery["outcome"], delivery["senderId"], delivery["executionId"]) == ("accepted", "d-1", first)
    assert executor.requests[0].trigger.reference == delivery["id"]
    answer = await hooks.post(f"{HOOK}/deliveries/{delivery['id']}/replay")
    assert answer.status_code == 202
    assert answer.json()["executionId"] != first
    request = (await eventually(lambda: len(executor.requests) == 2 and executor.requests, within=20))[1]
    assert (request.trigger.kind, request.trigger.reference) == ("webhook", delivery["id"])
    assert (request.caller.id, executor.parameters(request)) == ("hooker", TICKET)


async def test_only_what_was_accepted_can_be_replayed(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, bus: NatsBus
) -> None:
    await settle(hooks, secret=SECRET)
    await sender.post(HOOK, **plain(TICKET, "wrong"))
    (refused,) = await eventually(lambda: _listed(gateway, bus, hooks, 1), within=20)
    assert (await hooks.post(f"{HOOK}/deliveries/{refused['id']}/replay")).status_code == 409
    for unknown in ("0" * 32, "a.b", "%00"):
        assert (await hooks.post(f"{HOOK}/deliveries/{unknown}/replay")).status_code == 404
    elsewhere = f"/webhooks/acme/public/deliveries/{refused['id']}/replay"
    assert (await hooks.post(elsewhere)).status_code == 404


async def test_the_list_says_which_deliveries_came_again(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway, bus: NatsBus
) -> None:
    await settle(hooks, scheme="standard", secret=STANDARD)
    delivery = standard(TICKET, id_="msg_1")
    for _ in range(3):
        await sender.post(HOOK, **delivery)
    found = await eventually(lambda: _listed(gateway, bus, hooks, 3), within=20)
    assert sorted(it["outcome"] for it in found) == ["accepted", "duplicate", "duplicate"]
    assert {it["senderId"] for it in found} == {"msg_1"}
    assert len({it["executionId"] for it in found}) == 1
    filtered = await hooks.get(f"{HOOK}/deliveries", params={"outcome": "accepted", "limit": 1})
    assert len(filtered.json()["deliveries"]) == 1
    assert (await hooks.get(f"{HOOK}/deliveries", params={"outcome": "lost"})).status_code == 400
    assert (await hooks.get(f"{HOOK}/deliveries", params={"after": "%"})).status_code == 400


async def test_managing_webhooks_needs_the_permission(gateway: Gateway, hooks: httpx.AsyncClient) -> None:
    async with gateway.client("acme") as worker:
        for method, path in (
            ("GET", "/webhooks/acme"),
            ("GET", HOOK),
            ("PUT", HOOK),
            ("DELETE", HOOK),
            ("POST", f"{HOOK}/rotate"),
            ("POST", f"{HOOK}/rotate/finish"),
            ("GET", f"{HOOK}/deliveries"),
            ("POST", f"{HOOK}/deliveries/x/replay"),
        ):
            answer = await worker.request(method, path, json={} if method in ("PUT", "POST") else None)
            assert answer.status_code == 403, (method, path)


async def test_a_stale_delivery_is_refused_like_any_other(
    hooks: httpx.AsyncClient, sender: httpx.AsyncClient, gateway: Gateway
) -> None:
    await settle(hooks, scheme="standard", secret=STANDARD)
    now = gateway.parts.clock.now()
    for minutes in (-6, 6):
        at = (now + timedelta(minutes=minutes)).timestamp()
        assert (await sender.post(HOOK, **standard(TICKET, at=at))).content == REFUSED


@pytest.mark.parametrize(
    "path", [f"{HOOK}/", f"{HOOK}/rotate", f"{HOOK}/deliveries", "/webhooks/acme", "//webhooks/a/b"]
)
async def test_only_the_door_itself_is_open(sender: httpx.AsyncClient, path: str) -> None:
    assert (await sender.post(path, **plain(TICKET))).status_code == 401
    assert (await sender.get(HOOK)).status_code == 401
    assert (await sender.request("TRACE", HOOK)).status_code == 405
