"""`POST /workflows/{name}/batch`: many executions in one call, over a real gateway and a real nats-server."""

import json
from typing import Any

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.errors import StorageFull
from runlane.ports import Message
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway

pytest_plugins = ["tests.support.gateway_fixtures"]

NDJSON = {"content-type": "application/x-ndjson"}


async def send(client: httpx.AsyncClient, workflow: str, *lines: object, **headers: str) -> httpx.Response:
    body = b"\n".join(line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines)
    return await client.post(f"/workflows/{workflow}/batch", content=body, headers=NDJSON | headers)


async def test_each_line_becomes_an_execution_with_its_own_parameters(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    lines = [{"parameters": {"email": f"user{number}@acme.example"}} for number in range(200)]
    answer = await send(client, "checked", *lines)
    assert answer.status_code == 202
    told = answer.json()
    assert (told["accepted"], told["refused"], told["errors"]) == (200, 0, [])
    assert [one["line"] for one in told["executions"]] == list(range(1, 201))
    assert {one["status"] for one in told["executions"]} == {"Queued"}
    await eventually(lambda: len(executor.requests) == 200)
    ran = {request.execution_id: executor.parameters(request)["email"] for request in executor.requests}
    assert ran == {one["executionId"]: f"user{one['line'] - 1}@acme.example" for one in told["executions"]}


async def test_a_line_that_is_wrong_is_told_and_stops_no_other(client: httpx.AsyncClient, executor: Executor) -> None:
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    answer = await send(
        client,
        "checked",
        {"parameters": {"email": "a@b.c"}},
        b"{not json",
        b"",
        {"parameters": {"email": 5}},
        {"parameters": {"email": "a@b.c"}, "priority": "urgent"},
        {"parameters": {"email": "a@b.c"}, "idempotencyKey": ""},
        {"parameters": {"email": "a@b.c"}, "runAt": "soon"},
        {"email": "a@b.c"},
        {"parameters": {"email": "a@b.c", "deep": deep}},
        [1, 2],
        {"parameters": {"email": "z@b.c"}, "priority": "low", "delaySeconds": 0.1},
    )
    assert answer.status_code == 202
    told = answer.json()
    assert [(one["line"], one["status"]) for one in told["executions"]] == [(1, "Queued"), (11, "Scheduled")]
    assert [one["line"] for one in told["errors"]] == [2, 4, 5, 6, 7, 8, 9, 10]
    assert {one["error"] for one in told["errors"]} == {"ValidationError"}
    assert told["errors"][1]["details"]["field"] == "email"
    await eventually(lambda: len(executor.requests) == 2)


async def test_the_same_batch_again_starts_nothing_again(client: httpx.AsyncClient, executor: Executor) -> None:
    lines = [{"parameters": {"email": "a@b.c"}, "idempotencyKey": f"import-7:{number}"} for number in range(20)]
    first = (await send(client, "checked", *lines)).json()
    again = (await send(client, "checked", *lines)).json()
    assert [one["executionId"] for one in again["executions"]] == [one["executionId"] for one in first["executions"]]
    other = {"parameters": {"email": "other@b.c"}, "idempotencyKey": "import-7:3"}
    refused = await send(client, "checked", other)
    assert refused.status_code == 422
    assert refused.json()["error"] == "UnprocessableRequest"
    await eventually(lambda: len(executor.requests) == 20)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", NDJSON, 400),
        (b"\n \n", NDJSON, 400),
        (b"{}", {"content-type": "text/plain"}, 415),
        (b"{}", NDJSON | {"content-encoding": "gzip"}, 415),
        (b"{}", NDJSON | {"x-priority": "urgent"}, 400),
        (b"{}\n" * 10_001, NDJSON, 413),
        (b'{"parameters": {"email": "' + b"x" * 800_000 + b'"}}', NDJSON, 413),
    ],
    ids=["nothing", "blank", "text", "compressed", "priority", "too many", "too long a line"],
)
async def test_what_is_no_batch_starts_nothing(
    client: httpx.AsyncClient, executor: Executor, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post("/workflows/quick/batch", content=body, headers=headers)
    assert answer.status_code == status
    assert answer.json()["message"]
    assert not executor.requests


async def test_ten_thousand_lines_are_one_batch(client: httpx.AsyncClient, bus: NatsBus) -> None:
    answer = await client.post("/workflows/quick/batch", content=b"{}\n" * 10_000, headers=NDJSON, timeout=120)
    assert answer.json()["accepted"] == 10_000
    waiting = await bus.counts(subjects.REQUESTS, subjects.requests_of("acme"))
    by_lane = {subject.split(".")[2]: count for subject, count in waiting.items()}
    assert sum(by_lane.values()) == 10_000
    assert set(by_lane) == {"0", "1", "2", "3"}, "one organisation's flood is not all in the first lane"


async def test_a_full_queue_is_told_of_each_line_and_the_whole_may_be_tried_again(
    client: httpx.AsyncClient, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(message: Message, *, timeout: float = 5.0) -> int:
        raise StorageFull

    monkeypatch.setattr(gateway.parts.bus, "publish", full)
    answer = await send(client, "quick", {}, {})
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert [one["line"] for one in answer.json()["details"]["errors"]] == [1, 2]


async def test_a_batch_is_for_the_callers_organisation_and_workflows(gateway: Gateway) -> None:
    async with gateway.client("globex") as stranger:
        assert (await send(stranger, "quick", {}, **{"x-organization-id": "acme"})).status_code == 404
        assert (await send(stranger, "nowhere", {})).status_code == 404
    async with gateway.client("weak") as weak:
        assert (await send(weak, "quick", {})).status_code == 403


async def test_a_calls_priority_is_checked_and_chooses_its_lane(client: httpx.AsyncClient, bus: NatsBus) -> None:
    answer = await client.post("/workflows/slow", json={}, headers={"X-Priority": "low"})
    assert answer.status_code == 202
    waiting = await bus.counts(subjects.REQUESTS, subjects.requests_of("acme"))
    assert json.dumps(waiting).count("runlane.request.2.acme.slow") == 1
    wrong = await client.post("/workflows/slow", json={}, headers={"X-Priority": "now"})
    assert (wrong.status_code, wrong.json()["details"]["field"]) == (400, "X-Priority")
