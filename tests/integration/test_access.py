"""API keys and tokens over HTTP: who can make which key, what a revoked one still opens, what bad credentials get."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.directory import api_key_key
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway, api_key, furnish, serving
from tests.support.issuer import Issuer

pytest_plugins = ["tests.support.gateway_fixtures"]

#: Keys beside those of `furnish`. `chief-…` deal with keys.
KEYS = [
    api_key("chief", "acme", "canManageKeys", "canViewExecutions", "canExecuteWorkflows"),
    api_key("chief-all", None, "canManageKeys", "canViewExecutions"),
    api_key("chief-two", None, "canManageKeys", "canViewExecutions", orgs=["acme", "globex"]),
    api_key("chief-brief", "acme", "canManageKeys", "canX", expires_at=datetime(2999, 1, 1, tzinfo=UTC)),
    api_key("two", None, "canViewExecutions", "canExecuteWorkflows", orgs=["acme", "globex"]),
    api_key("guardian", "acme", "canRunGuarded", "canViewExecutions", "canManageExecutions"),
]


@pytest.fixture
async def keys(gateway: Gateway, bus: NatsBus) -> None:
    store = NatsDirectoryStore(bus)
    for key in KEYS:
        await store.put(api_key_key(key.id), msgspec.json.encode(key))
    await eventually(lambda: gateway.parts.directory.api_key(KEYS[-1].id), within=20)


@pytest.fixture
async def chief(gateway: Gateway, keys: None) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client("chief") as opened:
        yield opened


@pytest.fixture
async def admin(gateway: Gateway, keys: None) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client("admin") as opened:
        yield opened


def with_key(gateway: Gateway, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=gateway.url, headers={"Authorization": f"Bearer {key}"}, timeout=20)


# --- making keys ------------------------------------------------------------------------------------------------------


async def test_a_key_is_shown_once_and_works_at_once(gateway: Gateway, chief: httpx.AsyncClient) -> None:
    body = {"name": " Ticket sync ", "permissions": ["canViewExecutions"], "email": "ops@msp.com"}
    made = await chief.post("/keys", json={**body, "expiresAt": "2999-12-31T00:00:00+01:00"})
    view = made.json()
    key, secret = view.pop("key"), made.json()["key"].split("_", 2)[2]
    assert (made.status_code, made.headers["location"]) == (201, f"/keys/{view['id']}")
    assert {name: view[name] for name in ("name", "orgs", "roles", "permissions", "createdBy", "expired")} == {
        "name": "Ticket sync",
        "orgs": ["acme"],
        "roles": [],
        "permissions": ["canViewExecutions"],
        "createdBy": "chief",
        "expired": False,
    }
    assert view["expiresAt"] == "2999-12-30T23:00:00.000Z"
    async with with_key(gateway, key) as fresh:
        assert (await fresh.get("/executions")).status_code == 200
        assert (await fresh.get("/keys")).status_code == 403
        me = (await fresh.get("/me")).json()
    assert (me["id"], me["kind"], me["orgs"], me["email"]) == (view["id"], "key", ["acme"], "ops@msp.com")
    shown = await chief.get(f"/keys/{view['id']}")
    listed = await chief.get("/keys")
    assert shown.json() == view
    assert view in listed.json()["keys"]
    stored = gateway.parts.directory.api_key(view["id"])
    assert secret not in shown.text + listed.text + msgspec.json.encode(stored).decode()
    assert stored is not None
    assert (stored.org, stored.orgs) == ("acme", [])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 5}, "name"),
        ({"roles": ["boss"]}, "roles"),
        ({"roles": "viewer"}, "roles"),
        ({"permissions": []}, "roles"),
        ({"permissions": ["can view"]}, "permissions"),
        ({"permissions": ["canX"] * 1001}, "permissions"),
        ({"permissions": [None]}, "permissions[0]"),
        ({"orgs": []}, "orgs"),
        ({"orgs": "acme"}, "orgs"),
        ({"orgs": None}, "orgs"),
        ({"orgs": ["acme"] * 1001}, "orgs"),
        ({"email": "nobody"}, "email"),
        ({"email": "a@" + "b" * 300}, "email"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2999-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"secret_sha256": "0" * 64}, "secret_sha256"),
        ({"id": "chief"}, "id"),
        ({"created_by": "admin"}, "created_by"),
    ],
)
async def test_a_key_that_cannot_be_is_refused(chief: httpx.AsyncClient, body: dict[str, Any], field: str) -> None:
    given = {"name": "x", "permissions": ["canViewExecutions"], **body} if body else {}
    answer = await chief.post("/keys", json=given)
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": field})


@pytest.mark.parametrize(
    ("maker", "body", "status"),
    [
        ("chief", {"permissions": ["canManageSecrets"]}, 403),
        ("chief", {"permissions": ["*"]}, 403),
        ("chief", {"roles": ["owner"]}, 403),
        ("chief", {"roles": ["technician"]}, 403),
        ("chief", {"permissions": ["canRunGuarded"]}, 403),
        ("chief", {"roles": ["viewer"], "permissions": ["canManageKeys"]}, 201),
        ("chief", {"roles": ["viewer"], "orgs": "*"}, 403),
        ("chief", {"roles": ["viewer"], "orgs": ["globex"]}, 404),
        ("chief", {"roles": ["viewer"], "orgs": ["nowhere"]}, 404),
        ("chief", {"roles": ["viewer"], "orgs": ["platform"]}, 404),
        ("chief", {"roles": ["viewer"], "orgs": ["acme", "globex"]}, 404),
        ("chief-two", {"roles": ["viewer"], "orgs": ["acme", "globex"]}, 201),
        ("chief-two", {"roles": ["viewer"]}, 400),
        ("chief-two", {"roles": ["viewer"], "orgs": "*"}, 403),
        ("chief-all", {"roles": ["viewer"], "orgs": "*"}, 201),
        ("chief-all", {"roles": ["viewer"]}, 400),
        ("chief-all", {"roles": ["owner"], "orgs": ["acme"]}, 403),
        ("chief-all", {"roles": ["viewer"], "orgs": ["platform"]}, 404),
        ("chief-brief", {"permissions": ["canX"], "expires_at": "2999-01-01T00:00:01Z"}, 403),
        ("chief-brief", {"permissions": ["canX"], "expires_at": "2998-01-01T00:00:00Z"}, 201),
        ("chief-brief", {"permissions": ["canX"]}, 201),
        ("admin", {"roles": ["owner"], "orgs": "*"}, 201),
        ("acme", {"roles": ["viewer"]}, 403),
    ],
)
async def test_nobody_gives_more_than_he_has(
    gateway: Gateway, keys: None, maker: str, body: dict[str, Any], status: int
) -> None:
    before = {key.id for key in gateway.parts.directory.api_keys()}
    async with gateway.client(maker) as client:
        answer = await client.post("/keys", json={"name": "new", **body})
    assert answer.status_code == status, answer.text
    assert len({key.id for key in gateway.parts.directory.api_keys()} - before) == (status == 201)
    if status == 201 and maker == "chief-brief":
        assert answer.json()["expiresAt"] <= "2999-01-01T00:00:00.000Z"


async def test_keys_of_others_are_not_there(gateway: Gateway, keys: None) -> None:
    async with gateway.client("chief") as chief:
        seen = [key["id"] for key in (await chief.get("/keys")).json()["keys"]]
        assert seen == ["acme", "chief", "chief-brief", "guardian", "old", "weak"]
        for other in ("globex", "admin", "chief-two", "nosuchkey", "a.b", "*", "%2e%2e", "é"):
            for method in ("GET", "DELETE"):
                answer = await chief.request(method, f"/keys/{other}")
                assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")
        assert (await chief.get("/keys", params={"org": "globex"})).json() == {"keys": [], "next": None}
    async with gateway.client("chief-two") as both:
        seen = [key["id"] for key in (await both.get("/keys", params={"org": "globex"})).json()["keys"]]
        assert seen == ["chief-two", "globex", "two"]


async def test_a_list_of_keys_has_pages(admin: httpx.AsyncClient) -> None:
    whole = (await admin.get("/keys", params={"limit": 200})).json()
    found, after = [], ""
    while after is not None:
        page = (await admin.get("/keys", params={"limit": 3, "after": after})).json()
        assert len(page["keys"]) <= 3
        found, after = found + page["keys"], page["next"]
    assert (found, whole["next"]) == (whole["keys"], None)
    assert (await admin.get("/keys", params={"limit": 0})).status_code == 400


# --- revoking ---------------------------------------------------------------------------------------------------------


async def test_a_revoked_key_is_refused_by_every_gateway_within_a_second(
    gateway: Gateway, admin: httpx.AsyncClient, settings: Settings
) -> None:
    own = msgspec.structs.replace(settings, http_port=0, master_key=generate_master_key())
    async with open_bus(own, "other") as bus, serving(own, bus, NatsDirectoryStore(bus)) as other:
        made = (await admin.post("/keys", json={"name": "x", "roles": ["viewer"], "orgs": ["acme"]})).json()
        async with with_key(gateway, made["key"]) as here, with_key(other, made["key"]) as there:
            await eventually(lambda: _is(there, 200), within=20)
            assert (await here.get("/me")).status_code == 200
            assert (await admin.delete(f"/keys/{made['id']}")).status_code == 204
            assert (await here.get("/me")).status_code == 401
            await eventually(lambda: _is(there, 401), within=20)
        assert (await admin.delete(f"/keys/{made['id']}")).status_code == 404


async def _is(client: httpx.AsyncClient, status: int) -> bool:
    return (await client.get("/me")).status_code == status


async def test_a_stream_ends_with_its_key(gateway: Gateway, admin: httpx.AsyncClient, executor: Executor) -> None:
    executor.holding = True
    made = (await admin.post("/keys", json={"name": "x", "roles": ["technician"], "orgs": ["acme"]})).json()
    async with with_key(gateway, made["key"]) as client:
        execution = (await client.post("/workflows/slow", json={})).json()["executionId"]
        async with client.stream("GET", f"/executions/{execution}/events", timeout=30) as stream:
            chunks = stream.aiter_text()
            assert "event: queued" in await anext(chunks)
            assert (await admin.delete(f"/keys/{made['id']}")).status_code == 204
            async with asyncio.timeout(10):  # well before the first heartbeat
                rest = [chunk async for chunk in chunks]
        assert "still here" not in "".join(rest)
        again = await client.get(f"/executions/{execution}/events", headers={"Last-Event-ID": "1-0"})
    assert again.status_code == 401


async def test_keys_lose_an_organisation_that_is_removed_and_do_not_find_it_again(
    gateway: Gateway, admin: httpx.AsyncClient
) -> None:
    store = gateway.parts.changes.directory
    assert (await admin.delete("/orgs/globex")).status_code == 204
    two, globex = store.api_key("two"), store.api_key("globex")
    assert two is not None
    assert (two.reach, globex) == (frozenset({"acme"}), None)
    assert (await admin.delete("/orgs/acme")).status_code == 204
    assert store.api_key("two") is None
    assert (await admin.put("/orgs/globex", json={"name": "Another Globex"})).status_code == 200
    for key in ("two", "globex", "chief-two"):
        async with gateway.client(key) as client:
            assert (await client.get("/me")).status_code == 401


# --- several organisations, permissions of workflows' own -------------------------------------------------------------


async def test_a_key_of_two_organisations_names_one_and_lists_both(
    gateway: Gateway, keys: None, executor: Executor
) -> None:
    async with gateway.client("two") as two:
        assert (await two.post("/workflows/quick", json={})).status_code == 400
        assert (await two.post("/workflows/anywhere", json={})).status_code == 400
        for org in ("acme", "globex"):
            ran = await two.post("/workflows/quick", json={}, headers={"X-Organization-Id": org})
            assert ran.status_code == 200
        for org in ("nowhere", "platform", "a.b"):
            ran = await two.post("/workflows/anywhere", json={}, headers={"X-Organization-Id": org})
            assert (ran.status_code, ran.json()["message"]) == (404, "There is no such organisation.")
        await gateway.records.apply(await executor.bus.read("EVENTS", ">"))
        both = (await two.get("/executions")).json()["executions"]
        one = (await two.get("/executions", headers={"X-Organization-Id": "acme"})).json()["executions"]
        assert sorted(found["orgId"] for found in both) == ["acme", "globex"]
        assert [found["orgId"] for found in one] == ["acme"]
        assert [org["id"] for org in (await two.get("/orgs")).json()["organizations"]] == ["acme", "globex"]


async def test_a_permission_of_a_workflows_own_is_granted_by_name_and_asked_for_at_every_door(
    gateway: Gateway, keys: None, executor: Executor
) -> None:
    async with gateway.client("guardian") as guardian, gateway.client("acme") as worker:
        ran = await guardian.post("/workflows/guarded", json={})
        assert ran.status_code == 200
        assert (await guardian.post("/workflows/quick", json={})).status_code == 403
        for method, path in (
            ("POST", "/workflows/guarded"),
            ("POST", f"/executions/{ran.json()['executionId']}/retry"),
            ("POST", "/schedules/guarded/run"),
        ):
            refused = await worker.request(method, path, json={})
            assert (refused.status_code, refused.json()["details"]) == (403, {"permission": "canRunGuarded"})


@pytest.mark.parametrize("path", ["/workflows/{}", "/schedules/{}/run"])
async def test_a_workflow_that_requires_an_organisation_does_not_run_for_the_platform(
    admin: httpx.AsyncClient, executor: Executor, path: str
) -> None:
    platform = {"X-Organization-Id": "platform"}
    refused = await admin.post(path.format("quick"), json={}, headers=platform)
    assert (refused.status_code, refused.json()["details"]) == (400, {"field": "X-Organization-Id"})
    ran = await admin.post(path.format("anywhere"), json={}, headers=platform)
    assert ran.status_code in (200, 202)


@pytest.mark.parametrize("path", ["/workflows/{}", "/schedules/{}/run"])
async def test_a_workflow_that_an_organisation_does_not_have_looks_like_none(
    gateway: Gateway, keys: None, path: str
) -> None:
    for key in ("acme", "weak"):
        async with gateway.client(key) as client:
            banned, unknown = [await client.post(path.format(name), json={}) for name in ("banned", "nosuch")]
        assert banned.status_code == unknown.status_code == 404
        assert banned.text.replace("banned", "*") == unknown.text.replace("nosuch", "*")


# --- bad credentials --------------------------------------------------------------------------------------------------

RIGHT = b"Bearer rl_acme_secret-acme"

BAD_HEADERS: dict[str, list[bytes]] = {
    "none": [],
    "empty": [b""],
    "scheme only": [b"Bearer"],
    "basic": [b"Basic cmxfYWNtZTpzZWNyZXQ="],
    "digest": [b'Digest username="acme"'],
    "token scheme": [b"Token rl_acme_secret-acme"],
    "no scheme": [b"rl_acme_secret-acme"],
    "wrong secret": [b"Bearer rl_acme_secret-globex"],
    "secret of another case": [b"Bearer rl_acme_SECRET-acme"],
    "secret with more behind it": [b"Bearer rl_acme_secret-acme-and-more"],
    "secret cut short": [b"Bearer rl_acme_secret-acm"],
    "no secret": [b"Bearer rl_acme_"],
    "no id": [b"Bearer rl__secret-acme"],
    "unknown id": [b"Bearer rl_nobody_secret-acme"],
    "id with a wildcard": [b"Bearer rl_*_secret-acme"],
    "another entry of the directory": [b"Bearer rl_../orgs.acme_secret-acme"],
    "the digest instead of the secret": [b"Bearer rl_acme_0d5be42a5bc6f5e8dcfda0bd2bc2e3b8"],
    "expired": [b"Bearer rl_old_secret-old"],
    "two in one header": [RIGHT + b", " + RIGHT],
    "two headers, the last one right": [b"Bearer rl_x_y", RIGHT],
    "two headers, both right": [RIGHT, RIGHT],
    "not ASCII": ["Bearer rl_acmé_sécret".encode()],
    "latin-1": [b"Bearer rl_acme_\xff\xfe"],
    "a tab in it": [b"Bearer rl_acme_secret\tacme"],
    "huge": [b"Bearer rl_acme_" + b"x" * 20_000],
    "a huge token": [b"Bearer eyJ" + b"A" * 60_000 + b".e30.AAAA"],
    "a token, and no provider": [b"Bearer eyJhbGciOiJub25lIn0.e30."],
}


@pytest.mark.parametrize("what", BAD_HEADERS)
async def test_bad_credentials_open_nothing(gateway: Gateway, what: str) -> None:
    headers = [(b"Authorization", value) for value in BAD_HEADERS[what]]
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=20) as client:
        answer = await client.get("/me")
        assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "acme" not in answer.text
        assert (await client.get("/healthz")).status_code == 200


async def test_a_megabyte_of_credentials_is_refused_and_the_gateway_goes_on(gateway: Gateway) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
        try:
            answer = await client.get("/me", headers={"Authorization": "Bearer " + "x" * 1_000_000})
            assert answer.status_code in (400, 401, 431)
        except httpx.TransportError:
            pass  # it may hang up
    async with gateway.client("acme") as client:
        assert (await client.get("/me")).status_code == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_the_scheme_is_read_as_the_standard_says(gateway: Gateway, scheme: str) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
        answer = await client.get("/me", headers={"Authorization": f"{scheme} rl_acme_secret-acme"})
    assert answer.status_code == 200


# --- tokens over HTTP -------------------------------------------------------------------------------------------------


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    started = Issuer()
    yield started
    started.close()


STAFF = {"group": "staff", "roles": ["viewer"], "orgs": "*"}
ADMINS = {"group": "acme-admins", "roles": ["owner"], "orgs": ["acme"]}


@pytest.fixture
async def trusting(settings: Settings, bus: NatsBus, issuer: Issuer, tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that accepts tokens of `issuer`."""
    store = NatsDirectoryStore(bus)
    await furnish(store)
    file = issuer.identity_file(tmp_path, grants=[STAFF, ADMINS], leeway_seconds=0)
    own = msgspec.structs.replace(settings, http_port=0, master_key=generate_master_key(), identity_file=file)
    async with serving(own, bus, store) as opened:
        yield opened


