"""The main job through the doors users use: HTTP in, a record out."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.support.eventually import eventually
from tests.support.executions import finished, notes, submit


async def test_a_sync_call_answers_with_the_result(client: httpx.AsyncClient) -> None:
    answer = await client.post("/workflows/echo", json={"value": {"a": [1, "é", None]}})
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "Success"
    assert body["result"] == {"a": [1, "é", None]}
    record = (await client.get(f"/executions/{body['executionId']}")).json()
    assert (record["status"], record["result"]) == ("Success", body["result"])


async def test_an_async_call_is_accepted_and_polled(client: httpx.AsyncClient) -> None:
    answer = await client.post("/workflows/complex_onboarding", json={"email": "j@acme.com", "department": "Sales"})
    assert answer.status_code == 202
    body = answer.json()
    assert body["status"] == "Queued"
    assert body["pollUrl"] == answer.headers["Location"] == f"/executions/{body['executionId']}"
    record = await finished(client, body["executionId"])
    assert record["status"] == "Success"
    assert record["result"]["org"] == "demo"


async def test_the_record_has_the_shape_of_the_spec(client: httpx.AsyncClient) -> None:
    parameters = {"email": "j@acme.com", "department": "Sales", "password": "Winter2026!x"}
    execution_id = await submit(client, "complex_onboarding", parameters)
    await finished(client, execution_id)
    answer = await client.get(f"/executions/{execution_id}/record")
    record = answer.json()
    assert record["ExecutionId"] == execution_id
    assert (record["WorkflowName"], record["Status"]) == ("complex_onboarding", "Success")
    assert record["StartedAt"].endswith("Z")
    assert record["CompletedAt"].endswith("Z")
    assert isinstance(record["DurationMs"], int)
    assert json.loads(record["InputData"])["email"] == "j@acme.com"
    assert json.loads(record["Result"])["user_id"] == "user-123"
    assert [s["name"] for s in record["StateSnapshots"]] == ["create_user_start", "user_created"]
    assert record["StateSnapshots"][1]["data"] == {"user_id": "user-123"}
    call = record["IntegrationCalls"][0]
    assert {
        key: call[key] for key in ("integration", "method", "endpoint", "status_code", "duration_ms", "success")
    } == {
        "integration": "msgraph",
        "method": "POST",
        "endpoint": "/v1.0/users",
        "status_code": 201,
        "duration_ms": 12,
        "success": True,
    }
    assert record["Logs"][0]["level"] == "info"
    assert record["Logs"][0]["data"] == {"email": "j@acme.com", "department": "Sales"}
    assert record["Variables"] == {"user_id": "user-123"}
    assert "Winter2026!x" not in answer.text


async def test_parameters_arrive_as_the_types_that_were_asked_for(client: httpx.AsyncClient) -> None:
    given = {"email": "a@b.c", "plan": "premium", "since": "2026-01-02T03:04:05Z", "count": 2}
    answer = await client.post("/workflows/typed", json=given)
    assert answer.json()["result"] == {"email": "a@b.c", "plan": "premium", "year": 2026, "count": 3, "mode": "a"}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"plan": "basic", "since": "2026-01-01T00:00:00Z"}, "email"),
        ({"email": "a", "plan": "gold", "since": "2026-01-01T00:00:00Z"}, "plan"),
        ({"email": "a", "plan": "basic", "since": "2026-01-01T00:00:00Z", "count": "2"}, "count"),
        ({"email": "a", "plan": "basic", "since": "2026-01-01T00:00:00Z", "surprise": 1}, "surprise"),
    ],
)
async def test_wrong_parameters_are_refused_with_the_field(
    client: httpx.AsyncClient, given: dict[str, object], field: str
) -> None:
    answer = await client.post("/workflows/typed", json=given)
    assert answer.status_code == 400
    body = answer.json()
    assert (body["status"], body["error"], body["details"]["field"]) == ("Failed", "ValidationError", field)


async def test_a_plain_function_runs_in_a_thread(client: httpx.AsyncClient) -> None:
    answer = await client.post("/workflows/plain", json={"name": "Ada"})
    assert answer.json()["result"] == "hello Ada"
    record = (await client.get(f"/executions/{answer.json()['executionId']}")).json()
    assert [line["message"] for line in record["logs"]] == ["from a thread"]


@pytest.mark.parametrize(
    ("kind", "status", "error", "message", "details"),
    [
        ("validation", 400, "ValidationError", "Invalid email address", {"field": "email"}),
        (
            "integration",
            500,
            "IntegrationError",
            "Failed to create user: 401 Unauthorized",
            {"integration": "msgraph", "status_code": 401},
        ),
        (
            "configuration",
            500,
            "ConfigurationError",
            "Microsoft Graph not configured",
            {"config_key": "msgraph_client_id"},
        ),
        (
            "unexpected",
            500,
            "InternalServerError",
            "An unexpected error occurred during workflow execution",
            {},
        ),
    ],
)
async def test_errors_have_the_envelope_of_the_spec(
    client: httpx.AsyncClient, kind: str, status: int, error: str, message: str, details: dict[str, object]
) -> None:
    answer = await client.post("/workflows/fails", json={"kind": kind})
    assert answer.status_code == status
    body = answer.json()
    execution_id = body.pop("executionId")
    assert body == {"status": "Failed", "error": error, "message": message, "details": details}
    assert (await client.get(f"/executions/{execution_id}")).json()["status"] == "Failed"


async def test_an_unexpected_error_is_hidden_from_callers_and_shown_to_operators(
    client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    execution_id = (await client.post("/workflows/fails", json={"kind": "unexpected"})).json()["executionId"]
    shown = (await admin.get(f"/executions/{execution_id}")).json()
    assert shown["internal"]["type"] == "RuntimeError"
    assert "jobs.py" in shown["internal"]["traceback"]


async def test_a_failing_workflow_is_retried_as_its_policy_says(client: httpx.AsyncClient, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    record = await finished(client, await submit(client, "flaky", {"journal": str(journal)}))
    assert (record["status"], record["result"], record["attempt"]) == ("Success", 3, 3)
    assert notes(journal) == ["attempt 1", "attempt 2", "attempt 3"]


@pytest.mark.parametrize("how", ["busy", "blocked", "swallows"])
async def test_a_timeout_ends_code_that_does_not_want_to_end(client: httpx.AsyncClient, how: str) -> None:
    stubborn = await submit(client, "stubborn", {"how": how})
    record = await finished(client, stubborn)
    assert record["status"] == "Failed"
    assert record["error"] == "TimeoutError"
    assert record["message"] == "Workflow exceeded timeout of 1 seconds"
    assert record["details"] == {"timeout_seconds": 1}


async def test_a_timeout_ends_a_plain_function(client: httpx.AsyncClient) -> None:
    record = await finished(client, await submit(client, "blocked_thread", {}))
    assert record["error"] == "TimeoutError"


async def test_what_shares_a_process_with_stubborn_code_finishes_all_the_same(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    journal = tmp_path / "notes"
    others = [await submit(client, "waits", {"journal": str(journal), "seconds": 4}) for _ in range(4)]
    await submit(client, "stubborn", {"how": "busy"})
    await submit(client, "stubborn", {"how": "busy"})
    for other in others:
        record = await finished(client, other)
        assert (record["status"], record["attempt"]) == ("Success", 1)


async def test_a_running_execution_is_cancelled(client: httpx.AsyncClient, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    execution_id = await submit(client, "waits", {"journal": str(journal)})
    await eventually(lambda: notes(journal) == ["begun"])
    answer = await client.post(f"/executions/{execution_id}/cancel", json={"reason": "changed my mind"})
    assert (answer.status_code, answer.json()["status"]) == (200, "Cancelled")
    record = (await client.get(f"/executions/{execution_id}")).json()
    assert record["status"] == "Cancelled"
    again = await client.post(f"/executions/{execution_id}/cancel")
    assert again.status_code == 200
    assert notes(journal) == ["begun"]


async def test_a_delayed_execution_waits_and_can_be_cancelled(client: httpx.AsyncClient, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    soon = await submit(client, "waits", {"journal": str(journal), "seconds": 0}, params={"delaySeconds": 1})
    later = await submit(client, "waits", {"journal": str(journal), "seconds": 0}, params={"delaySeconds": 3600})
    assert (await client.get(f"/executions/{later}")).json()["status"] == "Scheduled"
    await client.post(f"/executions/{later}/cancel")
    assert (await client.get(f"/executions/{later}")).json()["status"] == "Cancelled"
    assert (await finished(client, soon))["status"] == "Success"


async def test_an_idempotency_key_makes_one_execution(client: httpx.AsyncClient, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    parameters = {"journal": str(journal), "seconds": 0.2}
    headers = {"Idempotency-Key": f"key-{tmp_path.name}"}
    ids = await asyncio.gather(*(submit(client, "waits", parameters, headers=headers) for _ in range(20)))
    assert len(set(ids)) == 1
    await finished(client, ids[0])
    assert notes(journal) == ["begun", "ended"]
    other = await client.post("/workflows/waits", json={**parameters, "seconds": 5}, headers=headers)
    assert other.status_code == 422


async def test_a_finished_execution_is_retried_as_a_new_one_with_the_same_true_parameters(
    client: httpx.AsyncClient,
) -> None:
    parameters = {"email": "j@acme.com", "department": "Sales", "password": "Winter2026!x"}
    first = await submit(client, "complex_onboarding", parameters)
    await finished(client, first)
    answer = await client.post(f"/executions/{first}/retry")
    assert answer.status_code == 202
    record = await finished(client, answer.json()["executionId"])
    assert answer.json()["executionId"] != first
    assert (record["status"], record["trigger"]["kind"], record["trigger"]["reference"]) == ("Success", "retry", first)


async def test_a_secret_is_masked_wherever_it_is_spilled(client: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
    secret = 'sk-"very"/secret+value=='
    assert (await admin.put("/orgs/demo/secrets/api_key", json={"value": secret})).is_success
    assert (await admin.put("/orgs/demo/config/region", json={"value": "emea"})).is_success

    async def seen() -> httpx.Response | None:
        answer = await client.post("/workflows/secretive", json={})
        return answer if answer.json().get("result", {}).get("config") == "emea" else None

    answer = await eventually(seen)
    assert answer is not None
    assert answer.json()["result"]["length"] == len(secret)
    record = await client.get(f"/executions/{answer.json()['executionId']}")
    for text in (answer.text, record.text):
        assert "very" not in text
        assert "[REDACTED]" in text
    assert (await client.get("/orgs/demo/secrets")).text.count(secret) == 0


async def test_a_result_that_is_no_json_fails_with_its_place(client: httpx.AsyncClient) -> None:
    body = (await client.post("/workflows/unserializable", json={})).json()
    assert body["error"] == "SerializationError"
    assert "users[0].home" in body["details"]["path"]


async def test_a_result_that_is_too_large_fails_and_harms_nobody(client: httpx.AsyncClient) -> None:
    body = (await client.post("/workflows/huge", json={"size": 2_000_000})).json()
    assert body["error"] == "ResultTooLarge"
    assert (await client.post("/workflows/echo", json={"value": 1})).status_code == 200
    assert len((await client.post("/workflows/huge", json={"size": 700_000})).json()["result"]) == 700_000


async def test_a_flood_of_log_lines_is_capped_and_counted(client: httpx.AsyncClient) -> None:
    body = (await client.post("/workflows/chatty", json={"lines": 10_500})).json()
    record = await finished(client, body["executionId"])
    assert len(record["logs"]) == 10_000
    assert record["dropped"] == [{"what": "log", "count": 500}] or record["dropped"][0]["count"] == 500


async def test_a_long_sleep_gives_up_its_slot_and_comes_back(client: httpx.AsyncClient, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    execution_id = await submit(client, "long_sleep", {"journal": str(journal), "seconds": 2.5})

    async def suspended() -> bool:
        return (await client.get(f"/executions/{execution_id}")).json()["status"] == "Suspended"

    await eventually(suspended)
    record = await finished(client, execution_id)
    assert (record["status"], record["result"]) == ("Success", True)
    assert notes(journal) == ["once", "before", "before"]


async def test_the_events_of_an_execution_are_streamed(client: httpx.AsyncClient) -> None:
    execution_id = await submit(client, "complex_onboarding", {"email": "a@b.c", "department": "x"})
    async with client.stream("GET", f"/executions/{execution_id}/events") as stream:
        lines = [line async for line in stream.aiter_lines()]
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event:")]
    ids = [line.removeprefix("id: ") for line in lines if line.startswith("id:")]
    assert "log" in names
    assert "checkpoint" in names
    assert names[-1] == "state"
    async with client.stream("GET", f"/executions/{execution_id}/events", headers={"Last-Event-ID": ids[2]}) as stream:
        again = [line async for line in stream.aiter_lines()]
    assert [line.removeprefix("id: ") for line in again if line.startswith("id:")] == ids[3:]


async def test_lists_show_what_was_just_submitted(client: httpx.AsyncClient) -> None:
    execution_id = (await client.post("/workflows/echo", json={})).json()["executionId"]
    page = (await client.get("/executions", params={"workflow": "echo", "limit": 1})).json()
    assert [item["executionId"] for item in page["executions"]] == [execution_id]
    assert page["next"]


async def test_a_broken_file_disables_only_itself(client: httpx.AsyncClient) -> None:
    body = (await client.get("/workflows")).json()
    assert {"echo", "steps"} <= {workflow["name"] for workflow in body["workflows"]}
    failure = next(f for f in body["failures"] if f["file"].endswith("broken.py"))
    assert "broken on purpose" in failure["message"]


async def test_code_that_kills_its_process_ends_as_failed_and_harms_nobody(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    journal = tmp_path / "notes"
    other = await submit(client, "waits", {"journal": str(tmp_path / "other"), "seconds": 2})
    poison = await submit(client, "kills_its_process", {"journal": str(journal)})
    record = await finished(client, poison)
    assert (record["status"], record["error"]) == ("Failed", "WorkerCrashed")
    assert 1 <= len(notes(journal)) <= 4
    assert (await finished(client, other))["status"] == "Success"


async def test_a_scheduled_workflow_runs_on_demand(client: httpx.AsyncClient) -> None:
    answer = await client.post("/schedules/audit/run")
    assert answer.status_code == 202
    record = await finished(client, answer.json()["executionId"])
    assert (record["result"], record["trigger"]["kind"]) == ("audited demo", "schedule")


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status"),
    [
        ("POST", "/workflows/nothing", "{}", {}, 404),
        ("GET", "/nowhere", None, {}, 404),
        ("DELETE", "/workflows/echo", None, {}, 405),
        ("POST", "/workflows/echo", "{}", {"Content-Type": "text/plain"}, 415),
        ("POST", "/workflows/echo", "{", {}, 400),
        ("POST", "/workflows/echo", "[]", {}, 400),
        ("POST", "/workflows/echo", "[" * 100_000, {}, 400),
        ("POST", "/workflows/echo", "x" * 1_000_000, {}, 413),
        ("POST", "/workflows/echo", "{}", {"Authorization": "Bearer rl_no_no"}, 401),
        ("GET", "/executions/0123456789abcdef0123456789abcdef", None, {}, 404),
        ("GET", "/executions/..%2F..%2Fx", None, {}, 404),
        ("POST", "/workflows/echo", "{}", {"X-Organization-Id": "other"}, 404),
        ("GET", "/executions?limit=x", None, {}, 400),
        ("GET", "/executions?after=%%%", None, {}, 400),
        ("POST", "/workflows/echo?delaySeconds=nan", "{}", {}, 400),
    ],
)
async def test_bad_requests_get_a_clear_answer(
    client: httpx.AsyncClient, method: str, path: str, content: str | None, headers: dict[str, str], status: int
) -> None:
    answer = await client.request(
        method, path, content=content, headers={"Content-Type": "application/json", **headers}
    )
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["status"] == "Failed"
    assert body["error"]
    assert body["message"]
