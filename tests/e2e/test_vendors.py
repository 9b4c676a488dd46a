"""Integrations in a real engine, against stand-ins for the vendors: record, tokens, budgets, and no secret anywhere."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.vendors.connectwise import ConnectWiseStandIn
from examples.vendors.halopsa import HaloStandIn
from examples.vendors.msgraph import GraphStandIn
from examples.vendors.settings import config, secrets
from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.executions import finished, submit

WORKFLOWS = Path(__file__).parent / "workflows"


class Vendors:
    def __init__(self) -> None:
        self.graph, self.halo, self.connectwise = GraphStandIn(), HaloStandIn(), ConnectWiseStandIn()

    def secret_values(self) -> list[str]:
        """All that may appear nowhere."""
        return [
            *secrets(self.graph, self.halo, self.connectwise).values(),
            *self.graph.issued,
            *self.halo.issued,
            *(asked.headers["authorization"].removeprefix("Basic ") for asked in self.connectwise.asked),
            *(asked.body["passwordProfile"]["password"] for asked in self.graph.asked if asked.path[-1] == "users"),
        ]


@pytest.fixture
async def vendors() -> AsyncIterator[Vendors]:
    vendors = Vendors()
    vendors.graph.add_group("Sales-Users")
    async with AsyncExitStack() as stack:
        for vendor in (vendors.graph, vendors.halo, vendors.connectwise):
            await stack.enter_async_context(vendor.serving())
        yield vendors


@pytest.fixture
async def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Engine]:
    """An engine whose operator allows loopback."""
    monkeypatch.setenv("RUNLANE_ALLOWED_HOSTS", "127.0.0.1")
    engine = Engine(tmp_path / "data", WORKFLOWS)
    await asyncio.to_thread(engine.start)
    yield engine
    await asyncio.to_thread(engine.stop)


@pytest.fixture
async def caller(own: Engine, vendors: Vendors) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an organisation that is connected to all three."""
    stand_ins = (vendors.graph, vendors.halo, vendors.connectwise)
    async with own.client(admin=True) as admin:
        for key, value in config(*stand_ins).items():
            assert (await admin.put(f"/orgs/demo/config/{key}", json={"value": value})).is_success
        for key, value in secrets(*stand_ins).items():
            assert (await admin.put(f"/orgs/demo/secrets/{key}", json={"value": value})).is_success
    async with own.client() as client:
        yield client


async def test_three_vendors_in_one_execution_leave_a_record_and_no_secret(
    own: Engine, caller: httpx.AsyncClient, vendors: Vendors
) -> None:
    execution_id = await submit(caller, "new_employee", {"email": "ada@acme.example", "spill": True})
    document = await finished(caller, execution_id)
    assert document["status"] == "Success", document
    assert vendors.halo.things["tickets"][1]["client_id"] == 12
    assert vendors.connectwise.things["service/tickets"][1]["company"] == {"id": 250}
    record = (await caller.get(f"/executions/{execution_id}/record")).json()
    calls = [(call["integration"], call["method"], call["endpoint"], call["status_code"]) for call in _calls(record)]
    assert calls == [
        ("msgraph", "POST", "/tenant-1/oauth2/v2.0/token", 200),
        ("msgraph", "POST", "/v1.0/users", 201),
        ("msgraph", "GET", "/v1.0/subscribedSkus", 200),
        ("msgraph", "POST", "/v1.0/users/{id}/assignLicense", 200),
        ("msgraph", "GET", "/v1.0/groups", 200),
        ("msgraph", "POST", "/v1.0/groups/{id}/members/$ref", 204),
        ("halopsa", "POST", "/auth/token", 200),
        ("halopsa", "POST", "/api/Tickets", 201),
        ("connectwise", "POST", "/service/tickets", 201),
    ]
    answers = record | {"events": (await caller.get(f"/executions/{execution_id}")).text}

    def everything() -> dict[str, bytes]:
        """Once it holds what is no secret, in the streams as in the records."""
        places = _bytes_of(own.data.parent)
        known = [place for place, content in places.items() if b"/v1.0/subscribedSkus" in content]
        assert any("jetstream" in place for place in known), known
        assert any("records.db" in place for place in known), known
        return places

    places = await eventually(everything, within=30)
    assert _found(vendors.secret_values(), {"answers": str(answers).encode(), **places}) == []