async def test_a_person_does_in_each_organisation_what_is_granted_there(trusting: Gateway, issuer: Issuer) -> None:
    token = issuer.token(groups=["staff", "acme-admins"], name="Ada", email="ada@msp.com")
    async with with_key(trusting, token) as ada:
        me = (await ada.get("/me")).json()
        assert (me["id"], me["kind"], me["orgs"], me["permissions"]) == (
            "msp:ada",
            "token",
            None,
            ["canViewExecutions"],
        )
        assert {"orgs": ["acme"], "roles": ["owner"], "permissions": ["*"]} in me["grants"]
        at_acme, at_globex = {"X-Organization-Id": "acme"}, {"X-Organization-Id": "globex"}
        assert (await ada.get("/me", headers=at_acme)).json()["orgs"] == ["acme"]
        assert (await ada.get("/executions", headers=at_globex)).status_code == 200
        assert (await ada.post("/workflows/slow", json={}, headers=at_globex)).status_code == 403
        ran = await ada.post("/workflows/slow", json={}, headers=at_acme)
        assert ran.status_code == 202
        seen = await ada.get(ran.json()["pollUrl"], headers=at_acme)
        assert seen.json()["executedBy"] == {"id": "msp:ada", "email": "ada@msp.com", "name": "Ada"}
        # A path names the organisation as well as the header does.
        assert (await ada.get("/orgs/acme/secrets")).status_code == 200
        assert (await ada.get("/orgs/acme/secrets", headers=at_globex)).status_code == 200
        assert (await ada.get("/orgs/globex/secrets", headers=at_acme)).status_code == 403
        assert (await ada.put("/orgs/globex", json={"name": "Mine"}, headers=at_acme)).status_code == 403
        assert (await ada.put("/orgs/platform/config/x", json={"value": 1}, headers=at_acme)).status_code == 403
        made = await ada.post("/keys", json={"name": "x", "roles": ["owner"], "orgs": ["acme"]}, headers=at_acme)
        assert made.status_code == 201
        for orgs, status in ((["globex"], 404), ("*", 403)):
            body = {"name": "x", "roles": ["viewer"], "orgs": orgs}
            assert (await ada.post("/keys", json=body, headers=at_acme)).status_code == status


