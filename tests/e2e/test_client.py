"""`runlane.client` against a whole engine: each test through the client that waits and through the one that awaits."""

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runlane.client import AsyncClient, CallRefused, Client, ExecutionFailed, GatewayUnavailable, Line, NotYetEnded
from tests.support.engine import Engine


class Either:
    """One of the clients, awaited in either case; what it iterates over comes as a list."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        async def call(*args: Any, **given: Any) -> Any:
            if isinstance(self._client, Client):
                return await asyncio.to_thread(lambda: _listed(method(*args, **given)))
            found = method(*args, **given)
            if inspect.isasyncgen(found):
                return [one async for one in found]
            return await found

        return call


def _listed(found: Any) -> Any:
    return list(found) if inspect.isgenerator(found) else found


@pytest.fixture(params=["waits", "awaits"])
async def runlane(request: pytest.FixtureRequest, engine: Engine) -> AsyncIterator[Either]:
    key = engine.credentials()["admin_key"]
    if request.param == "waits":
        with Client(engine.url, key, "demo") as waiting:
            yield Either(waiting)
    else:
        async with AsyncClient(engine.url, key, "demo") as awaiting:
            yield Either(awaiting)


async def test_a_workflow_is_run_to_its_end(runlane: Either) -> None:
    ended = await runlane.run("echo", {"value": {"a": [1, "é"]}})
    assert (ended.status, ended.result, ended.workflow_name, ended.org_id) == (
        "Success",
        {"a": [1, "é"]},
        "echo",
        "demo",
    )
    assert ended.completed_at is not None
    assert ended.completed_at.tzinfo is not None


async def test_a_failure_is_raised_with_what_the_record_says(runlane: Either) -> None:
    with pytest.raises(ExecutionFailed) as failed:
        await runlane.run("fails", {"kind": "validation"})
    assert failed.value.status == "Failed"
    assert failed.value.code
    found = await runlane.execution(failed.value.execution_id)
    assert (found.ended, found.error) == (True, failed.value.code)
    with pytest.raises(ExecutionFailed):
        found.require_success()


async def test_wrong_parameters_are_refused_by_name_and_start_nothing(runlane: Either) -> None:
    with pytest.raises(CallRefused) as refused:
        await runlane.submit("typed", {"no_such": 1})
    assert (refused.value.status, refused.value.code) == (400, "ValidationError")
    with pytest.raises(CallRefused) as unknown:
        await runlane.run("no_such_workflow", {})
    assert unknown.value.status == 404


async def test_calls_under_one_key_are_one_execution(runlane: Either) -> None:
    key = f"client-{datetime.now(UTC).isoformat()}"
    first = await runlane.submit("echo", {"value": 1}, idempotency_key=key)
    again = await runlane.run("echo", {"value": 1}, idempotency_key=key)
    assert again.execution_id == first.execution_id
    with pytest.raises(CallRefused) as other:
        await runlane.submit("echo", {"value": 2}, idempotency_key=key)
    assert other.value.status == 422


async def test_what_is_not_over_in_time_goes_on_and_can_be_cancelled(runlane: Either, tmp_path: Any) -> None:
    accepted = await runlane.submit("waits", {"journal": str(tmp_path / "j"), "seconds": 30})
    with pytest.raises(NotYetEnded) as waited:
        await runlane.wait(accepted.execution_id, timeout=0)
    assert waited.value.execution_id == accepted.execution_id
    await runlane.cancel(accepted.execution_id)
    assert (await runlane.wait(accepted.execution_id, timeout=20)).status == "Cancelled"
    retried = await runlane.retry(accepted.execution_id)
    await runlane.cancel(retried.execution_id)


async def test_a_later_start_is_scheduled(runlane: Either) -> None:
    accepted = await runlane.submit("echo", {"value": 1}, run_at=datetime.now(UTC) + timedelta(hours=1))
    assert accepted.status == "Scheduled"
    await runlane.cancel(accepted.execution_id)


async def test_lists_come_page_by_page_to_their_end(runlane: Either) -> None:
    outcome = await runlane.batch("echo", [{"value": number} for number in range(7)], priority="low")
    assert len(outcome.executions) == 7
    ids = {line.execution_id for line in outcome.executions}
    for execution_id in ids:
        await runlane.wait(execution_id, timeout=30)
    found = await runlane.executions(workflow="echo", status=["Success", "Failed"], limit=3)
    assert ids <= {one.execution_id for one in found}
    assert len(found) == len({one.execution_id for one in found})


async def test_a_batch_tells_of_lines_that_are_wrong(runlane: Either) -> None:
    lines = [Line(parameters={"value": 1}), Line(parameters={"nothing": 1}), Line(delay_seconds=-1)]
    outcome = await runlane.batch("echo", lines)
    assert [line.line for line in outcome.executions] == [1]
    assert [line.line for line in outcome.errors] == [2, 3]
    nothing = await runlane.batch("echo", [Line(parameters={"nothing": 1})])
    assert (nothing.executions, len(nothing.errors)) == ([], 1)


async def test_events_are_followed_to_the_end_and_from_any_of_them(runlane: Either) -> None:
    accepted = await runlane.submit("complex_onboarding", {"email": "j@acme.com", "department": "Sales"})
    events = await runlane.events(accepted.execution_id)
    assert events[-1].name == "state"
    assert events[-1].data["status"] == "Success"
    rest = await runlane.events(accepted.execution_id, after=events[1].id)
    assert [event.id for event in rest] == [event.id for event in events[2:]]


async def test_what_waits_is_sent_what_it_waits_for(runlane: Either) -> None:
    accepted = await runlane.submit("listens", {"names": ["paid"]})
    await runlane.send_event(accepted.execution_id, "paid", {"amount": 12}, idempotency_key="invoice-7")
    await runlane.send_event(accepted.execution_id, "paid", {"amount": 12}, idempotency_key="invoice-7")
    ended = await runlane.wait(accepted.execution_id, timeout=30)
    assert "12" in str(ended.result)


async def test_approvals_are_given_and_refused(runlane: Either, engine: Engine) -> None:
    with Client(engine.url, engine.credentials()["org_key"]) as technician:
        approved = technician.submit("delete_organization", {"name": "acme"})
        rejected = technician.submit("delete_organization", {"name": "globex"})
        own = await asyncio.to_thread(_refusal_of, lambda: technician.approve(approved.execution_id))
    assert own.status == 403
    await runlane.approve(approved.execution_id, "as agreed")
    await runlane.reject(rejected.execution_id, "not now")
    assert (await runlane.wait(approved.execution_id, timeout=30)).result == "deleted acme"
    assert (await runlane.wait(rejected.execution_id, timeout=30)).status == "Cancelled"
    with pytest.raises(CallRefused) as late:
        await runlane.approve(rejected.execution_id)
    assert late.value.status == 409


def _refusal_of(call: Callable[[], object]) -> CallRefused:
    with pytest.raises(CallRefused) as refused:
        call()
    return refused.value


async def test_every_other_door_is_within_reach(runlane: Either) -> None:
    await runlane.call("PUT", "/orgs/demo/config/color", {"value": "blue"})
    assert (await runlane.call("GET", "/orgs/demo/config/color"))["value"] == "blue"
    assert await runlane.call("DELETE", "/orgs/demo/config/color") is None
    assert (await runlane.call("GET", "/workflows/echo"))["name"] == "echo"


async def test_nobody_there_is_said_without_the_key() -> None:
    with Client("http://127.0.0.1:1", "rl_k_hush") as client, pytest.raises(GatewayUnavailable) as problem:
        await asyncio.to_thread(client.execution, "x")
    assert "hush" not in str(problem.value)


def test_a_gateway_that_is_killed_costs_no_execution_and_runs_none_twice(own_engine: Engine, tmp_path: Any) -> None:
    """Calls are made while it is killed: each is sent again under its key."""
    done: list[str] = []

    def work() -> None:
        with Client(own_engine.url, own_engine.credentials()["org_key"]) as client:
            done.extend(client.run("echo", {"value": number}).execution_id for number in range(40))

    thread = threading.Thread(target=work)
    thread.start()
    own_engine.kill_service("gateway")
    thread.join(90)
    assert len(set(done)) == 40
    with Client(own_engine.url, own_engine.credentials()["org_key"]) as client:
        assert len(list(client.executions(workflow="echo"))) == 40
