"""Running workflows over HTTP: a real gateway on a real port over a real nats-server, an executor that does as told."""

import asyncio
import json
from pathlib import Path

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts import subjects
from runlane.contracts.events import Failure, Queued, decode_event
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from tests.support.eventually import eventually
from tests.support.gateway_bus import PASSWORD, Executor, Gateway, furnish, serving
from tests.support.nats import NatsServer

pytest_plugins = ["tests.support.gateway_fixtures"]


async def queued_event(bus: NatsBus, org: str, workflow: str, execution_id: str) -> Queued:
    stored = await bus.last(subjects.EVENTS, subjects.event(org, workflow, execution_id, "queued"))
    assert stored is not None
    event = decode_event(stored.payload)
    assert isinstance(event, Queued)
    return event


async def test_a_sync_call_answers_with_the_result(client: httpx.AsyncClient, executor: Executor) -> None:
    executor.result = {"user_id": "ü-1", "n": [1, None]}
    answer = await client.post("/workflows/quick", json={})
    assert answer.status_code == 200
    body = answer.json()
    assert list(body) == ["executionId", "status", "result"]
    assert (body["status"], body["result"]) == ("Success", executor.result)


async def test_an_async_call_is_accepted_with_its_poll_url(client: httpx.AsyncClient) -> None:
    answer = await client.post("/workflows/slow", json={})
    assert answer.status_code == 202
    body = answer.json()
    url = f"/executions/{body['executionId']}"
    assert body == {"executionId": body["executionId"], "status": "Queued", "pollUrl": url}
    assert answer.headers["location"] == url


async def test_parameters_travel_sealed_and_are_shown_sanitized(
    client: httpx.AsyncClient, executor: Executor, bus: NatsBus
) -> None:
    given = {"email": "a@b.c", "password": PASSWORD}
    answer = await client.post("/workflows/checked", json=given)
    execution_id = answer.json()["executionId"]
    event = await queued_event(bus, "acme", "checked", execution_id)
    assert json.loads(bytes(event.data.input))["email"] == "a@b.c"
    assert PASSWORD.encode() not in bytes(event.data.input)
    (request,) = executor.requests
    assert executor.parameters(request) == given
    assert event.data.sealed_input == request.sealed_parameters
    assert (request.caller.id, request.trigger.kind) == ("acme", "http")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "email"),
        ({"email": 1}, "email"),
        ({"email": "a", "surprise": 1}, "surprise"),
        ({"email": "a", "address": {}}, "address.city"),
        ({"email": "a", "address": {"city": 3}}, "address.city"),
        ({"email": "a", "users": [{}, {}, {"email": 3}]}, "users[2].email"),
        ({"email": "a", "owner": {"id": "x"}}, "owner.id"),
        ({"email": "a", "owner": "x"}, "owner"),
    ],
)
async def test_wrong_parameters_are_refused_with_the_field(
    client: httpx.AsyncClient, given: dict[str, object], field: str
) -> None:
    answer = await client.post("/workflows/checked", json=given)
    assert answer.status_code == 400
    body = answer.json()
    assert (body["status"], body["error"], body["details"]) == ("Failed", "ValidationError", {"field": field})
    assert "executionId" not in body


async def test_a_message_about_wrong_parameters_does_not_repeat_them(client: httpx.AsyncClient) -> None:
    answer = await client.post("/workflows/checked", json={"email": "a", "n": PASSWORD})
    assert answer.status_code == 400
    assert PASSWORD not in answer.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("ValidationError", 400),
        ("PermissionError", 403),
        ("IntegrationError", 500),
        ("TimeoutError", 500),
        ("SomebodysOwnError", 500),
        ("InternalServerError", 500),
    ],
)
async def test_a_failure_has_the_envelope_of_the_spec(
    client: httpx.AsyncClient, executor: Executor, error: str, status: int
) -> None:
    executor.failure = Failure(error, "It went wrong", {"field": "email"}, {"type": "KeyError", "traceback": "secret"})
    answer = await client.post("/workflows/quick", json={})
    assert answer.status_code == status
    body = answer.json()
    assert body.pop("executionId")
    assert body == {"error": error, "message": "It went wrong", "details": {"field": "email"}, "status": "Failed"}


