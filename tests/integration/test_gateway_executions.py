"""Reading, following, cancelling and retrying executions: callers read their own writes, whatever the store holds."""

import asyncio
import json
from datetime import UTC, datetime

import httpx
import pytest
from msgspec import Raw

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.contracts.events import Failure
from runlane.contracts.requests import Request
from runlane.contracts.trace import (
    CallEntry,
    CheckpointEntry,
    DroppedEntry,
    LogEntry,
    ProgressEntry,
    StepEntry,
    VariableEntry,
)
from runlane.ports import Delivery
from tests.support.eventually import eventually
from tests.support.gateway_bus import PASSWORD, Executor, Gateway

pytest_plugins = ["tests.support.gateway_fixtures"]

AT = datetime(2025, 10, 10, 14, 30, 1, tzinfo=UTC)
SHOWN = "2025-10-10T14:30:01.000Z"

TRACE = [
    LogEntry(AT, "info", "Starting", Raw(b'{"email":"j@acme.com"}')),
    LogEntry(AT, "warning", "bare"),
    CheckpointEntry(AT, "created", Raw(b'{"user_id":"u-1"}'), sealed=b"SEALED"),
    VariableEntry(AT, "user_id", Raw(b'"u-0"'), sealed=b"SEALED"),
    VariableEntry(AT, "user_id", Raw(b'"u-1"')),
    CallEntry(AT, "msgraph", "POST", "/v1.0/users", 201, 2345, True),
    CallEntry(AT, "msgraph", "GET", "/v1.0/me", None, 10, False, "refused"),
    StepEntry(AT, "create", Raw(b"7"), 12, sealed=b"SEALED"),
    ProgressEntry(AT, 45, "half way"),
    DroppedEntry(AT, "log", 3),
]