async def test_executions_share_a_token_and_renew_it_together(caller: httpx.AsyncClient, vendors: Vendors) -> None:
    await _all_succeed(caller, [await submit(caller, "count_skus", {"times": 2}) for _ in range(12)])
    assert len(vendors.graph.issued) == 1
    vendors.graph.expire()
    await _all_succeed(caller, [await submit(caller, "count_skus", {"times": 2}) for _ in range(12)])
    assert len(vendors.graph.issued) == 2


async def test_an_execution_that_cannot_get_a_token_leaves_it_to_others(
    own: Engine, caller: httpx.AsyncClient, vendors: Vendors
) -> None:
    correct, vendors.graph.client_secret = vendors.graph.client_secret, "changed at the vendor"
    failed = await finished(caller, await submit(caller, "count_skus", {}))
    assert failed["error"] == "IntegrationError"
    assert failed["details"]["status_code"] == 401
    vendors.graph.client_secret = correct
    await _all_succeed(caller, [await submit(caller, "count_skus", {})])


async def test_a_budget_is_shared_by_executions_and_seen_in_the_record(
    own: Engine, caller: httpx.AsyncClient, vendors: Vendors
) -> None:
    async with own.client(admin=True) as admin:
        for key, value in {"msgraph_calls_per_minute": 300, "msgraph_calls_burst": 1}.items():
            assert (await admin.put(f"/orgs/demo/config/{key}", json={"value": value})).is_success
    ids = [await submit(caller, "count_skus", {}) for _ in range(6)]
    await _all_succeed(caller, ids)
    lines = [
        line["message"]
        for execution_id in ids
        for line in (await caller.get(f"/executions/{execution_id}/record")).json()["Logs"]
    ]
    waits = [line for line in lines if line.startswith("msgraph: waiting")]
    # Seven calls, one of them for the token, at five a second: all but the first have to wait.
    assert len(waits) >= 5
    assert all("for the budget of 300 calls a minute" in line for line in waits)


async def test_waiting_for_a_vendor_counts_towards_the_timeout(caller: httpx.AsyncClient, vendors: Vendors) -> None:
    vendors.graph.throttle(1, "50")
    failed = await finished(caller, await submit(caller, "impatient", {}))
    assert failed["error"] == "TimeoutError"
    assert vendors.graph.count("GET /v1.0/subscribedSkus") == 1


async def test_an_engine_allows_no_private_address_unless_told_to(
    client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    """The engine that the other tests share was told nothing."""
    for key, value in {
        "msgraph_api_url": "https://169.254.169.254",
        "msgraph_login_url": "https://127.0.0.1:1",
        "msgraph_client_id": "c",
        "msgraph_tenant_id": "t",
    }.items():
        assert (await admin.put(f"/orgs/demo/config/{key}", json={"value": value})).is_success
    assert (await admin.put("/orgs/demo/secrets/msgraph_client_secret", json={"value": "never-sent-at-all"})).is_success
    failed = await finished(client, await submit(client, "count_skus", {}))
    assert failed["error"] == "ConfigurationError"
    assert "RUNLANE_ALLOWED_HOSTS=127.0.0.1:1" in failed["message"]


async def _all_succeed(client: httpx.AsyncClient, ids: list[str]) -> None:
    ended = [await finished(client, execution_id) for execution_id in ids]
    assert {document["status"] for document in ended} == {"Success"}, ended


def _calls(record: dict[str, Any]) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = record["IntegrationCalls"]
    return calls


def _bytes_of(directory: Path) -> dict[str, bytes]:
    """Every file below it: streams, records, logs."""
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def _found(values: list[str], places: dict[str, bytes]) -> list[tuple[str, str]]:
    """(value, place) for each of the values, as it is or in base64 or hex, that a place holds."""
    assert len(values) >= 6
    hits = []
    for value in values:
        raw = value.encode()
        for form in (raw, base64.b64encode(raw).rstrip(b"="), raw.hex().encode()):
            hits += [(value, place) for place, content in places.items() if form in content]
    return hits