async def test_a_call_that_takes_too_long_is_answered_202_and_not_lost(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    executor.holding = True
    answer = await client.post("/workflows/quick", json={}, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    body = answer.json()
    assert body["status"] == "Running"
    assert (await client.get(body["pollUrl"])).json()["status"] == "Running"


async def test_a_call_that_nobody_takes_is_answered_queued(client: httpx.AsyncClient) -> None:
    answer = await client.post("/workflows/quick", json={}, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "Queued")


async def test_a_lost_reply_does_not_lose_the_outcome(client: httpx.AsyncClient, executor: Executor) -> None:
    executor.silent = True
    answer = await client.post("/workflows/quick", json={}, headers={"Prefer": "wait=2"})
    assert (answer.status_code, answer.json()["status"]) == (200, "Success")


async def test_prefer_overrides_the_mode_of_the_workflow(client: httpx.AsyncClient, executor: Executor) -> None:
    answer = await client.post("/workflows/quick", json={}, headers={"Prefer": "respond-async"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    answer = await client.post("/workflows/slow", json={}, headers={"Prefer": "wait=5"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, "wait=5")


async def test_a_scheduled_workflow_called_over_http_runs_async(client: httpx.AsyncClient) -> None:
    assert (await client.post("/workflows/nightly", json={})).status_code == 202


async def test_a_delayed_start_is_scheduled_and_comes_due(client: httpx.AsyncClient, executor: Executor) -> None:
    answer = await client.post("/workflows/quick?delaySeconds=1", json={})
    assert (answer.status_code, answer.json()["status"]) == (202, "Scheduled")
    shown = (await client.get(answer.json()["pollUrl"])).json()
    assert (shown["status"], shown["runAt"] > shown["queuedAt"]) == ("Scheduled", True)
    assert not executor.requests
    done = await client.get(answer.json()["pollUrl"], params={"wait": 10})
    assert done.json()["status"] == "Success"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("delaySeconds=nan", "delaySeconds"),
        ("delaySeconds=-1", "delaySeconds"),
        ("delaySeconds=1e9", "delaySeconds"),
        ("delaySeconds=", "delaySeconds"),
        ("runAt=tomorrow", "runAt"),
        ("runAt=2026-01-01T00:00:00", "runAt"),
        ("runAt=2999-01-01T00:00:00Z", "runAt"),
        ("runAt=2026-01-01T00:00:00Z&delaySeconds=1", "runAt"),
    ],
)
async def test_a_delay_that_cannot_be_is_refused(client: httpx.AsyncClient, query: str, field: str) -> None:
    answer = await client.post(f"/workflows/quick?{query}", json={})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": field})


async def test_an_idempotency_key_makes_one_execution(
    client: httpx.AsyncClient, executor: Executor, bus: NatsBus
) -> None:
    headers = {"Idempotency-Key": "order-7"}
    answers = await asyncio.gather(
        *(client.post("/workflows/checked", json={"email": "a"}, headers=headers) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["executionId"] for answer in answers}) == 1
    assert len(executor.requests) == 1
    other = await client.post("/workflows/checked", json={"email": "b"}, headers=headers)
    assert (other.status_code, other.json()["error"]) == (422, "UnprocessableRequest")
    assert len(executor.requests) == 1


async def test_the_same_key_in_another_organisation_is_another_execution(
    gateway: Gateway, client: httpx.AsyncClient, executor: Executor
) -> None:
    headers = {"Idempotency-Key": "order-7"}
    first = await client.post("/workflows/quick", json={}, headers=headers)
    async with gateway.client("globex") as other:
        second = await other.post("/workflows/quick", json={}, headers=headers)
    assert first.json()["executionId"] != second.json()["executionId"]


async def test_a_repeated_key_before_the_start_keeps_the_delay(client: httpx.AsyncClient, executor: Executor) -> None:
    headers = {"Idempotency-Key": "later"}
    first = await client.post("/workflows/quick?delaySeconds=3600", json={}, headers=headers)
    again = await client.post("/workflows/quick", json={}, headers={**headers, "Prefer": "respond-async"})
    assert again.json() == first.json()
    assert not executor.requests


async def test_a_repeated_key_after_the_end_answers_with_the_outcome(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    headers = {"Idempotency-Key": "bad"}
    executor.failure = Failure("IntegrationError", "no", {})
    first = await client.post("/workflows/slow", json={}, headers={**headers, "Prefer": "wait=5"})
    again = await client.post("/workflows/slow", json={}, headers=headers)
    assert first.status_code == again.status_code == 500
    assert again.json() == first.json()


@pytest.mark.parametrize("key", ["", "x" * 256, "é"])
async def test_an_unusable_idempotency_key_is_refused(client: httpx.AsyncClient, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = await client.post("/workflows/quick", json={}, headers=headers)
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "Idempotency-Key"})


async def test_workflows_that_may_not_run_here_are_not_there(gateway: Gateway, client: httpx.AsyncClient) -> None:
    assert (await client.post("/workflows/nothing", json={})).status_code == 404
    assert (await client.post("/workflows/banned", json={})).status_code == 404
    assert (await client.post("/workflows/guarded", json={})).status_code == 403
    waiting = await client.post("/workflows/approved", json={})
    assert (waiting.status_code, waiting.json()["status"]) == (202, "PendingApproval")
    async with gateway.client("globex") as other:
        answer = await other.post("/workflows/banned", json={}, headers={"Prefer": "respond-async"})
        assert answer.status_code == 202


async def test_a_workflow_without_organisation_runs_for_the_platform(gateway: Gateway, executor: Executor) -> None:
    async with gateway.client("admin") as admin:
        answer = await admin.post("/workflows/anywhere", json={})
        assert answer.status_code == 200
        assert executor.requests[-1].org == "platform"
        refused = await admin.post("/workflows/quick", json={}, headers={"X-Organization-Id": "platform"})
        assert (refused.status_code, refused.json()["details"]["field"]) == (400, "X-Organization-Id")


async def test_without_a_broker_a_call_is_refused_in_time_and_accepted_again_later(
    settings: Settings, tmp_path: Path
) -> None:
    server = NatsServer(tmp_path / "nats")
    server.start()
    given = msgspec.structs.replace(
        settings, nats_url=server.url, http_port=0, master_key=generate_master_key(), sync_wait=5.0
    )
    try:
        async with open_bus(given, "test") as bus:
            store = NatsDirectoryStore(bus)
            await furnish(store)
            async with serving(given, bus, store) as gateway, gateway.client() as client:
                server.kill()
                answer = await client.post("/workflows/slow", json={}, timeout=2.5)
                assert (answer.status_code, answer.json()["error"]) == (503, "BusUnavailable")
                assert answer.headers["retry-after"] == "1"
                server.start()

                async def accepted() -> bool:
                    return (await client.post("/workflows/slow", json={})).status_code == 202

                await eventually(accepted, within=15)
    finally:
        server.kill()


@pytest.mark.parametrize("size", [716_700, 690_250])  # too large for both messages, and for the event alone
async def test_what_fits_the_body_but_not_the_broker_is_refused_and_never_runs(
    client: httpx.AsyncClient, executor: Executor, size: int
) -> None:
    answer = await client.post("/workflows/slow", json={"x": "y" * size})
    assert (answer.status_code, answer.json()["error"]) == (413, "MessageTooLarge")
    fits = await client.post("/workflows/slow", json={"x": "y" * 600_000})
    assert fits.status_code == 202
    await eventually(lambda: executor.requests)
    assert [request.execution_id for request in executor.requests] == [fits.json()["executionId"]]


async def test_a_client_that_hangs_up_leaves_the_execution_alone(
    gateway: Gateway, client: httpx.AsyncClient, executor: Executor
) -> None:
    executor.holding = True
    with pytest.raises(httpx.ReadTimeout):
        await client.post("/workflows/quick", json={}, headers={"Prefer": "wait=2"}, timeout=0.3)
    await eventually(lambda: executor.requests)
    answer = await client.get(f"/executions/{executor.requests[0].execution_id}")
    assert answer.json()["status"] == "Running"


async def test_a_full_queue_refuses_and_leaves_nothing_queued_for_ever(client: httpx.AsyncClient, bus: NatsBus) -> None:
    config = (await bus.api(f"STREAM.INFO.{subjects.REQUESTS}", None))["config"]
    await bus.api(f"STREAM.UPDATE.{subjects.REQUESTS}", {**config, "max_bytes": 100_000})
    accepted = []
    for _ in range(20):
        answer = await client.post("/workflows/slow", json={"x": "y" * 20_000})
        if answer.status_code != 202:
            break
        accepted.append(answer.json()["executionId"])
    assert (answer.status_code, answer.json()["error"], answer.headers["retry-after"]) == (503, "StorageFull", "1")
    assert accepted
    states = await bus.read(subjects.EVENTS, "runlane.event.*.*.*.state.*")
    told = await bus.read(subjects.EVENTS, "runlane.event.*.*.*.queued")
    (refused,) = {stored.subject.split(".")[4] for stored in told} - set(accepted)
    assert [stored.subject.split(".")[4:] for stored in states] == [[refused, "state", "cancelled"]]
    assert (await client.get(f"/executions/{refused}")).json()["status"] == "Cancelled"


async def test_what_is_queued_though_its_event_found_no_place_is_told_of_later(
    client: httpx.AsyncClient, bus: NatsBus
) -> None:
    config = (await bus.api(f"STREAM.INFO.{subjects.EVENTS}", None))["config"]
    await bus.api(f"STREAM.UPDATE.{subjects.EVENTS}", {**config, "discard": "new", "max_bytes": 100})
    answer = await client.post("/workflows/slow", json={"x": "y"})
    assert (answer.status_code, answer.json()["error"]) == (503, "StorageFull")
    assert len(await bus.read(subjects.REQUESTS, subjects.ALL_REQUESTS)) == 1
    await bus.api(f"STREAM.UPDATE.{subjects.EVENTS}", config)

    async def told() -> bool:
        return len(await bus.read(subjects.EVENTS, "runlane.event.*.*.*.queued")) == 1

    await eventually(told)


async def test_after_an_event_found_no_place_no_other_request_is_queued_before_its_event(
    client: httpx.AsyncClient, bus: NatsBus
) -> None:
    """What was asked for would be in no record if the gateway died before it had told of it later."""
    config = (await bus.api(f"STREAM.INFO.{subjects.EVENTS}", None))["config"]
    await bus.api(f"STREAM.UPDATE.{subjects.EVENTS}", {**config, "discard": "new", "max_bytes": 100})
    for _ in range(5):
        answer = await client.post("/workflows/slow", json={"x": "y"})
        assert (answer.status_code, answer.json()["error"]) == (503, "StorageFull")
    assert len(await bus.read(subjects.REQUESTS, subjects.ALL_REQUESTS)) == 1
    await bus.api(f"STREAM.UPDATE.{subjects.EVENTS}", config)
    assert (await client.post("/workflows/slow", json={"x": "y"})).status_code == 202
