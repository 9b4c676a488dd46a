"""The doors of the directory over two gateways and a recorder: conditions, audit trail, removal, import, enablement."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.adapters.sql.store import open_record_store
from runlane.audit import Audit
from runlane.clock import SystemClock
from runlane.contracts import subjects
from runlane.contracts.directory import Org
from runlane.contracts.requests import Caller
from runlane.contracts.subjects import DIRECTORY_STREAM
from runlane.directory import Directory, api_key_key, config_key, org_key
from runlane.errors import BusUnavailable
from runlane.sealing import generate_master_key
from runlane.service import end_task
from runlane.settings import Settings
from runlane_gateway.app import open_room
from runlane_gateway.changes import Changes
from runlane_recorder.recorder import Recorder
from tests.support.eventually import eventually
from tests.support.gateway_bus import api_key, furnish

ADMIN = {"Authorization": "Bearer rl_admin_secret-admin", "User-Agent": "tests/1.0", "X-Request-Id": "request-1"}
ACME = {"Authorization": "Bearer rl_boss_secret-boss"}


@pytest.fixture
def own(settings: Settings) -> Settings:
    return msgspec.structs.replace(settings, http_port=0, master_key=generate_master_key())


@pytest.fixture
async def recorder(own: Settings, bus: NatsBus) -> AsyncIterator[None]:
    async with open_record_store(own.record_store_url, migrate=True) as store:
        room = Recorder(bus, store, SystemClock(), retention_days=90)
        running = asyncio.create_task(room.run())
        yield
        await room.drain()
        await end_task(running)


@pytest.fixture
async def urls(own: Settings, bus: NatsBus, recorder: None) -> AsyncIterator[list[str]]:
    """Two gateways over the same broker and records."""
    store = NatsDirectoryStore(bus)
    await furnish(store)
    await store.put(api_key_key("boss"), msgspec.json.encode(api_key("boss", "acme", "*")))
    async with open_room(own) as one, open_room(own) as two:
        running = [asyncio.create_task(room.run()) for room in (one, two)]
        found = [f"http://127.0.0.1:{room.port}" for room in (one, two)]
        async with httpx.AsyncClient() as client:
            for url in found:
                await eventually(lambda url=url: _has_records(client, url), within=20)
        yield found
        await asyncio.gather(*(asyncio.wait_for(room.drain(), 10) for room in (one, two)))
        await asyncio.gather(*running)


async def _has_records(client: httpx.AsyncClient, url: str) -> bool:
    return not (await client.get(f"{url}/readyz")).json()["degraded"]


@pytest.fixture
async def admin(urls: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=urls[0], headers=ADMIN, timeout=30) as opened:
        yield opened


@pytest.fixture
async def other(urls: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """The same administrator at the other gateway."""
    async with httpx.AsyncClient(base_url=urls[1], headers=ADMIN, timeout=30) as opened:
        yield opened


@pytest.fixture
async def boss(urls: list[str]) -> AsyncIterator[httpx.AsyncClient]:
    """Who may do everything in acme."""
    async with httpx.AsyncClient(base_url=urls[0], headers=ACME, timeout=30) as opened:
        yield opened


def record_files(settings: Settings) -> list[bytes]:
    return [path.read_bytes() for path in settings.data_dir.glob("records.db*")]


async def trail(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/audit", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


# --- conditions -------------------------------------------------------------------------------------------------------

ENTRIES = [
    ("/orgs/acme", {"name": "Acme again"}),
    ("/orgs/acme/config/region", {"value": "emea"}),
    ("/orgs/acme/secrets/token", {"value": "hunter2-hunter2"}),
    ("/schedules/nightly", {"enabled": False}),
]


@pytest.mark.parametrize(("path", "body"), ENTRIES)
async def test_a_change_is_made_over_what_the_caller_has_seen_or_not_at_all(
    boss: httpx.AsyncClient, path: str, body: dict[str, Any]
) -> None:
    first = await boss.put(path, json=body)
    assert first.status_code == 200, first.text
    seen = (await boss.get(path)).headers["etag"]
    assert seen == first.headers["etag"]
    second = await boss.put(path, json=body, headers={"If-Match": f'"999999999", {seen}'})
    assert (second.status_code, second.headers["etag"] != seen) == (200, True)
    for headers in ({"If-Match": seen}, {"If-None-Match": "*"}, {"If-Match": f"W/{second.headers['etag']}"}):
        stale = await boss.put(path, json=body, headers=headers)
        assert (stale.status_code, stale.json()["error"]) == (412, "PreconditionFailed"), headers
        assert stale.json()["status"] == "Failed"
    assert (await boss.get(path)).headers["etag"] == second.headers["etag"]
    assert (await boss.put(path, json=body, headers={"If-Match": "*"})).status_code == 200


@pytest.mark.parametrize("path", [path for path, _ in ENTRIES[1:]])
async def test_what_is_removed_under_a_condition_is_what_the_caller_has_seen(
    boss: httpx.AsyncClient, path: str
) -> None:
    body = dict(ENTRIES)[path]
    assert (await boss.delete(path, headers={"If-Match": "*"})).status_code == 412
    tag = (await boss.put(path, json=body, headers={"If-None-Match": "*"})).headers["etag"]
    newer = (await boss.put(path, json=body)).headers["etag"]
    assert (await boss.delete(path, headers={"If-Match": tag})).status_code == 412
    assert (await boss.delete(path, headers={"If-Match": newer})).status_code == 204
    assert (await boss.delete(path)).status_code == 204
    assert (await boss.put(path, json=body, headers={"If-None-Match": "*"})).status_code == 200


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("If-Match", '"abc"', 412),
        ("If-Match", '"0"', 412),
        ("If-Match", '"-1"', 412),
        ("If-Match", '"99999999999999999999999"', 412),
        ("If-Match", '""', 412),
        ("If-Match", "abc", 400),
        ("If-Match", "5", 400),
        ("If-Match", "", 400),
        ("If-Match", '"5', 400),
        ("If-Match", '*, "5"', 400),
        ("If-Match", '"5" "6"', 400),
        ("If-None-Match", "nonsense", 400),
        ("If-None-Match", '"abc"', 200),
    ],
)
async def test_a_condition_that_cannot_hold_or_be_read_changes_nothing(
    boss: httpx.AsyncClient, name: str, value: str, status: int
) -> None:
    before = (await boss.get("/orgs/acme")).headers["etag"]
    answer = await boss.put("/orgs/acme", json={"name": "Other"}, headers={name: value})
    assert answer.status_code == status, answer.text
    if status == 400:
        assert answer.json()["details"] == {"field": name}
    assert ((await boss.get("/orgs/acme")).headers["etag"] == before) == (status != 200)


async def test_of_two_gateways_that_create_the_same_one_does(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    clients = [admin, other] * 5
    answers = await asyncio.gather(
        *(
            client.put("/orgs/acme/config/once", json={"value": number}, headers={"If-None-Match": "*"})
            for number, client in enumerate(clients)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 9]


async def test_a_change_at_one_gateway_is_known_at_the_other_and_its_tag_holds_there(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    for number in range(10):
        tag = (await admin.put("/orgs/acme/config/n", json={"value": number})).headers["etag"]
        # At once: the other gateway may not have heard of it yet, and waits for it.
        answer = await other.put("/orgs/acme/config/n", json={"value": -number}, headers={"If-Match": tag})
        assert answer.status_code == 200, answer.text

        async def known(number: int = number) -> bool:
            return bool((await admin.get("/orgs/acme/config/n")).json()["value"] == -number)

        await eventually(known, within=20)


async def test_changes_without_a_condition_at_both_gateways_all_count(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    bodies = [{"name": "New"}, {"tenant_id": "t-9"}, {"timeZone": "Europe/Paris"}, {"tags": ["gold"]}]
    answers = await asyncio.gather(
        *(client.put("/orgs/globex", json=body) for client, body in zip([admin, other] * 2, bodies, strict=True))
    )
    assert {answer.status_code for answer in answers} == {200}

    async def kept() -> bool:
        org = (await other.get("/orgs/globex")).json()
        return (org["name"], org["tenantId"], org["timeZone"], org["tags"]) == ("New", "t-9", "Europe/Paris", ["gold"])

    await eventually(kept, within=20)


# --- audit ------------------------------------------------------------------------------------------------------------


async def test_every_change_is_in_the_trail_with_who_what_when_and_where_from(admin: httpx.AsyncClient) -> None:
    await admin.put("/orgs/acme/config/region", json={"value": "emea"})
    await admin.put("/orgs/acme/config/region", json={"value": "apac"})
    await admin.delete("/orgs/acme/config/region")
    gone, changed, made = await trail(admin, kind="config", org="acme")
    assert [(entry["action"], entry["key"], entry["outcome"]) for entry in (made, changed, gone)] == [
        ("create", "region", "done"),
        ("update", "region", "done"),
        ("delete", "region", "done"),
    ]
    assert (made["before"], made["after"]["value"]) == (None, "emea")
    assert (changed["before"]["value"], changed["after"]["value"]) == ("emea", "apac")
    assert (gone["before"]["value"], gone["after"]) == ("apac", None)
    for entry in (made, changed, gone):
        assert entry["actor"] == {"id": "admin", "name": "admin", "email": "root@msp.com"}
        assert (entry["org"], entry["address"], entry["agent"]) == ("acme", "127.0.0.1", "tests/1.0")
        assert (entry["requestId"], entry["at"][-1]) == ("request-1", "Z")
    assert made["at"] <= changed["at"] <= gone["at"]


async def test_secrets_are_masked_in_the_trail_and_in_what_it_is_made_of(
    admin: httpx.AsyncClient, bus: NatsBus, own: Settings
) -> None:
    canary = "canary-4711-canary"
    await admin.put("/orgs/acme/secrets/token", json={"value": canary})
    await admin.put("/orgs/acme/config/api_key", json={"value": canary})
    await admin.put("/orgs/acme/config/smtp", json={"value": {"host": "mail", "password": canary, "echo": canary}})
    await admin.put("/orgs/platform/config/db_passwords", json={"value": [canary]})
    entries = await trail(admin)
    assert len(entries) == 4
    by_key = {entry["key"]: entry["after"] for entry in entries}
    assert by_key["token"]["sealed"] == "[REDACTED]"
    assert by_key["token"]["version"] == 1
    assert by_key["api_key"]["value"] == "[REDACTED]"
    assert by_key["smtp"]["value"] == {"host": "mail", "password": "[REDACTED]", "echo": "[REDACTED]"}
    stored = [*await bus.read(subjects.EVENTS, "runlane.audit.>"), *await bus.read(DIRECTORY_STREAM, ">")]
    assert len(stored) > 8
    assert not any(canary.encode() in event.payload for event in stored)
    assert not any(canary.encode() in content for content in record_files(own))


async def test_a_change_that_is_refused_is_not_in_the_trail_as_done(
    admin: httpx.AsyncClient, other: httpx.AsyncClient
) -> None:
    clients = [admin, other] * 5
    await asyncio.gather(
        *(
            client.put("/orgs/acme/config/race", json={"value": number}, headers={"If-None-Match": "*"})
            for number, client in enumerate(clients)
        )
    )
    await admin.put("/orgs/acme", json={"name": ""})

    async def settled() -> list[dict[str, Any]]:
        entries = await trail(admin)
        return [] if any(entry["outcome"] == "intended" for entry in entries) else entries

    entries = await eventually(settled, within=20)
    done = [entry for entry in entries if entry["outcome"] == "done"]
    assert [entry["key"] for entry in done] == ["race"]
    assert {entry["reason"] for entry in entries if entry["outcome"] == "failed"} <= {"StateConflict"}


async def test_nothing_is_changed_that_cannot_be_put_into_the_trail(
    bus: NatsBus,
) -> None:
    class NoTrail:
        async def publish(self, *_: object, **__: object) -> int:
            raise BusUnavailable

    store = NatsDirectoryStore(bus)
    directory = await Directory().follow(store)
    audit = Audit(NoTrail(), SystemClock(), "/test", Caller("x"))  # type: ignore[arg-type]
    with pytest.raises(BusUnavailable):
        await Changes(store, directory).by(audit).put(org_key("acme"), Org(id="acme", name="Acme"))
    copy = await Directory().follow(store)
    assert copy.org("acme") is None


async def test_the_trail_of_an_organisation_is_its_own(admin: httpx.AsyncClient, boss: httpx.AsyncClient) -> None:
    for org in ("acme", "globex", "platform"):
        assert (await admin.put(f"/orgs/{org}/config/x", json={"value": org})).status_code == 200
    assert {entry["org"] for entry in await trail(admin)} == {"acme", "globex", "platform"}
    assert {entry["org"] for entry in await trail(admin, org="platform")} == {"platform"}
    assert len(await trail(admin, org="*")) == 3
    assert {entry["org"] for entry in await trail(boss)} == {"acme"}
    assert {entry["org"] for entry in await trail(boss, org="acme")} == {"acme"}
    assert {entry["org"] for entry in await trail(boss, org="*")} == {"acme"}
    for foreign in ("globex", "platform", "nobody"):
        assert (await boss.get("/audit", params={"org": foreign})).status_code == 404


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 201}, {"from": "yesterday"}, {"after": "%%%"}, {"surprise": "1"}, {"limit": "x"}]
)
async def test_a_question_to_the_trail_that_cannot_be_is_refused(
    admin: httpx.AsyncClient, query: dict[str, Any]
) -> None:
    answer = await admin.get("/audit", params=query)
    assert (answer.status_code, answer.json()["error"]) == (400, "ValidationError")


async def test_the_trail_is_filtered_and_paged(admin: httpx.AsyncClient, boss: httpx.AsyncClient) -> None:
    for number in range(5):
        await (admin if number % 2 else boss).put(f"/orgs/acme/config/k{number}", json={"value": number})
    assert [entry["key"] for entry in await trail(admin, actor="boss")] == ["k4", "k2", "k0"]
    page = (await admin.get("/audit", params={"limit": 2})).json()
    rest = (await admin.get("/audit", params={"limit": 10, "after": page["next"]})).json()
    assert [entry["key"] for entry in [*page["entries"], *rest["entries"]]] == ["k4", "k3", "k2", "k1", "k0"]
    since = rest["entries"][0]["at"]
    assert len(await trail(admin, **{"from": since})) == 3
    assert len(await trail(admin, to=since)) == 2


async def test_cancel_and_retry_are_in_the_trail(boss: httpx.AsyncClient, own: Settings, bus: NatsBus) -> None:
    accepted = (await boss.post("/workflows/slow", json={})).json()["executionId"]
    assert (await boss.post(f"/executions/{accepted}/cancel", json={"reason": "enough"})).status_code == 200
    assert (await boss.post(f"/executions/{accepted}/retry")).status_code == 202
    retried, cancelled = await trail(boss, kind="executions")
    assert (retried["action"], retried["key"], retried["outcome"]) == ("retry", accepted, "done")
    assert (cancelled["action"], cancelled["after"]) == ("cancel", {"reason": "enough"})


# --- organisations ----------------------------------------------------------------------------------------------------


async def test_an_organisation_goes_with_everything_that_belongs_to_it(
    admin: httpx.AsyncClient, boss: httpx.AsyncClient, bus: NatsBus
) -> None:
    await boss.put("/orgs/acme/config/region", json={"value": "emea"})
    await boss.put("/orgs/acme/secrets/token", json={"value": "x"})
    await boss.put("/schedules/nightly", json={"enabled": False})
    tag = (await admin.get("/orgs/acme")).headers["etag"]
    assert (await admin.delete("/orgs/acme", headers={"If-Match": '"999"'})).status_code == 412
    assert (await boss.delete("/orgs/acme")).status_code == 409
    assert (await boss.delete("/orgs/globex")).status_code == 404
    assert (await admin.delete("/orgs/acme", headers={"If-Match": tag})).status_code == 204
    directory = await Directory().follow(NatsDirectoryStore(bus))
    assert (directory.org("acme"), directory.belongings("acme")) == (None, [])
    assert directory.org("globex") is not None
    assert (await boss.get("/orgs/acme")).status_code == 401  # its keys went, too
    assert (await admin.delete("/orgs/acme")).status_code == 404
    assert (await admin.put("/orgs/acme", json={"name": "Acme anew"})).status_code == 200
    assert (await admin.get("/orgs/acme/config")).json()["config"] == []
    removed = await trail(admin, org="acme", action="delete")
    assert {entry["kind"] for entry in removed} == {"orgs", "config", "secrets", "schedules", "keys"}


async def test_an_organisation_with_unfinished_executions_stays(
    admin: httpx.AsyncClient, boss: httpx.AsyncClient
) -> None:
    accepted = (await boss.post("/workflows/slow", json={})).json()["executionId"]
    refused = await admin.delete("/orgs/acme")
    assert (refused.status_code, refused.json()["details"]) == (409, {"executionId": accepted, "status": "Queued"})
    await boss.post(f"/executions/{accepted}/cancel", json={})
    assert (await admin.delete("/orgs/acme")).status_code == 204


async def test_a_removal_that_was_interrupted_is_finished_by_the_next(admin: httpx.AsyncClient, bus: NatsBus) -> None:
    await admin.put("/orgs/globex/config/region", json={"value": "emea"})
    await NatsDirectoryStore(bus).delete(org_key("globex"))

    async def gone() -> bool:
        return (await admin.get("/orgs/globex")).status_code == 404

    await eventually(gone, within=20)
    assert (await admin.delete("/orgs/globex")).status_code == 204
    directory = await Directory().follow(NatsDirectoryStore(bus))
    assert config_key("globex", "region") not in directory.revisions


@pytest.mark.parametrize("org", ["platform", "nobody", "a.b", "*", "a--b", "%00"])
async def test_what_is_no_organisation_cannot_be_removed(admin: httpx.AsyncClient, org: str) -> None:
    await admin.put("/orgs/platform/config/x", json={"value": 1})
    assert (await admin.delete(f"/orgs/{org}")).status_code == 404
    assert (await admin.get("/orgs/platform/config/x")).status_code == 200


async def test_organisations_are_listed_in_pages_and_by_tag(admin: httpx.AsyncClient) -> None:
    for number in range(7):
        tags = ["gold"] if number % 2 else ["silver", "gold!"]
        assert (await admin.put(f"/orgs/o{number}", json={"name": "x", "tags": tags})).status_code == 200
    seen, after = [], ""
    while after is not None:
        page = (await admin.get("/orgs", params={"limit": 2, "after": after, "tag": "gold"})).json()
        seen += [org["id"] for org in page["organizations"]]
        after = page["next"]
    assert seen == ["o1", "o3", "o5"]
    assert len((await admin.get("/orgs")).json()["organizations"]) == 9


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x" * 201}, "name"),
        ({"tags": ["x"] * 51}, "tags"),
        ({"tags": [" "]}, "tags"),
        ({"tags": "gold"}, "tags"),
        ({"disabledWorkflows": ["a.b"]}, "disabled_workflows"),
        ({"enabledWorkflows": ["*"]}, "enabled_workflows"),
        ({"enabledWorkflows": "all"}, "enabled_workflows"),
        ({"tenantId": "x" * 201}, "tenant_id"),
        ({"timeZone": "../etc/passwd"}, "time_zone"),
        ({"timeZone": "Europe"}, "time_zone"),
        ({"changedBy": "me"}, "changed_by"),
    ],
)
async def test_an_organisation_that_cannot_be_is_refused_and_stays(
    admin: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    before = await admin.get("/orgs/acme")
    answer = await admin.put("/orgs/acme", json=body)
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": field})
    assert (await admin.get("/orgs/acme")).headers["etag"] == before.headers["etag"]


# --- configuration ----------------------------------------------------------------------------------------------------


async def test_a_value_shows_where_it_comes_from(admin: httpx.AsyncClient) -> None:
    await admin.put("/orgs/platform/config/region", json={"value": "emea"})
    await admin.put("/orgs/platform/config/limit", json={"value": 1})
    await admin.put("/orgs/acme/config/limit", json={"value": 2})
    listed = {view["key"]: view for view in (await admin.get("/orgs/acme/config")).json()["config"]}
    assert (listed["region"]["origin"], listed["limit"]["origin"]) == ("platform", "organization")
    inherited = await admin.get("/orgs/acme/config/region")
    assert (inherited.json()["inherited"], "etag" in inherited.headers) == (True, False)
    await admin.delete("/orgs/acme/config/limit")
    assert (await admin.get("/orgs/acme/config/limit")).json()["value"] == 1
    assert (await admin.get("/orgs/acme/config/nothing")).status_code == 404


async def test_many_values_are_imported_and_what_is_the_same_is_left_alone(admin: httpx.AsyncClient) -> None:
    values = {f"k{number:03}": {"n": number} for number in range(150)}
    first = await admin.put("/orgs/acme/config", json={"values": values})
    assert (len(first.json()["changed"]), first.json()["unchanged"]) == (150, 0)
    second = await admin.put("/orgs/acme/config", json={"values": {**values, "k000": None}})
    assert second.json() == {"changed": ["k000"], "unchanged": 149}
    page = (await admin.get("/orgs/acme/config", params={"limit": 100})).json()
    rest = (await admin.get("/orgs/acme/config", params={"after": page["next"]})).json()
    assert [view["key"] for view in [*page["config"], *rest["config"]]] == sorted(values)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"values": {"good": 1, "bad.key": 2}}, 400),
        ({"values": {"good": 1, "": 2}}, 400),
        ({"values": {"good": 1, "large": "x" * 66_000}}, 413),
        ({"values": [1]}, 400),
        ({"values": {f"k{number}": 1 for number in range(1001)}}, 400),
        ({}, 400),
    ],
)
async def test_an_import_is_checked_as_a_whole_before_anything_is_set(
    admin: httpx.AsyncClient, body: dict[str, Any], status: int
) -> None:
    assert (await admin.put("/orgs/acme/config", json=body)).status_code == status
    assert (await admin.get("/orgs/acme/config")).json()["config"] == []


# --- workflows of an organisation -------------------------------------------------------------------------------------


async def test_a_workflow_is_switched_off_and_on_for_one_organisation(
    boss: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    path = "/orgs/acme/workflows/nightly"
    assert (await boss.get(path)).json()["schedule"]["enabled"] is True
    off = await boss.put(path, json={"enabled": False})
    assert (off.json()["enabled"], off.json()["schedule"]["enabled"]) == (False, False)
    assert (await boss.post("/workflows/nightly", json={})).status_code == 404
    assert (await boss.post("/schedules/nightly/run")).status_code == 404
    assert (await admin.get("/orgs/globex/workflows/nightly")).json()["enabled"] is True
    on = await boss.put(path, json={"enabled": True})
    assert (on.json()["enabled"], on.json()["schedule"]["enabled"]) == (True, True)
    assert (await boss.get("/orgs/acme")).json()["disabledWorkflows"] == ["banned"]


async def test_only_some_workflows_or_all_but_some(boss: httpx.AsyncClient) -> None:
    await boss.put("/orgs/acme", json={"enabledWorkflows": ["slow", "banned"]})
    listed = (await boss.get("/orgs/acme/workflows")).json()["workflows"]
    assert {view["workflow"]: view["enabled"] for view in listed if view["enabled"]} == {"slow": True}
    await boss.put("/orgs/acme/workflows/banned", json={"enabled": True})
    await boss.put("/orgs/acme/workflows/quick", json={"enabled": True})
    await boss.put("/orgs/acme/workflows/slow", json={"enabled": False})
    org = (await boss.get("/orgs/acme")).json()
    assert (sorted(org["enabledWorkflows"]), org["disabledWorkflows"]) == (["banned", "quick"], [])
    await boss.put("/orgs/acme", json={"enabledWorkflows": None})
    assert (await boss.get("/orgs/acme/workflows/slow")).json()["enabled"] is True


@pytest.mark.parametrize(
    ("workflow", "body", "status"),
    [
        ("nothing", {"enabled": True}, 404),
        ("a.b", {"enabled": True}, 404),
        ("quick", {}, 400),
        ("quick", {"enabled": "yes"}, 400),
        ("quick", {"enabled": True, "org": "globex"}, 400),
    ],
)
async def test_a_switch_that_cannot_be_is_refused(
    boss: httpx.AsyncClient, workflow: str, body: dict[str, Any], status: int
) -> None:
    assert (await boss.put(f"/orgs/acme/workflows/{workflow}", json=body)).status_code == status


async def test_a_schedule_is_previewed_overridden_and_reset(boss: httpx.AsyncClient) -> None:
    plain = (await boss.get("/schedules/nightly/preview", params={"count": 3})).json()
    assert (len(plain["fires"]), plain["zone"], plain["timeZone"]) == (3, "Europe/Berlin", "org")
    assert {fire[11:16] for fire in plain["localFires"]} == {"09:00"}
    tried = (
        await boss.get("/schedules/nightly/preview", params={"schedule": "30 4 * * *", "timeZone": "Asia/Tokyo"})
    ).json()
    assert {fire[11:16] for fire in tried["localFires"]} == {"04:30"}
    assert (await boss.get("/schedules/nightly")).json()["schedule"] == "0 9 * * *"
    await boss.put("/schedules/nightly", json={"schedule": "30 4 * * *"})
    assert (await boss.get("/schedules/nightly")).json()["schedule"] == "30 4 * * *"
    assert (await boss.delete("/schedules/nightly")).status_code == 204
    assert (await boss.get("/schedules/nightly")).json()["schedule"] == "0 9 * * *"
    for query in ({"schedule": "often"}, {"timeZone": "Mars/Olympus"}, {"count": 0}, {"count": 101}):
        assert (await boss.get("/schedules/nightly/preview", params=query)).status_code == 400
    assert (await boss.get("/schedules/quick/preview")).status_code == 404


# --- secrets of other stores ------------------------------------------------------------------------------------------


async def test_secrets_from_files_are_listed_and_read_only(own: Settings, bus: NatsBus, tmp_path: Path) -> None:
    directory = tmp_path / "mounted"
    directory.mkdir()
    (directory / "acme--token").write_text("hunter2\n")
    await furnish(NatsDirectoryStore(bus))
    given = msgspec.structs.replace(own, secrets_provider="files", secrets_directory=directory)
    async with (
        open_room(given) as room,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{room.port}", headers=ADMIN, timeout=20) as client,
    ):
        running = asyncio.create_task(room.run())
        listed = await client.get("/orgs/acme/secrets")
        assert ([secret["name"] for secret in listed.json()["secrets"]], listed.json()["provider"]) == (
            ["token"],
            "files",
        )
        assert "hunter2" not in listed.text
        for answer in (
            await client.put("/orgs/acme/secrets/token", json={"value": "other"}),
            await client.delete("/orgs/acme/secrets/token"),
        ):
            assert (answer.status_code, answer.json()["error"]) == (409, "Conflict")
            assert "read-only" in answer.json()["message"]
        assert (await client.get("/orgs/globex/secrets")).json()["secrets"] == []
        await asyncio.wait_for(room.drain(), 10)
        await running
    assert (directory / "acme--token").read_text() == "hunter2\n"


async def test_an_entry_that_cannot_be_read_can_be_set_again(admin: httpx.AsyncClient, bus: NatsBus) -> None:
    store = NatsDirectoryStore(bus)
    await store.put(config_key("acme", "broken"), b"{not json")
    await store.put(config_key("acme", "after"), b'{"org":"acme","key":"after","value":1}')

    async def heard() -> bool:
        return (await admin.get("/orgs/acme/config/after")).status_code == 200

    await eventually(heard, within=20)
    assert (await admin.get("/orgs/acme/config/broken")).status_code == 404
    assert (await admin.put("/orgs/acme/config/broken", json={"value": 2})).status_code == 200
    assert (await admin.get("/orgs/acme/config/broken")).json()["value"] == 2


async def test_keys_of_several_organisations_lose_the_one_that_is_removed(
    admin: httpx.AsyncClient, bus: NatsBus
) -> None:
    store = NatsDirectoryStore(bus)
    for name, orgs in (("both", ["acme", "globex"]), ("only", ["globex"])):
        await store.put(api_key_key(name), msgspec.json.encode(api_key(name, None, "*", orgs=orgs)))
    last = await admin.put("/orgs/globex/config/x", json={"value": 1})

    async def known() -> bool:
        return {"both", "only"} <= {key["id"] for key in (await admin.get("/keys")).json()["keys"]}

    await eventually(known, within=20)
    assert last.status_code == 200
    assert (await admin.delete("/orgs/globex", headers={"If-Match": '"999"'})).status_code == 412
    assert (await admin.delete("/orgs/globex")).status_code == 204
    directory = await Directory().follow(store)
    both = directory.api_key("both")
    assert both is not None
    assert (both.reach, directory.api_key("only")) == (frozenset({"acme"}), None)