async def test_what_is_granted_in_one_organisation_opens_no_list_of_all(trusting: Gateway, issuer: Issuer) -> None:
    async with with_key(trusting, issuer.token(groups=["staff", "acme-admins"])) as ada:
        for named in ("acme", "globex", None):
            headers = {} if named is None else {"X-Organization-Id": named}
            for org, status in (("acme", 200), ("globex", 403), ("*", 403), ("gone", 403)):
                asked = await ada.get("/audit", params={"org": org}, headers=headers)
                assert (named, org, asked.status_code) == (named, org, status)
            asked = await ada.get("/audit", headers=headers)
            assert (named, asked.status_code) == (named, 200 if named == "acme" else 403)
            assert (await ada.delete("/orgs/acme", headers=headers)).status_code == 403


async def test_an_account_that_was_granted_nothing_is_told_so(trusting: Gateway, issuer: Issuer) -> None:
    async with with_key(trusting, issuer.token(groups=["others"])) as nobody:
        for path in ("/me", "/workflows", "/orgs"):
            assert (await nobody.get(path)).status_code == 403


async def test_while_the_provider_is_away_strangers_wait_and_keys_work(trusting: Gateway, issuer: Issuer) -> None:
    token = issuer.token()
    issuer.close()
    async with with_key(trusting, token) as ada, trusting.client("acme") as worker:
        away = await ada.get("/me")
        assert (away.status_code, away.headers["retry-after"]) == (503, "1")
        assert (await worker.get("/me")).status_code == 200


async def test_a_stream_ends_with_its_token(trusting: Gateway, issuer: Issuer, bus: NatsBus) -> None:
    executor = Executor(bus, trusting.parts.sealer)
    executor.holding = True
    await executor.start()
    soon = int((datetime.now(UTC) + timedelta(seconds=3)).timestamp())
    async with with_key(trusting, issuer.token(groups=["acme-admins"], exp=soon)) as ada:
        execution = (await ada.post("/workflows/slow", json={})).json()["executionId"]
        async with asyncio.timeout(12):  # before the first heartbeat
            answer = await ada.get(f"/executions/{execution}/events")
        assert "event: queued" in answer.text
        assert (await ada.get("/me")).status_code == 401