async def submit(client: httpx.AsyncClient, workflow: str = "slow", **given: object) -> str:
    answer = await client.post(f"/workflows/{workflow}", json=given, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    execution_id: str = answer.json()["executionId"]
    return execution_id


async def finished(client: httpx.AsyncClient, execution_id: str) -> dict[str, object]:
    answer = await client.get(f"/executions/{execution_id}", params={"wait": 10})
    assert answer.status_code == 200, answer.text
    document: dict[str, object] = answer.json()
    assert document["status"] in ("Success", "Failed", "Cancelled"), document
    return document


async def record_all(gateway: Gateway, bus: NatsBus) -> None:
    """What the recorder does."""
    await gateway.records.apply(await bus.read(subjects.EVENTS, "runlane.event.>"))


async def test_an_execution_is_shown_before_it_is_recorded(client: httpx.AsyncClient) -> None:
    execution_id = await submit(client, "checked", email="a@b.c", password=PASSWORD)
    answer = await client.get(f"/executions/{execution_id}")
    shown = answer.json()
    assert shown["executionId"] == execution_id
    assert (shown["workflowName"], shown["orgId"], shown["status"]) == ("checked", "acme", "Queued")
    assert shown["executedBy"] == {"id": "acme", "email": None, "name": "acme"}
    assert shown["trigger"] == {"kind": "http", "reference": None}
    assert shown["input"]["email"] == "a@b.c"
    assert shown["pollUrl"] == f"/executions/{execution_id}"
    assert PASSWORD not in answer.text


async def test_everything_an_execution_told_is_shown_without_what_is_sealed(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    executor.trace = TRACE
    execution_id = await submit(client)
    shown = await finished(client, execution_id)
    assert shown["logs"] == [
        {"timestamp": SHOWN, "level": "info", "message": "Starting", "data": {"email": "j@acme.com"}},
        {"timestamp": SHOWN, "level": "warning", "message": "bare"},
    ]
    assert shown["stateSnapshots"] == [{"timestamp": SHOWN, "name": "created", "data": {"user_id": "u-1"}}]
    assert shown["variables"] == {"user_id": "u-1"}
    assert shown["integrationCalls"] == [
        {
            "timestamp": SHOWN,
            "integration": "msgraph",
            "method": "POST",
            "endpoint": "/v1.0/users",
            "status_code": 201,
            "duration_ms": 2345,
            "success": True,
        },
        {
            "timestamp": SHOWN,
            "integration": "msgraph",
            "method": "GET",
            "endpoint": "/v1.0/me",
            "status_code": None,
            "duration_ms": 10,
            "success": False,
            "error": "refused",
        },
    ]
    assert shown["steps"] == [{"timestamp": SHOWN, "name": "create", "duration_ms": 12, "result": 7}]
    assert shown["dropped"] == [{"timestamp": SHOWN, "what": "log", "count": 3}]
    assert shown["result"] == {"done": True}
    assert "pollUrl" not in shown
    answer = await client.get(f"/executions/{execution_id}")
    assert "sealed" not in answer.text.lower()


async def test_the_record_has_exactly_the_names_of_the_spec(client: httpx.AsyncClient, executor: Executor) -> None:
    executor.trace = TRACE
    executor.result = {"note": "x" * 5000, "password": PASSWORD}
    execution_id = await submit(client, "checked", email="a@b.c")
    await finished(client, execution_id)
    record = (await client.get(f"/executions/{execution_id}/record")).json()
    assert list(record) == [
        "ExecutionId",
        "WorkflowName",
        "Status",
        "StartedAt",
        "CompletedAt",
        "DurationMs",
        "InputData",
        "Result",
        "StateSnapshots",
        "IntegrationCalls",
        "Logs",
        "Variables",
    ]
    assert json.loads(record["InputData"]) == {"email": "a@b.c"}
    assert len(json.loads(record["Result"])["note"]) < 1100
    assert PASSWORD not in record["Result"]
    assert record["StateSnapshots"] == [{"timestamp": SHOWN, "name": "created", "data": {"user_id": "u-1"}}]
    assert record["Variables"] == {"user_id": "u-1"}


async def test_the_store_and_the_stream_tell_the_same(
    gateway: Gateway, bus: NatsBus, client: httpx.AsyncClient, executor: Executor
) -> None:
    executor.trace = TRACE
    execution_id = await submit(client)
    from_stream = await finished(client, execution_id)
    await record_all(gateway, bus)
    assert await finished(client, execution_id) == from_stream


async def test_what_the_store_lacks_is_taken_from_the_stream(
    gateway: Gateway, bus: NatsBus, client: httpx.AsyncClient
) -> None:
    execution_id = await submit(client)
    await record_all(gateway, bus)
    late = Executor(bus, gateway.parts.sealer)
    await late.start()
    assert (await finished(client, execution_id))["status"] == "Success"
    stale = await gateway.records.get("acme", execution_id)
    assert stale is not None
    assert stale.status == "Queued"


async def test_without_the_store_the_stream_answers(gateway: Gateway, client: httpx.AsyncClient) -> None:
    gateway.records.away = True
    execution_id = await submit(client)
    assert (await client.get(f"/executions/{execution_id}")).json()["status"] == "Queued"
    answer = await client.get("/executions/0123456789abcdef0123456789abcdef")
    assert (answer.status_code, answer.json()["error"]) == (503, "StoreUnavailable")
    assert (await client.get("/executions")).status_code == 503


async def test_internals_are_for_operators(gateway: Gateway, client: httpx.AsyncClient, executor: Executor) -> None:
    executor.failure = Failure("InternalServerError", "An unexpected error", {}, {"type": "KeyError"})
    execution_id = await submit(client)
    shown = await finished(client, execution_id)
    assert (shown["status"], shown["error"]) == ("Failed", "InternalServerError")
    assert "internal" not in shown
    async with gateway.client("admin", X_Organization_Id="acme") as admin:
        assert (await finished(admin, execution_id))["internal"] == {"type": "KeyError"}


@pytest.mark.parametrize("path", ["", "/record", "/events"])
async def test_a_foreign_execution_answers_like_an_unknown_one(
    gateway: Gateway, client: httpx.AsyncClient, path: str
) -> None:
    execution_id = await submit(client)
    unknown = "0" * 32
    async with gateway.client("globex") as other:
        foreign = await other.get(f"/executions/{execution_id}{path}")
        missing = await other.get(f"/executions/{unknown}{path}")
    assert foreign.status_code == missing.status_code == 404
    assert foreign.text.replace(execution_id, unknown) == missing.text


async def test_foreign_executions_can_be_neither_cancelled_nor_retried_nor_listed(
    gateway: Gateway, client: httpx.AsyncClient, bus: NatsBus
) -> None:
    execution_id = await submit(client)
    await record_all(gateway, bus)
    async with gateway.client("globex") as other:
        assert (await other.post(f"/executions/{execution_id}/cancel")).status_code == 404
        assert (await other.post(f"/executions/{execution_id}/retry")).status_code == 404
        assert (await other.get("/executions")).json() == {"executions": [], "next": None}
    assert (await client.get(f"/executions/{execution_id}")).json()["status"] == "Queued"


async def test_waiting_for_the_end_returns_when_it_comes(client: httpx.AsyncClient, executor: Executor) -> None:
    executor.holding = True
    execution_id = await submit(client)
    await eventually(lambda: executor.requests)
    waiting = asyncio.create_task(client.get(f"/executions/{execution_id}", params={"wait": 20}))
    last = await bus_last(executor, executor.requests[0])
    await executor.end(executor.requests[0], last)
    assert (await asyncio.wait_for(waiting, 10)).json()["status"] == "Success"


async def bus_last(executor: Executor, request: Request) -> int:
    line = subjects.state_line(request.org, request.workflow, request.execution_id)
    stored = await executor.bus.last(subjects.EVENTS, line)
    assert stored is not None
    return stored.sequence


async def test_a_list_shows_what_was_recorded_and_pages(
    gateway: Gateway, bus: NatsBus, client: httpx.AsyncClient
) -> None:
    ids = [await submit(client) for _ in range(3)]
    await record_all(gateway, bus)
    page = (await client.get("/executions", params={"limit": 2, "status": ["Queued", "Running"]})).json()
    assert [item["executionId"] for item in page["executions"]] == [ids[2], ids[1]]
    assert page["next"] == "more"
    assert "logs" not in page["executions"][0]
    assert (await client.get("/executions", params={"status": "Failed"})).json()["executions"] == []


async def test_a_list_waits_for_a_recorder_that_is_behind(
    gateway: Gateway, bus: NatsBus, client: httpx.AsyncClient
) -> None:
    execution_id = await submit(client)
    arrived: list[Delivery] = []
    await bus.consume(subjects.EVENTS, subjects.RECORDER, arrived.append, lambda: 100)
    await eventually(lambda: arrived)
    listing = asyncio.create_task(client.get("/executions"))
    done, _ = await asyncio.wait({listing}, timeout=0.3)
    assert not done
    await record_all(gateway, bus)
    arrived[0].ack()
    assert [item["executionId"] for item in (await listing).json()["executions"]] == [execution_id]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "status=Nope", "from=x", "surprise=1"])
