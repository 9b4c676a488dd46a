"""Every route of the gateway × {own, foreign, none, expired}, and every route × every role.

A new route needs a line in `DOORS`; without one, `test_every_route_has_its_line` fails and says so.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest
from msgspec import Struct
from starlette.routing import Route

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts import subjects
from runlane.deadletters import DeadLetter, letter_message
from runlane.directory import api_key_key, workflow_key
from runlane_gateway.gate import OPEN
from runlane_gateway.permissions import (
    APPROVE_EXECUTIONS,
    EXECUTE_WORKFLOWS,
    MANAGE_CONFIG,
    MANAGE_EXECUTIONS,
    MANAGE_FORMS,
    MANAGE_KEYS,
    MANAGE_ORGS,
    MANAGE_SECRETS,
    MANAGE_WEBHOOKS,
    ROLES,
    VIEW_AUDIT,
    VIEW_EXECUTIONS,
    VIEW_INTERNALS,
    permissions_of,
)
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway, api_key, manifest

pytest_plugins = ["tests.support.gateway_fixtures"]


class Open(Struct, frozen=True):
    """Answers anybody. Give a reason: this is the exception."""

    why: str
    path: Mapping[str, str] = {}


class Common(Struct, frozen=True, kw_only=True):
    """Belongs to no organisation, and every key may ask. What it answers to one shows nothing of another."""

    path: Mapping[str, str] = {}
    permission: str | None = None


class Listed(Struct, frozen=True, kw_only=True):
    """Is about the organisation of the request: that of the key or of `X-Organization-Id`.

    `permission`: what it needs; `body`: JSON that the owner may send; `path`: values of its path parameters.
    """

    permission: str | None
    path: Mapping[str, str] = {}
    body: Any = None
    own: int = 200


class Thing(Struct, frozen=True, kw_only=True):
    """Is about a thing of one organisation, which its path names: `path` names acme's, `unknown` one that is not there.

    `{execution}`, `{running}`, `{pending}`, `{refusable}` and `{key}` stand for ids of acme's: see `ids`. `own`: what
    the owner is answered.
    """

    permission: str | None
    path: Mapping[str, str]
    unknown: Mapping[str, str]
    body: Any = None
    own: int = 200


class Platform(Struct, frozen=True, kw_only=True):
    """Concerns every organisation: `permission` has to hold in all of them."""

    permission: str
    path: Mapping[str, str] = {}


Door = Open | Common | Listed | Thing | Platform

NO_ID = "0" * 32
EXECUTION: dict[str, Any] = {"path": {"id": "{execution}"}, "unknown": {"id": NO_ID}}
RUNNING: dict[str, Any] = {"path": {"id": "{running}"}, "unknown": {"id": NO_ID}}
NO_LETTER = "dl-999999"
LETTER: dict[str, Any] = {"path": {"id": "{letter}"}, "unknown": {"id": NO_LETTER}}
ORG: dict[str, Any] = {"path": {"org": "acme"}, "unknown": {"org": "nowhere"}}
CONFIG: dict[str, Any] = {"path": {"org": "acme", "key": "place"}, "unknown": {"org": "nowhere", "key": "place"}}
SECRET: dict[str, Any] = {"path": {"org": "acme", "name": "pin"}, "unknown": {"org": "nowhere", "name": "pin"}}
WORKFLOW: dict[str, Any] = {
    "path": {"org": "acme", "workflow": "quick"},
    "unknown": {"org": "nowhere", "workflow": "quick"},
}
RULE: dict[str, Any] = {
    "path": {"org": "acme", "workflow": "approved"},
    "unknown": {"org": "nowhere", "workflow": "approved"},
}
KEY: dict[str, Any] = {"path": {"id": "{key}"}, "unknown": {"id": "nosuchkey"}}
FORM: dict[str, Any] = {"path": {"id": "intake"}, "unknown": {"id": "nosuchform"}}
FIELD: dict[str, Any] = {
    "path": {"id": "intake", "field": "plan"},
    "unknown": {"id": "nosuchform", "field": "plan"},
}
HOOK: dict[str, Any] = {"path": {"org": "acme", "workflow": "hook"}, "unknown": {"org": "nowhere", "workflow": "hook"}}
DELIVERY: dict[str, Any] = {
    "path": {"org": "acme", "workflow": "hook", "id": "{delivery}"},
    "unknown": {"org": "nowhere", "workflow": "hook", "id": NO_ID},
}
SUBSCRIPTION: dict[str, Any] = {
    "path": {"org": "acme", "id": "{subscription}"},
    "unknown": {"org": "nowhere", "id": NO_ID},
}
NEW_SUBSCRIPTION = {"url": "https://desk.example.com/"}
NEW_FORM = {
    "name": "acme-only-value",
    "linkedWorkflow": "quick",
    "fields": [{"name": "plan", "type": "choice", "choices": [{"value": "acme-only-value"}]}],
}
NEW_KEY = {"name": "new", "permissions": [VIEW_EXECUTIONS]}

#: (method, path) of every route there is. See the structs above for what to write.
DOORS: dict[tuple[str, str], Door] = {
    ("GET", "/"): Open("a page without data"),
    ("GET", "/console/{digest}/{name}"): Open("the page's own files", {"digest": "x", "name": "app.js"}),
    ("GET", "/console/{digest}/{folder}/{name}"): Open(
        "the page's own files", {"digest": "x", "folder": "core", "name": "dom.js"}
    ),
    ("GET", "/healthz"): Open("probes have no key"),
    ("GET", "/readyz"): Open("probes have no key"),
    ("GET", "/metrics"): Open("scrapers have no key"),
    ("GET", "/openapi.json"): Open("what there is to call is no secret"),
    ("GET", "/asyncapi.json"): Open("what there is to listen to is no secret"),
    ("GET", "/sign-in"): Open("who comes here has nothing to show yet"),
    ("GET", "/sign-in/{provider}"): Open("leads to the provider", {"provider": "msp"}),
    ("POST", "/sign-in/{provider}"): Open("a code of the provider is what is shown", {"provider": "msp"}),
    ("GET", "/me"): Common(),
    ("GET", "/workflows"): Common(),
    ("GET", "/workflows/{name}"): Common(path={"name": "quick"}),
    ("POST", "/workflows/{name}"): Listed(permission=EXECUTE_WORKFLOWS, path={"name": "quick"}, body={}),
    ("POST", "/workflows/{name}/batch"): Listed(
        permission=EXECUTE_WORKFLOWS, path={"name": "quick"}, body={"parameters": {}}, own=202
    ),
    ("GET", "/executions"): Listed(permission=VIEW_EXECUTIONS),
    ("GET", "/executions/{id}"): Thing(permission=VIEW_EXECUTIONS, **EXECUTION),
    ("GET", "/executions/{id}/record"): Thing(permission=VIEW_EXECUTIONS, **EXECUTION),
    ("GET", "/executions/{id}/events"): Thing(permission=VIEW_EXECUTIONS, **EXECUTION),
    ("POST", "/executions/bulk"): Listed(permission=MANAGE_EXECUTIONS, body={"action": "cancel", "dryRun": True}),
    ("POST", "/executions/{id}/cancel"): Thing(permission=MANAGE_EXECUTIONS, **RUNNING, body={}),
    ("POST", "/executions/{id}/retry"): Thing(permission=MANAGE_EXECUTIONS, **EXECUTION, body={}, own=202),
    ("GET", "/approvals"): Listed(permission=VIEW_EXECUTIONS),
    ("POST", "/executions/{id}/events/{name}"): Thing(
        permission=MANAGE_EXECUTIONS,
        path={"id": "{pending}", "name": "paid"},
        unknown={"id": NO_ID, "name": "paid"},
        body={},
        own=202,
    ),
    ("POST", "/executions/{id}/approve"): Thing(
        permission=APPROVE_EXECUTIONS, path={"id": "{pending}"}, unknown={"id": NO_ID}, body={}
    ),
    ("POST", "/executions/{id}/reject"): Thing(
        permission=APPROVE_EXECUTIONS, path={"id": "{refusable}"}, unknown={"id": NO_ID}, body={}
    ),
    ("GET", "/schedules"): Listed(permission=VIEW_EXECUTIONS),
    ("PUT", "/schedules/{workflow}"): Listed(permission=MANAGE_CONFIG, path={"workflow": "nightly"}, body={}),
    ("GET", "/schedules/{workflow}"): Listed(permission=VIEW_EXECUTIONS, path={"workflow": "nightly"}),
    ("DELETE", "/schedules/{workflow}"): Listed(permission=MANAGE_CONFIG, path={"workflow": "nightly"}, own=204),
    ("GET", "/schedules/{workflow}/preview"): Listed(permission=VIEW_EXECUTIONS, path={"workflow": "nightly"}),
    ("POST", "/schedules/{workflow}/run"): Listed(
        permission=EXECUTE_WORKFLOWS, path={"workflow": "nightly"}, body={}, own=202
    ),
    ("GET", "/schedules/{workflow}/ticks"): Listed(permission=VIEW_EXECUTIONS, path={"workflow": "nightly"}),
    ("GET", "/orgs"): Common(),
    ("GET", "/orgs/{org}"): Thing(permission=None, **ORG),
    ("PUT", "/orgs/{org}"): Thing(permission=MANAGE_ORGS, **ORG, body={"tags": ["x"]}),
    ("DELETE", "/orgs/{org}"): Thing(permission=MANAGE_ORGS, **ORG, own=409),
    ("GET", "/orgs/{org}/workflows"): Thing(permission=VIEW_EXECUTIONS, **ORG),
    ("GET", "/orgs/{org}/workflows/{workflow}"): Thing(permission=VIEW_EXECUTIONS, **WORKFLOW),
    ("PUT", "/orgs/{org}/workflows/{workflow}"): Thing(permission=MANAGE_CONFIG, **WORKFLOW, body={"enabled": True}),
    ("GET", "/orgs/{org}/config"): Thing(permission=MANAGE_CONFIG, **ORG),
    ("PUT", "/orgs/{org}/config"): Thing(permission=MANAGE_CONFIG, **ORG, body={"values": {"place": "Ulm"}}),
    ("GET", "/orgs/{org}/config/{key}"): Thing(permission=MANAGE_CONFIG, **CONFIG),
    ("PUT", "/orgs/{org}/config/{key}"): Thing(permission=MANAGE_CONFIG, **CONFIG, body={"value": "Ulm"}),
    ("DELETE", "/orgs/{org}/config/{key}"): Thing(permission=MANAGE_CONFIG, **CONFIG, own=204),
    ("GET", "/orgs/{org}/approval-rules"): Thing(permission=VIEW_EXECUTIONS, **ORG),
    ("GET", "/orgs/{org}/approval-rules/{workflow}"): Thing(permission=VIEW_EXECUTIONS, **RULE),
    ("PUT", "/orgs/{org}/approval-rules/{workflow}"): Thing(permission=MANAGE_CONFIG, **RULE, body={}),
    ("DELETE", "/orgs/{org}/approval-rules/{workflow}"): Thing(permission=MANAGE_CONFIG, **RULE, own=204),
    ("GET", "/orgs/{org}/secrets"): Thing(permission=MANAGE_SECRETS, **ORG),
    ("GET", "/orgs/{org}/secrets/{name}"): Thing(permission=MANAGE_SECRETS, **SECRET),
    ("PUT", "/orgs/{org}/secrets/{name}"): Thing(permission=MANAGE_SECRETS, **SECRET, body={"value": "1234"}),
    ("DELETE", "/orgs/{org}/secrets/{name}"): Thing(permission=MANAGE_SECRETS, **SECRET, own=204),
    ("GET", "/dead-letters"): Listed(permission=VIEW_EXECUTIONS),
    ("GET", "/dead-letters/{id}"): Thing(permission=VIEW_EXECUTIONS, **LETTER),
    ("POST", "/dead-letters/{id}/redrive"): Thing(permission=MANAGE_EXECUTIONS, **LETTER, own=202),
    ("POST", "/dead-letters/{id}/discard"): Thing(
        permission=MANAGE_EXECUTIONS, path={"id": "{spoiled}"}, unknown={"id": NO_LETTER}
    ),
    ("GET", "/overview"): Listed(permission=VIEW_EXECUTIONS),
    ("GET", "/executors"): Common(permission=VIEW_INTERNALS),
    ("POST", "/executors/{id}/drain"): Platform(permission=MANAGE_EXECUTIONS, path={"id": "all"}),
    ("GET", "/audit"): Listed(permission=VIEW_AUDIT),
    ("GET", "/forms"): Listed(permission=None),
    ("POST", "/forms"): Listed(permission=MANAGE_FORMS, body={"id": "another", **NEW_FORM}, own=201),
    ("GET", "/forms/{id}"): Thing(permission=EXECUTE_WORKFLOWS, **FORM),
    ("POST", "/forms/{id}/submit"): Thing(permission=EXECUTE_WORKFLOWS, **FORM, body={}),
    ("GET", "/forms/{id}/choices/{field}"): Thing(permission=EXECUTE_WORKFLOWS, **FIELD),
    ("POST", "/forms/{id}/choices/{field}"): Thing(permission=EXECUTE_WORKFLOWS, **FIELD, body={}),
    # Of the organisation that asks: another one's form of that id is neither there nor in the way.
    ("PUT", "/forms/{id}"): Listed(permission=MANAGE_FORMS, path={"id": "mine"}, body=NEW_FORM),
    ("DELETE", "/forms/{id}"): Thing(permission=MANAGE_FORMS, **FORM, own=204),
    ("POST", "/webhooks/{org}/{workflow}"): Open(
        "senders prove themselves otherwise", {"org": "acme", "workflow": "x"}
    ),
    ("GET", "/webhooks/{org}"): Thing(permission=MANAGE_WEBHOOKS, **ORG),
    ("GET", "/webhooks/{org}/{workflow}"): Thing(permission=MANAGE_WEBHOOKS, **HOOK),
    ("PUT", "/webhooks/{org}/{workflow}"): Thing(permission=MANAGE_WEBHOOKS, **HOOK, body={}),
    ("POST", "/webhooks/{org}/{workflow}/rotate"): Thing(permission=MANAGE_WEBHOOKS, **HOOK, body={}),
    ("POST", "/webhooks/{org}/{workflow}/rotate/finish"): Thing(permission=MANAGE_WEBHOOKS, **HOOK),
    ("GET", "/webhooks/{org}/{workflow}/deliveries"): Thing(permission=MANAGE_WEBHOOKS, **HOOK),
    ("POST", "/webhooks/{org}/{workflow}/deliveries/{id}/replay"): Thing(
        permission=MANAGE_WEBHOOKS, **DELIVERY, own=202
    ),
    ("DELETE", "/webhooks/{org}/{workflow}"): Thing(permission=MANAGE_WEBHOOKS, **HOOK, own=204),
    ("GET", "/subscriptions/{org}"): Thing(permission=MANAGE_WEBHOOKS, **ORG),
    ("POST", "/subscriptions/{org}"): Thing(permission=MANAGE_WEBHOOKS, **ORG, body=NEW_SUBSCRIPTION, own=201),
    ("GET", "/subscriptions/{org}/{id}"): Thing(permission=MANAGE_WEBHOOKS, **SUBSCRIPTION),
    ("PUT", "/subscriptions/{org}/{id}"): Thing(permission=MANAGE_WEBHOOKS, **SUBSCRIPTION, body={}),
    ("POST", "/subscriptions/{org}/{id}/rotate"): Thing(permission=MANAGE_WEBHOOKS, **SUBSCRIPTION, body={}),
    ("POST", "/subscriptions/{org}/{id}/test"): Thing(permission=MANAGE_WEBHOOKS, **SUBSCRIPTION, own=202),
    ("GET", "/subscriptions/{org}/{id}/attempts"): Thing(permission=MANAGE_WEBHOOKS, **SUBSCRIPTION),
    ("DELETE", "/subscriptions/{org}/{id}"): Thing(permission=MANAGE_WEBHOOKS, **SUBSCRIPTION, own=204),
    ("GET", "/keys"): Listed(permission=MANAGE_KEYS),
    ("POST", "/keys"): Listed(permission=MANAGE_KEYS, body=NEW_KEY, own=201),
    ("GET", "/keys/{id}"): Thing(permission=MANAGE_KEYS, **KEY),
    ("DELETE", "/keys/{id}"): Thing(permission=MANAGE_KEYS, **KEY, own=204),
}

NOBODYS = {
    "letter": NO_LETTER,
    "spoiled": NO_LETTER,
    "execution": NO_ID,
    "running": NO_ID,
    "pending": NO_ID,
    "refusable": NO_ID,
    "key": "acme",
    "delivery": NO_ID,
    "subscription": NO_ID,
}

#: Keys that look at no header: what they are about is the key's own organisations.
BY_KEY_ALONE = {("GET", "/keys")}


class Asked(Struct, frozen=True):
    """One request that was answered."""

    door: tuple[str, str]
    status: int
    body: str
    headers: dict[str, str]

    def without(self, values: Mapping[str, str]) -> str:
        """All that could tell the difference, but for the ids that the caller sent itself."""
        text = f"{self.status} {sorted(self.headers.items())} {self.body}"
        for value in sorted(values.values(), key=len, reverse=True):
            text = text.replace(repr(value), "*").replace(value, "*")
        return text


async def ask(
    client: httpx.AsyncClient, door: tuple[str, str], path: Mapping[str, str], body: Any = None, org: str | None = None
) -> Asked:
    headers = {} if org is None else {"X-Organization-Id": org}
    method, template = door
    answer = await client.request(method, template.format_map(path), json=body, headers=headers)
    kept = {name: value for name, value in answer.headers.items() if name not in ("date", "content-length")}
    return Asked(door, answer.status_code, answer.text, kept)


@pytest.fixture
async def ids(gateway: Gateway, executor: Executor, bus: NatsBus) -> dict[str, str]:
    """Acme's things, and a key of each role: `role-{name}` of acme. `all-acme` and `all-globex` may do everything."""
    store = NatsDirectoryStore(bus)
    keys = [api_key(f"role-{role}", "acme", roles=[role]) for role in ROLES]
    keys += [api_key("all-acme", "acme", "*"), api_key("all-globex", "globex", "*"), api_key("spare", "acme", "canX")]
    for key in keys:
        await store.put(api_key_key(key.id), msgspec.json.encode(key))
    hook = manifest("hook", execution_mode="async", webhook_enabled=True)
    await store.put(workflow_key("hook"), msgspec.json.encode(hook))
    await eventually(lambda: gateway.parts.directory.workflow("hook"), within=20)
    async with gateway.client("all-acme") as acme:
        ended = await acme.post("/workflows/quick", json={"marker": "acme-only-value"})
        assert (await acme.put("/orgs/acme/config/place", json={"value": "acme-only-value"})).status_code == 200
        assert (await acme.put("/orgs/acme/secrets/pin", json={"value": "1234"})).status_code == 200
        assert (await acme.put("/forms/intake", json=NEW_FORM)).status_code == 200
        # The caller of all these doors is also who asked.
        assert (await acme.put("/orgs/acme/approval-rules/approved", json={"allowOwn": True})).status_code == 200
        pending, refusable = [await acme.post("/workflows/approved", json={}) for _ in range(2)]
        await acme.put("/webhooks/acme/hook", json={"secret": "a-secret-of-acme-s-very-own"})
        delivered = {"X-Webhook-Secret": "a-secret-of-acme-s-very-own"}
        assert (await acme.post("/webhooks/acme/hook", json={}, headers=delivered)).status_code == 202
        subscribed = await acme.post("/subscriptions/acme", json=NEW_SUBSCRIPTION)
        await eventually(lambda: len(executor.requests) == 2, within=20)
        executor.holding = True
        running = await acme.post("/workflows/slow", json={})
    await eventually(lambda: len(executor.requests) == 3, within=20)
    executor.holding = False
    await gateway.records.apply(await bus.read(subjects.EVENTS, ">"))
    delivery = next(it.trigger.reference for it in executor.requests if it.trigger.kind == "webhook")
    assert delivery is not None
    answers = {"execution": ended, "running": running, "pending": pending, "refusable": refusable}
    letters = {name: await dead_letter(bus, name) for name in ("letter", "spoiled")}
    known = {name: answer.json()["executionId"] for name, answer in answers.items()}
    return {"key": "spare", "delivery": delivery, "subscription": subscribed.json()["id"], **letters, **known}


