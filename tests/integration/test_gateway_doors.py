"""Who gets in, what bad input gets, and the doors of the directory."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts.directory import ImportFailure, secret_context
from runlane.contracts.records import Tick
from runlane.directory import api_key_key, failure_key
from runlane_gateway.gate import needs_key
from tests.support.documents import ROOT
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway, api_key

pytest_plugins = ["tests.support.gateway_fixtures"]


@pytest.fixture
async def admin(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    async with gateway.client("admin") as opened:
        yield opened


async def described(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    """Every (method, path) of the API."""
    document = (await client.get("/openapi.json")).json()
    return [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]


async def test_every_door_needs_a_key_except_the_open_ones(gateway: Gateway) -> None:
    async with gateway.client(None) as nobody:
        doors = await described(nobody)
        assert len(doors) >= 25
        for method, path in [*doors, ("GET", "/")]:
            answer = await nobody.request(method, path.format_map(dict.fromkeys(_NAMES, "x")))
            assert (answer.status_code == 401) == needs_key(method, path), (method, path, answer.status_code)


_NAMES = ("id", "name", "org", "key", "workflow", "field", "provider")


@pytest.mark.parametrize(
    "path",
    ["//healthz", "/x/healthz", "/healthz/", "/HEALTHZ", "/healthz/../executions", "/nowhere", "/docs", "/redoc"],
)
async def test_what_only_looks_open_needs_a_key(gateway: Gateway, path: str) -> None:
    async with gateway.client(None) as nobody:
        answer = await nobody.get(f"{gateway.url}{path}")
    assert (answer.status_code, answer.json()["error"]) == (401, "Unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer rl_acme",
        "Bearer rl_acme_",
        "Bearer rl_acme_wrong",
        "Bearer rl_unknown_secret-acme",
        "Bearer rl_old_secret-old",
        "Basic rl_acme_secret-acme",
        "Bearer xx_acme_secret-acme",
        "rl_acme_secret-acme",
    ],
)
async def test_a_key_that_is_not_right_is_refused(gateway: Gateway, header: str) -> None:
    async with gateway.client(None) as nobody:
        answer = await nobody.get("/workflows", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["status"]) == (401, "Failed")


async def test_a_key_works_until_it_is_deleted(gateway: Gateway, bus: NatsBus) -> None:
    store = NatsDirectoryStore(bus)
    await store.put(api_key_key("fresh"), msgspec.json.encode(api_key("fresh", "acme", "*")))
    async with gateway.client("fresh") as fresh:

        async def status() -> int:
            return (await fresh.get("/schedules")).status_code

        await eventually(lambda: _is(status, 200))
        await store.delete(api_key_key("fresh"))
        await eventually(lambda: _is(status, 401))


async def _is(look: Any, expected: int) -> bool:
    return bool(await look() == expected)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/workflows/quick"),
        ("GET", "/executions"),
        ("GET", f"/executions/{'0' * 32}"),
        ("GET", f"/executions/{'0' * 32}/record"),
        ("GET", f"/executions/{'0' * 32}/events"),
        ("POST", f"/executions/{'0' * 32}/cancel"),
        ("POST", f"/executions/{'0' * 32}/retry"),
        ("PUT", "/orgs/acme"),
        ("GET", "/orgs/acme/config"),
        ("PUT", "/orgs/acme/config/x"),
        ("DELETE", "/orgs/acme/config/x"),
        ("GET", "/orgs/acme/secrets"),
        ("PUT", "/orgs/acme/secrets/x"),
        ("DELETE", "/orgs/acme/secrets/x"),
        ("GET", "/schedules"),
        ("PUT", "/schedules/nightly"),
        ("POST", "/schedules/nightly/run"),
        ("GET", "/schedules/nightly/ticks"),
    ],
)
async def test_a_key_without_the_permission_is_refused(gateway: Gateway, method: str, path: str) -> None:
    async with gateway.client("weak") as weak:
        answer = await weak.request(method, path, json={} if method in ("POST", "PUT") else None)
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")


async def test_a_key_of_one_organisation_cannot_name_another(gateway: Gateway) -> None:
    async with gateway.client("acme", X_Organization_Id="globex") as client:
        for path in ("/executions", "/schedules"):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")
        assert (await client.post("/workflows/quick", json={})).status_code == 404
    async with gateway.client("acme", X_Organization_Id="acme") as client:
        assert (await client.get("/schedules")).status_code == 200
    async with gateway.client("orphan") as client:
        assert (await client.post("/workflows/quick", json={})).status_code == 404


async def test_a_key_of_no_organisation_must_name_one(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/executions")
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "X-Organization-Id"})
    assert (await admin.post("/workflows/quick", json={})).status_code == 400
    answer = await admin.get("/executions", headers={"X-Organization-Id": "nobody"})
    assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")


@pytest.mark.parametrize("org", ["a.b", "*", ">", "a b", "é", "x" * 65, "acme%00"])
async def test_an_organisation_that_is_no_name_is_not_there(admin: httpx.AsyncClient, org: str) -> None:
    headers = [(b"X-Organization-Id", org.encode("latin-1"))]
    assert (await admin.post("/workflows/quick", json={}, headers=headers)).status_code == 404


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"x"', "application/json", 400),
        (b"null", "application/json", 400),
        (b"{} {}", "application/json", 400),
        (b'{"a":NaN}', "application/json", 400),
        (b'{"a":1e999}', "application/json", 400),
        (b'{"a":"\xff"}', "application/json", 400),
        (b'{"a":"\\ud800"}', "application/json", 400),
        (b'{"a":' + b"9" * 5000 + b"}", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "application/json", 400),
        (b'{"a":' * 64 + b"1" + b"}" * 64, "application/json", 202),
        (b"{}", "text/plain", 415),
        (b"{}", "application/jsonp", 415),
        (b"{}", "multipart/form-data; boundary=x", 415),
        (b"{}", "application/json; charset=latin-1", 415),
        (b"{}", "", 415),
        (b"{}", "application/json; charset=UTF-8", 202),
        (b"{}", "application/vnd.acme+json", 202),
        (b"", "", 202),
        (b"", "application/json", 202),
    ],
)
async def test_a_body_is_one_json_object(client: httpx.AsyncClient, content: bytes, kind: str, status: int) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = await client.post("/workflows/slow", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    if status != 202:
        assert answer.json()["status"] == "Failed"
        assert answer.json()["error"] in ("ValidationError", "UnsupportedMediaType")


async def test_a_compressed_body_is_refused(client: httpx.AsyncClient) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert (await client.post("/workflows/slow", content=b"{}", headers=headers)).status_code == 415


@pytest.mark.parametrize("path", ["/workflows/slow", "/orgs/acme/config/x"])
async def test_a_body_is_counted_as_it_arrives(gateway: Gateway, admin: httpx.AsyncClient, path: str) -> None:
    limit = gateway.parts.settings.max_body

    async def too_much() -> AsyncIterator[bytes]:
        for _ in range(10 * limit // 65536):
            yield b" " * 65536

    method = "PUT" if path.startswith("/orgs") else "POST"
    headers = {"Content-Type": "application/json", "X-Organization-Id": "acme"}
    answer = await admin.request(method, path, content=too_much(), headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (413, "PayloadTooLarge")


async def test_a_declared_length_beyond_the_limit_is_refused_at_once(client: httpx.AsyncClient) -> None:
    answer = await client.post("/workflows/slow", content=b"x" * 800_000, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (413, "PayloadTooLarge")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/workflows/quick", "GET, HEAD, POST"),
        ("POST", f"/executions/{'0' * 32}", "GET, HEAD"),
        ("GET", f"/executions/{'0' * 32}/cancel", "POST"),
        ("POST", "/orgs/acme/config/x", "DELETE, GET, HEAD, PUT"),
        ("PATCH", "/orgs/acme", "DELETE, GET, HEAD, PUT"),
    ],
)
async def test_a_wrong_method_names_the_right_ones(
    client: httpx.AsyncClient, method: str, path: str, allowed: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert answer.json()["error"] == "MethodNotAllowed"


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/healthz", 200), ("/workflows", 200), ("/nowhere", 404)])
async def test_whatever_can_be_read_says_its_head(client: httpx.AsyncClient, path: str, status: int) -> None:
    """Monitors ask for no more; `/` answered 405."""
    whole, head = await client.get(path), await client.head(path)
    assert (head.status_code, head.content) == (status, b"")
    assert head.headers["content-length"] == whole.headers["content-length"]
    assert (await client.get("/healthz")).json() == {"status": "ok"}, "the connection is still good"


async def test_a_head_needs_the_key_that_its_get_needs(gateway: Gateway) -> None:
    async with gateway.client(None) as nobody:
        assert (await nobody.head("/workflows")).status_code == 401
        assert (await nobody.head("/webhooks/acme/quick")).status_code == 401


@pytest.mark.parametrize(
    "path", ["/nowhere", "/executions/a/b/c", "/executions/..%2F..%2Fx", "/executions/", "/workflows/"]
)
async def test_an_unknown_path_is_not_found(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (404, "Failed", "NotFound")


async def test_an_unexpected_error_says_nothing(
    gateway: Gateway, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the password is hunter2")

    monkeypatch.setattr(gateway.records, "get", broken)
    monkeypatch.setattr(gateway.records, "find", broken)
    for path in (f"/executions/{'0' * 32}", "/executions", f"/executions/{'0' * 32}/record"):
        answer = await client.get(path)
        assert answer.status_code == 500
        assert answer.json() == {
            "error": "InternalServerError",
            "message": "An unexpected error occurred",
            "details": {},
            "status": "Failed",
        }


async def test_operators_find_health_metrics_and_a_description(gateway: Gateway) -> None:
    async with gateway.client(None) as nobody:
        assert (await nobody.get("/healthz")).json() == {"status": "ok"}
        ready = (await nobody.get("/readyz")).json()
        assert (ready["status"], ready["problems"]) == ("ready", {})
        assert "runlane_http_requests_total" in (await nobody.get("/metrics")).text
        page = await nobody.get("/")
        assert "default-src 'none'" in page.headers["content-security-policy"]
        document = (await nobody.get("/openapi.json")).json()
    assert {"post", "get"} <= set(document["paths"]["/workflows/{name}"])
    assert "get" in document["paths"]["/executions/{id}"]
    references = {
        part for part in msgspec.json.encode(document).decode().split('"') if part.startswith("#/components/")
    }
    for reference in references:
        assert reference.rpartition("/")[2] in document["components"]["schemas"], reference


async def test_requests_are_counted_by_door_and_never_by_path(client: httpx.AsyncClient) -> None:
    for path in (f"/executions/{'1' * 32}", f"/executions/{'1' * 32}/record", "/orgs/acme", "/nowhere/secret-path"):
        await client.get(path)
    text = (await client.get("/metrics")).text
    for door, status in (
        ("/executions/{id}", 404),
        ("/executions/{id}/record", 404),
        ("/orgs/{org}", 200),
        ("unknown", 404),
    ):
        assert f'runlane_http_requests_total{{door="{door}",method="GET",status="{status}"}}' in text
    assert "secret-path" not in text


async def test_workflows_are_listed_with_their_schema_and_the_files_that_failed(
    gateway: Gateway, client: httpx.AsyncClient, admin: httpx.AsyncClient, bus: NatsBus
) -> None:
    failure = ImportFailure(file="broken.py", message="SyntaxError", traceback="line 1")
    await NatsDirectoryStore(bus).put(failure_key("default", "broken.py"), msgspec.json.encode(failure))
    await eventually(lambda: list(gateway.parts.directory.import_failures()))
    body = (await client.get("/workflows")).json()
    known = {workflow["name"]: workflow for workflow in body["workflows"]}
    assert known["checked"]["parameters"]["required"] == ["email"]
    assert (known["nightly"]["executionMode"], known["nightly"]["requiresOrg"]) == ("scheduled", True)
    assert known["nightly"]["nextRun"].endswith("Z")
    assert (known["banned"]["enabled"], known["quick"]["enabled"]) == (False, True)
    assert body["failures"] == [{"file": "broken.py", "message": "SyntaxError", "at": None, "origin": "default"}]
    assert (await admin.get("/workflows")).json()["failures"][0]["traceback"] == "line 1"
    assert (await client.get("/workflows/quick")).json() == known["quick"]
    for missing in (await client.get("/workflows/nothing"), await client.post("/workflows/nothing", json={})):
        assert missing.status_code == 404
        assert "1 workflow file could not be imported: see /workflows" in missing.json()["message"]


async def test_organisations_are_made_and_changed(admin: httpx.AsyncClient, client: httpx.AsyncClient) -> None:
    assert (await admin.put("/orgs/initech", json={"timeZone": "UTC"})).json()["details"] == {"field": "name"}
    made = await admin.put("/orgs/initech", json={"name": "Initech", "timeZone": "America/New_York"})
    assert made.status_code == 200
    changed = await admin.put("/orgs/initech", json={"tenant_id": "t-1"})
    assert changed.json() == {
        "id": "initech",
        "name": "Initech",
        "tenantId": "t-1",
        "timeZone": "America/New_York",
        "tags": [],
        "enabledWorkflows": None,
        "disabledWorkflows": [],
        "maxConcurrent": None,
    }
    assert (await admin.get("/orgs/initech")).json() == changed.json()
    assert [org["id"] for org in (await admin.get("/orgs")).json()["organizations"]] == ["acme", "globex", "initech"]
    assert [org["id"] for org in (await client.get("/orgs")).json()["organizations"]] == ["acme"]
    assert (await client.get("/orgs/initech")).status_code == 404


@pytest.mark.parametrize(
    ("org", "body", "field"),
    [
        ("a--b", {"name": "x"}, "org"),
        ("platform", {"name": "x"}, "org"),
        ("a.b", {"name": "x"}, "org"),
        ("new", {"name": " "}, "name"),
        ("new", {"name": 1}, "name"),
        ("new", {"name": "x", "timeZone": "Mars/Olympus"}, "time_zone"),
        ("new", {"name": "x", "id": "other"}, "id"),
    ],
)
async def test_an_organisation_that_cannot_be_is_refused(
    admin: httpx.AsyncClient, org: str, body: dict[str, object], field: str
) -> None:
    answer = await admin.put(f"/orgs/{org}", json=body)
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": field})


async def test_changes_of_one_organisation_at_once_are_all_kept(admin: httpx.AsyncClient) -> None:
    bodies = [{"name": "New"}, {"tenant_id": "t-9"}, {"timeZone": "Europe/Paris"}]
    answers = await asyncio.gather(*(admin.put("/orgs/globex", json=body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    org = (await admin.get("/orgs/globex")).json()
    assert (org["name"], org["tenantId"], org["timeZone"]) == ("New", "t-9", "Europe/Paris")


async def test_configuration_is_inherited_from_the_platform(admin: httpx.AsyncClient) -> None:
    assert (await admin.put("/orgs/platform/config/region", json={"value": "emea"})).status_code == 200
    assert (await admin.put("/orgs/acme/config/limit", json={"value": {"n": [1, None]}})).status_code == 200
    assert (await admin.put("/orgs/acme/config/none", json={"value": None})).status_code == 200
    config = {item["key"]: item for item in (await admin.get("/orgs/acme/config")).json()["config"]}
    assert (config["region"]["value"], config["region"]["inherited"]) == ("emea", True)
    assert (config["limit"]["value"], config["limit"]["changedBy"]) == ({"n": [1, None]}, "admin")
    assert config["none"]["value"] is None
    assert (await admin.delete("/orgs/acme/config/limit")).status_code == 204
    assert (await admin.delete("/orgs/acme/config/limit")).status_code == 204
    assert {item["key"] for item in (await admin.get("/orgs/acme/config")).json()["config"]} == {"region", "none"}
    assert (await admin.put("/orgs/acme/config/x", json={})).json()["details"] == {"field": "value"}
    assert (await admin.put("/orgs/acme/config/a.b", json={"value": 1})).status_code == 400
    assert (await admin.put("/orgs/nobody/config/x", json={"value": 1})).status_code == 404


async def test_secrets_are_sealed_versioned_and_never_shown(gateway: Gateway, admin: httpx.AsyncClient) -> None:
    first = await admin.put("/orgs/acme/secrets/api_key", json={"value": "hunter2-one"})
    second = await admin.put("/orgs/acme/secrets/api_key", json={"value": "hunter2-two"})
    assert (first.json()["version"], second.json()["version"]) == (1, 2)
    listed = await admin.get("/orgs/acme/secrets")
    assert [secret["name"] for secret in listed.json()["secrets"]] == ["api_key"]
    for answer in (first, second, listed):
        assert "hunter2" not in answer.text
    secret = gateway.parts.directory.secret("acme", "api_key")
    assert secret is not None
    opened = gateway.parts.sealer.open(secret.sealed, secret_context("acme", "api_key", 2))
    assert opened == b"hunter2-two"
    assert (await admin.delete("/orgs/acme/secrets/api_key")).status_code == 204
    assert (await admin.get("/orgs/acme/secrets")).json()["secrets"] == []
    again = await admin.put("/orgs/acme/secrets/api_key", json={"value": "x"})
    assert (again.status_code, again.json()["version"]) == (200, 1)
    assert (await admin.put("/orgs/acme/secrets/x", json={"value": 1})).status_code == 400
    assert (await admin.put("/orgs/acme/secrets/x", json={"value": ""})).status_code == 400


async def test_schedules_are_shown_in_the_zone_of_the_organisation_and_changed(admin: httpx.AsyncClient) -> None:
    headers = {"X-Organization-Id": "acme"}
    (nightly,) = (await admin.get("/schedules", headers=headers)).json()["schedules"]
    assert (nightly["workflow"], nightly["schedule"], nightly["timeZone"]) == ("nightly", "0 9 * * *", "org")
    assert nightly["enabled"] is True
    assert nightly["nextFires"][0][11:] in ("07:00:00.000Z", "08:00:00.000Z")
    paused = await admin.put("/schedules/nightly", json={"enabled": False}, headers=headers)
    assert (paused.json()["enabled"], paused.json()["nextFires"]) == (False, [])
    moved = await admin.put("/schedules/nightly", json={"schedule": "30 4 * * *", "time_zone": "UTC"}, headers=headers)
    assert (moved.json()["schedule"], moved.json()["enabled"]) == ("30 4 * * *", False)
    back = await admin.put("/schedules/nightly", json={"enabled": None, "schedule": None}, headers=headers)
    assert (back.json()["schedule"], back.json()["enabled"], back.json()["timeZone"]) == ("0 9 * * *", True, "UTC")
    other = (await admin.get("/schedules", headers={"X-Organization-Id": "globex"})).json()["schedules"]
    assert other[0]["timeZone"] == "org"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"schedule": "every day"}, "schedule"),
        ({"schedule": "0 0 31 2 *"}, "schedule"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"enabled": "yes"}, "enabled"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused(
    admin: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    answer = await admin.put("/schedules/nightly", json=body, headers={"X-Organization-Id": "acme"})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": field})


async def test_a_schedule_runs_on_demand_and_tells_of_its_ticks(
    gateway: Gateway, client: httpx.AsyncClient, executor: Executor
) -> None:
    answer = await client.post("/schedules/nightly/run")
    assert answer.status_code == 202
    done = await client.get(answer.json()["pollUrl"], params={"wait": 10})
    assert done.json()["trigger"] == {"kind": "schedule", "reference": "manual"}
    now = gateway.parts.clock.now()
    gateway.records.known_ticks = [
        Tick(
            org=org,
            workflow="nightly",
            scheduled_for=now,
            outcome="fired",
            decided_at=now,
            schedule="0 9 * * *",
            time_zone="UTC",
        )
        for org in ("acme", "globex")
    ]
    ticks = (await client.get("/schedules/nightly/ticks")).json()["ticks"]
    assert [tick["outcome"] for tick in ticks] == ["fired"]
    assert (await client.put("/schedules/quick", json={"enabled": True})).status_code == 403


async def test_draining_finishes_what_waits_and_takes_nothing_new(
    gateway: Gateway, client: httpx.AsyncClient, executor: Executor
) -> None:
    executor.holding = True
    async with gateway.client() as idle:
        assert (await idle.get("/healthz")).status_code == 200  # opens a connection that outlives the listener
        waiting = asyncio.create_task(client.post("/workflows/quick", json={}))
        await eventually(lambda: executor.requests)
        draining = asyncio.create_task(gateway.room.drain())
        await eventually(lambda: gateway.gate.closing.is_set())
        with pytest.raises(httpx.ConnectError):
            async with gateway.client() as late:
                await late.get("/healthz")
        last_word = await idle.post("/workflows/slow", json={})
        assert (last_word.status_code, last_word.headers["connection"]) == (202, "close")
        with pytest.raises(httpx.ConnectError):
            await idle.get("/healthz")
        assert not draining.done()
        request = executor.requests[0]
        last = await executor.bus.last("EVENTS", f"runlane.event.acme.quick.{request.execution_id}.state.*")
        assert last is not None
        await executor.end(request, last.sequence)
        assert (await waiting).status_code == 200
        await asyncio.wait_for(draining, 10)


async def test_a_caller_who_waits_longer_than_a_drain_is_told_that_the_outcome_will_come(
    gateway: Gateway, client: httpx.AsyncClient, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor.holding = True
    monkeypatch.setattr(gateway.room, "_grace", 0.1)
    calling = asyncio.create_task(client.post("/workflows/quick", json={}))
    await eventually(lambda: executor.requests)
    async with gateway.client() as other:
        path = f"/executions/{executor.requests[0].execution_id}"
        watching = asyncio.create_task(other.get(path, params={"wait": 20}))
        await eventually(lambda: gateway.parts.records._waiting)

        await asyncio.wait_for(gateway.room.drain(), 10)

        answer = await calling
        assert (answer.status_code, answer.json()["status"]) == (202, "Running")
        assert (await watching).json()["status"] == "Running"


async def test_http_md_names_exactly_the_routes(gateway: Gateway) -> None:
    page = (ROOT / "docs" / "reference" / "http.md").read_text()
    told = re.findall(r"^### `([A-Z]+) (/[^`?]*)`$", page, re.M)

    async with gateway.client(None) as nobody:
        there = set(await described(nobody))

    missing, gone = sorted(there - set(told)), sorted(set(told) - there)
    assert not missing, (
        f"docs/reference/http.md: add a section '### `{missing[0][0]} {missing[0][1]}`' that says what it takes, what "
        f"it answers with which status and which permission it needs; without one are {missing}"
    )
    assert not gone, f"docs/reference/http.md: these routes are not there (any more): {gone}"
    assert len(told) == len(there), "docs/reference/http.md: a route stands there twice"
