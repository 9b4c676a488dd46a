"""Cancelling and retrying by filter: counted first, done a page at a time, nothing twice, nothing of others."""

from typing import Any

import httpx
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.contracts.events import Failure
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway

pytest_plugins = ["tests.support.gateway_fixtures"]


async def recorded(gateway: Gateway, bus: NatsBus) -> None:
    await gateway.records.apply(await bus.read(subjects.EVENTS, ">"))


async def bulk(client: httpx.AsyncClient, action: str, **body: Any) -> dict[str, Any]:
    answer = await client.post("/executions/bulk", json={"action": action, **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def start(client: httpx.AsyncClient, count: int) -> list[str]:
    return [str((await client.post("/workflows/slow", json={})).json()["executionId"]) for _ in range(count)]


@pytest.fixture
async def failed(gateway: Gateway, executor: Executor, client: httpx.AsyncClient, bus: NatsBus) -> list[str]:
    """Three executions that failed, and one that did not."""
    executor.failure = Failure("IntegrationError", "away", {})
    ids = await start(client, 3)
    await eventually(lambda: len(executor.requests) == 3, within=20)
    executor.failure = None
    await start(client, 1)
    await eventually(lambda: len(executor.requests) == 4, within=20)
    for execution_id in ids:
        await client.get(f"/executions/{execution_id}", params={"wait": 20})
    await recorded(gateway, bus)
    return ids


async def test_what_waits_is_counted_and_then_cancelled(
    gateway: Gateway, client: httpx.AsyncClient, bus: NatsBus
) -> None:
    ids = await start(client, 5)
    await recorded(gateway, bus)
    wanted = {"status": ["Queued"], "workflow": "slow"}
    assert await bulk(client, "cancel", filter=wanted, dryRun=True) == {
        "count": 5,
        "more": False,
        "done": 0,
        "refused": [],
        "next": None,
    }
    assert (await client.get(f"/executions/{ids[0]}")).json()["status"] == "Queued"
    done = await bulk(client, "cancel", filter=wanted, reason="too many")
    assert (done["done"], done["refused"], done["next"]) == (5, [], None)
    for execution_id in ids:
        record = (await client.get(f"/executions/{execution_id}")).json()
        assert (record["status"], record["cancelledBy"]["id"], record["message"]) == ("Cancelled", "acme", "too many")


async def test_what_failed_is_retried_once_however_often_the_page_is_asked_for(
    failed: list[str], executor: Executor, client: httpx.AsyncClient
) -> None:
    for _ in range(2):
        done = await bulk(client, "retry", filter={"status": ["Failed"]}, key="monday")
        assert (done["done"], done["refused"]) == (3, [])
    await eventually(lambda: len(executor.requests) == 7, within=20)
    again = [request.trigger.reference for request in executor.requests[4:]]
    assert sorted(str(reference) for reference in again) == sorted(failed)
    assert {request.trigger.kind for request in executor.requests[4:]} == {"retry"}


async def test_without_a_status_what_succeeded_is_not_run_again(failed: list[str], client: httpx.AsyncClient) -> None:
    assert (await bulk(client, "retry", dryRun=True))["count"] == 3
    assert (await bulk(client, "retry", filter={"status": ["Success", "Failed"]}, dryRun=True))["count"] == 4


async def test_what_cannot_be_done_is_done_to_nothing(failed: list[str], client: httpx.AsyncClient) -> None:
    for action, status in (("cancel", "Failed"), ("retry", "Running")):
        assert (await bulk(client, action, filter={"status": [status]}, dryRun=True))["count"] == 0
        assert (await bulk(client, action, filter={"status": [status]}))["done"] == 0


async def test_one_that_ended_meanwhile_is_refused_and_the_others_are_not(
    gateway: Gateway, client: httpx.AsyncClient, bus: NatsBus
) -> None:
    ids = await start(client, 3)
    await recorded(gateway, bus)
    executor = Executor(bus, gateway.parts.sealer)
    await executor.start()
    await eventually(lambda: len(executor.requests) == 3, within=20)
    executor.holding = True
    held = (await client.post("/workflows/slow", json={})).json()["executionId"]
    await eventually(lambda: len(executor.requests) == 4, within=20)
    for execution_id in ids:
        await client.get(f"/executions/{execution_id}", params={"wait": 20})
    # The records do not know yet that three of them have ended.
    done = await bulk(client, "cancel", filter={"status": ["Queued", "Running"]})
    assert done["done"] + len(done["refused"]) == len(gateway.records.records)
    assert {one["executionId"] for one in done["refused"]} == set(ids)
    assert {one["error"] for one in done["refused"]} == {"Conflict"}
    assert held not in {one["executionId"] for one in done["refused"]}


async def test_another_organisation_is_out_of_reach(gateway: Gateway, client: httpx.AsyncClient, bus: NatsBus) -> None:
    (execution_id,) = await start(client, 1)
    await recorded(gateway, bus)
    async with gateway.client("globex") as globex:
        assert (await bulk(globex, "cancel", dryRun=True))["count"] == 0
        assert (await bulk(globex, "cancel"))["done"] == 0
        headers = {"X-Organization-Id": "acme"}
        assert (await globex.post("/executions/bulk", json={"action": "cancel"}, headers=headers)).status_code == 404
    assert (await client.get(f"/executions/{execution_id}")).json()["status"] == "Queued"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "delete"}, "action"),
        ({"action": "cancel", "filter": {"status": ["Nonsense"]}}, "filter.status"),
        ({"action": "cancel", "filter": {"colour": "red"}}, "filter.colour"),
        ({"action": "cancel", "filter": {"limit": 5000}}, "filter.limit"),
        ({"action": "cancel", "filter": {"from": "yesterday"}}, "filter.from"),
        ({}, "action"),
    ],
)
async def test_a_filter_that_is_none_changes_nothing_and_is_named(
    client: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await client.post("/executions/bulk", json=body)
    assert (answer.status_code, answer.json()["details"].get("field")) == (400, field)


async def test_without_the_permission_nothing_is_even_counted(gateway: Gateway) -> None:
    async with gateway.client("weak") as weak:
        answer = await weak.post("/executions/bulk", json={"action": "cancel", "dryRun": True})
    assert answer.status_code == 403