@pytest.fixture
async def acme(gateway: Gateway, ids: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client("all-acme") as opened:
        yield opened


@pytest.fixture
async def globex(gateway: Gateway, ids: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client("all-globex") as opened:
        yield opened


async def dead_letter(bus: NatsBus, name: str) -> str:
    """A letter of acme's that names no execution."""
    letter = DeadLetter(
        kind="unreadable",
        reason="acme-only-value",
        at=datetime.now(UTC),
        source=f"REQUESTS:{name}",
        subject=subjects.request("0", "acme", "quick"),
        org="acme",
        workflow="quick",
    )
    return f"dl-{await bus.publish(letter_message(letter, b'{'))}"


def filled(path: Mapping[str, str], ids: Mapping[str, str]) -> dict[str, str]:
    return {name: value.format_map(ids) for name, value in path.items()}


def path_of(door: Door, ids: Mapping[str, str]) -> dict[str, str]:
    return filled(door.path, ids)


def closed_doors() -> list[tuple[tuple[str, str], Common | Listed | Thing]]:
    return [(name, door) for name, door in DOORS.items() if not isinstance(door, Open | Platform)]


async def test_every_route_has_its_line(gateway: Gateway) -> None:
    found: set[tuple[str, str]] = set()
    for route in gateway.gate.routes:
        if isinstance(route, Route):
            found |= {(method, route.path) for method in route.methods or {"ANY"} if method not in ("HEAD", "OPTIONS")}
        else:
            assert type(route).__name__ == "_IncludedRouter", f"{route!r} is of a kind that this test cannot read"
    async with gateway.client(None) as nobody:
        paths = (await nobody.get("/openapi.json")).json()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert described <= found, f"these are served, and not among the routes that `build` knows: {described - found}"
    lacking = sorted(found - DOORS.keys())
    assert not lacking, f"add a line to DOORS in {__file__} for each of: {lacking}"
    assert not DOORS.keys() - found, f"there is no such route any more: {sorted(DOORS.keys() - found)}"
    assert {path for (_, path), door in DOORS.items() if isinstance(door, Open)} >= OPEN


@pytest.mark.parametrize("credentials", [None, "Bearer rl_old_secret-old", "Bearer rl_acme_wrong", "Bearer a.b.c"])
async def test_nobody_gets_in_without_credentials_or_with_bad_ones(gateway: Gateway, credentials: str | None) -> None:
    wrong = []
    headers = {} if credentials is None else {"Authorization": credentials}
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=20) as nobody:
        for name, door in DOORS.items():
            # Things that are there and things that are not look the same to nobody.
            asked = await ask(nobody, name, path_of(door, NOBODYS))
            if (asked.status == 401) == isinstance(door, Open):
                wrong.append((name, asked.status))
    assert not wrong


async def test_the_owner_gets_in(acme: httpx.AsyncClient, ids: dict[str, str]) -> None:
    wrong = []
    for name, door in closed_doors():
        body, own = (None, 200) if isinstance(door, Common) else (door.body, door.own)
        asked = await ask(acme, name, path_of(door, ids), body)
        if asked.status not in ({200, 202} if name == ("POST", "/workflows/{name}") else {own}):
            wrong.append((name, asked.status, asked.body))
    assert not wrong


async def test_what_is_foreign_looks_like_what_is_not_there(globex: httpx.AsyncClient, ids: dict[str, str]) -> None:
    wrong = []
    for name, door in closed_doors():
        if isinstance(door, Thing):
            path = filled(door.path, ids)
            foreign = await ask(globex, name, path, door.body)
            unknown = await ask(globex, name, door.unknown, door.body)
            if foreign.status != 404 or foreign.without(path) != unknown.without(door.unknown):
                wrong.append((name, foreign.without(path), unknown.without(door.unknown)))
        elif isinstance(door, Listed) and name not in BY_KEY_ALONE:
            foreign = await ask(globex, name, door.path, door.body, org="acme")
            unknown = await ask(globex, name, door.path, door.body, org="nowhere")
            if foreign.status != 404 or foreign.without({}) != unknown.without({}):
                wrong.append((name, foreign.without({}), unknown.without({})))
    assert not wrong


async def test_nothing_of_another_organisation_is_told(globex: httpx.AsyncClient, ids: dict[str, str]) -> None:
    markers = [*ids.values(), "acme", "Acme", "acme-only-value", "Europe/Berlin"]
    wrong = []
    for name, door in closed_doors():
        if isinstance(door, Common | Listed) and name[0] == "GET":
            asked = await ask(globex, name, door.path)
            told = [marker for marker in markers if marker in asked.body]
            if asked.status != 200 or told:
                wrong.append((name, asked.status, told))
    assert not wrong


async def test_what_concerns_everybody_is_not_for_a_key_of_one_organisation(
    gateway: Gateway, acme: httpx.AsyncClient
) -> None:
    wrong = []
    for name, door in DOORS.items():
        if isinstance(door, Platform):
            async with gateway.client("weak") as weak, gateway.client("admin") as admin:
                statuses = [(await ask(client, name, door.path)).status for client in (weak, acme, admin)]
            if statuses[:2] != [403, 403] or statuses[2] in (401, 403, 500):
                wrong.append((name, statuses))
    assert not wrong


@pytest.mark.parametrize("role", [*ROLES, None])
async def test_a_role_opens_what_it_stands_for_and_nothing_else(
    gateway: Gateway, executor: Executor, ids: dict[str, str], role: str | None
) -> None:
    held = permissions_of([] if role is None else [role])
    wrong = []
    async with gateway.client("weak" if role is None else f"role-{role}") as client:
        for name, door in closed_doors():
            body = None if isinstance(door, Common) else door.body
            asked = await ask(client, name, path_of(door, ids), body)
            wanted = door.permission is None or door.permission in held or "*" in held
            if wanted == (asked.status == 403) or asked.status in (401, 500):
                wrong.append((name, asked.status, asked.body))
    assert not wrong