async def test_a_filter_that_cannot_be_is_refused(client: httpx.AsyncClient, query: str) -> None:
    answer = await client.get(f"/executions?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "ValidationError")
    assert answer.json()["details"]["field"] == query.partition("=")[0]


async def test_a_queued_execution_is_cancelled_and_never_runs(
    client: httpx.AsyncClient, gateway: Gateway, bus: NatsBus
) -> None:
    execution_id = await submit(client)
    answer = await client.post(f"/executions/{execution_id}/cancel", json={"reason": "changed my mind"})
    assert (answer.status_code, answer.json()) == (200, {"executionId": execution_id, "status": "Cancelled"})
    late = Executor(bus, gateway.parts.sealer)
    await late.start()
    await eventually(lambda: late.refused == [execution_id])
    shown = await finished(client, execution_id)
    assert (shown["status"], shown["message"]) == ("Cancelled", "changed my mind")
    assert shown["cancelledBy"] == {"id": "acme", "email": None, "name": "acme"}
    assert (await client.post(f"/executions/{execution_id}/cancel")).status_code == 200


async def test_of_a_long_reason_a_beginning_is_kept(client: httpx.AsyncClient) -> None:
    execution_id = await submit(client)
    answer = await client.post(f"/executions/{execution_id}/cancel", json={"reason": "because " * 50_000})
    assert answer.status_code == 200
    message = (await finished(client, execution_id))["message"]
    assert message.startswith("because because")
    assert len(message) == 1000


async def test_cancelling_tells_the_executor_and_the_waiting_caller(
    client: httpx.AsyncClient, executor: Executor, bus: NatsBus
) -> None:
    executor.holding = True
    told: list[str] = []
    await bus.listen(subjects.ALL_CANCELS, lambda subject, payload: told.append(subject))
    waiting = asyncio.create_task(client.post("/workflows/quick", json={}))
    await eventually(lambda: executor.requests)
    execution_id = executor.requests[0].execution_id
    assert (await client.post(f"/executions/{execution_id}/cancel")).status_code == 200
    answer = await asyncio.wait_for(waiting, 5)
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (409, "Cancelled", "Cancelled")
    await eventually(lambda: told == [subjects.cancel(execution_id)])


async def test_what_has_ended_cannot_be_cancelled(client: httpx.AsyncClient, executor: Executor) -> None:
    execution_id = await submit(client)
    await finished(client, execution_id)
    answer = await client.post(f"/executions/{execution_id}/cancel")
    assert (answer.status_code, answer.json()["error"]) == (409, "Conflict")
    assert answer.json()["details"] == {"status": "Success"}


async def test_cancelling_and_ending_at_once_leaves_one_end(client: httpx.AsyncClient, executor: Executor) -> None:
    for _ in range(10):
        execution_id = await submit(client)
        cancelled = (await client.post(f"/executions/{execution_id}/cancel")).status_code == 200
        shown = await finished(client, execution_id)
        assert shown["status"] == ("Cancelled" if cancelled else "Success")


async def test_a_retry_runs_the_same_true_parameters_as_a_new_execution(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    given = {"email": "a@b.c", "password": PASSWORD}
    first = await submit(client, "checked", **given)
    await finished(client, first)
    answer = await client.post(f"/executions/{first}/retry")
    assert answer.status_code == 202
    second = answer.json()["executionId"]
    assert second != first
    shown = await finished(client, second)
    assert shown["trigger"] == {"kind": "retry", "reference": first}
    assert executor.parameters(executor.requests[1]) == given


async def test_a_retry_can_be_awaited_and_repeated_by_key(client: httpx.AsyncClient, executor: Executor) -> None:
    first = await submit(client)
    await finished(client, first)
    headers = {"Idempotency-Key": "once", "Prefer": "wait=5"}
    answers = [await client.post(f"/executions/{first}/retry", headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    assert len(executor.requests) == 2


async def test_what_has_not_ended_cannot_be_retried(client: httpx.AsyncClient) -> None:
    execution_id = await submit(client)
    answer = await client.post(f"/executions/{execution_id}/retry")
    assert (answer.status_code, answer.json()["details"]) == (409, {"status": "Queued"})


async def stream(
    client: httpx.AsyncClient, execution_id: str, last: str = ""
) -> list[tuple[str, str, dict[str, object]]]:
    """The whole stream as (id, event, data)."""
    headers = {"Last-Event-ID": last} if last else {}
    async with client.stream("GET", f"/executions/{execution_id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = (await answer.aread()).decode()
    told = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            told.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return told


async def test_events_are_followed_live_until_the_end_without_repetition(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    executor.holding = True
    execution_id = await submit(client)
    await eventually(lambda: executor.requests)
    request = executor.requests[0]
    following = asyncio.create_task(stream(client, execution_id))
    claim = await bus_last(executor, request)
    for name in ("a", "b", "c"):
        await executor.tell(request, claim, name, LogEntry(AT, "info", name), LogEntry(AT, "info", name * 2))
    await executor.end(request, claim)
    told = await asyncio.wait_for(following, 10)
    assert [event for _, event, _ in told] == ["queued", "state", *["log"] * 6, "state"]
    assert [data["message"] for _, event, data in told if event == "log"] == ["a", "aa", "b", "bb", "c", "cc"]
    assert told[-1][2]["status"] == "Success"
    assert len({place for place, _, _ in told}) == len(told)


async def test_a_stream_continues_after_the_last_event_in_the_middle_of_a_message(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    executor.trace = TRACE
    execution_id = await submit(client)
    await finished(client, execution_id)
    told = await stream(client, execution_id)
    assert [event for _, event, _ in told[2:]] == [
        "log",
        "log",
        "checkpoint",
        "variable",
        "variable",
        "call",
        "call",
        "step",
        "progress",
        "dropped",
        "state",
    ]
    for position in range(len(told)):
        assert await stream(client, execution_id, told[position][0]) == told[position + 1 :]


async def test_a_stream_of_a_running_execution_continues_in_the_middle_of_a_message(
    client: httpx.AsyncClient, executor: Executor
) -> None:
    executor.holding = True
    execution_id = await submit(client)
    await eventually(lambda: executor.requests)
    request = executor.requests[0]
    claim = await bus_last(executor, request)
    await executor.tell(request, claim, "t", *(LogEntry(AT, "info", text) for text in "abc"))
    (traced,) = await executor.bus.read(subjects.EVENTS, f"runlane.event.acme.slow.{execution_id}.trace")
    following = asyncio.create_task(stream(client, execution_id, f"{traced.sequence}-0"))
    await executor.end(request, claim)
    told = await asyncio.wait_for(following, 10)
    assert [data.get("message", data.get("status")) for _, _, data in told] == ["b", "c", "Success"]


async def test_events_that_have_left_the_stream_are_told_from_the_record(
    gateway: Gateway, bus: NatsBus, client: httpx.AsyncClient, executor: Executor
) -> None:
    executor.trace = TRACE
    execution_id = await submit(client)
    await finished(client, execution_id)
    before = await stream(client, execution_id)
    await record_all(gateway, bus)
    await bus.api(f"STREAM.PURGE.{subjects.EVENTS}", {})
    after = await stream(client, execution_id)
    assert [event for _, event, _ in after] == [event for _, event, _ in before]
    assert after[2:] == before[2:]
    assert await stream(client, execution_id, before[5][0]) == before[6:]
