"""The Context as a workflow sees it, over memory."""

import asyncio
from typing import Any

import msgspec
import pytest

from runlane import ConfigurationError, Context, SerializationError, ValidationError, workflow
from runlane.context import MAX_SHOWN_BYTES
from runlane.contracts.trace import TraceEntry
from runlane.errors import ResultTooLarge
from runlane.testing import FakeContext


@workflow(name="onboard_user", description="SPEC §9's example")
async def onboard_user(context: Context, email: str, first_name: str, last_name: str) -> dict[str, object]:
    graph = context.get_integration("msgraph")
    user = await graph.create_user(email, first_name, last_name)
    return {"success": True, "user_id": user["id"]}


class Graph:
    async def create_user(self, *_: str) -> dict[str, str]:
        return {"id": "user-456"}


async def test_a_decorated_workflow_is_called_like_any_function() -> None:
    context = FakeContext(integrations={"msgraph": Graph()})
    assert await onboard_user(context, email="t@example.com", first_name="T", last_name="U") == {
        "success": True,
        "user_id": "user-456",
    }


async def test_a_misspelt_name_fails() -> None:
    with pytest.raises(AttributeError):
        FakeContext().save_checkpiont("x", {})  # type: ignore[attr-defined]


async def test_what_is_written_is_seen_sanitized() -> None:
    context = FakeContext(secrets={"api_key": "very-secret-value"}, config={"region": "emea"})
    secret = await context.get_secret("api_key")
    context.log("info", f"using {secret}")
    context.save_checkpoint("one", {"password": "hunter2hunter2", "user": "ada"})
    context.set_variable("token", "tok-12345678")
    context.set_variable("count", 3)
    context.progress(150)
    assert context.logs == [("info", "using [REDACTED]")]
    assert context.checkpoints == {"one": {"password": "[REDACTED]", "user": "ada"}}
    assert context.variables == {"token": "[REDACTED]", "count": 3}
    assert context.get_variable("token") == "tok-12345678"
    assert context.get_checkpoint("one") == {"password": "hunter2hunter2", "user": "ada"}
    assert context.progresses == [100.0]
    assert (context.get_config("region"), context.get_config("no", 1), context.has_config("no")) == ("emea", 1, False)


async def test_a_missing_secret_says_how_to_set_it() -> None:
    with pytest.raises(ConfigurationError, match="runlane secrets set api_key"):
        await FakeContext().get_secret("api_key")
    assert await FakeContext().get_secret("api_key", None) is None


async def test_an_unknown_log_level_is_refused() -> None:
    with pytest.raises(ValidationError, match="level"):
        FakeContext().log("loud", "x")


async def test_a_step_runs_once_and_each_use_of_a_name_counts_on_its_own() -> None:
    context = FakeContext(steps={"work": {"n": 1}})
    ran = []

    async def work(n: int) -> dict[str, int]:
        ran.append(n)
        return {"n": n}

    assert await context.step("work", work, 10) == {"n": 1}
    assert await context.step("work", work, 20) == {"n": 20}
    assert ran == [20]


async def test_a_plain_function_may_be_a_step() -> None:
    assert await FakeContext().step("add", lambda a, b: a + b, 1, 2) == 3


async def test_a_step_that_fails_is_not_stored() -> None:
    context = FakeContext()

    async def broken() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await context.step("once", broken)
    assert context._memory.entries == []


async def test_a_step_result_that_could_not_be_given_back_is_refused() -> None:
    with pytest.raises(SerializationError):
        await FakeContext().step("once", lambda: {"x": object()})


async def test_sleeping_moves_the_clock_only() -> None:
    context = FakeContext()
    before = context.clock.now()
    await context.sleep(86_400)
    assert (context.clock.now() - before).total_seconds() == 86_400


async def test_a_plain_workflow_may_run_awaitables_of_its_context() -> None:
    context = FakeContext(secrets={"api_key": "s3cret-s3cret"})
    context.bind_loop(asyncio.get_running_loop())
    assert await asyncio.to_thread(lambda: context.run(context.get_secret("api_key"))) == "s3cret-s3cret"
    coroutine = context.get_secret("api_key")
    with pytest.raises(RuntimeError, match="await"):
        context.run(coroutine)
    coroutine.close()


def test_the_idempotency_key_is_the_same_for_the_same_execution_only() -> None:
    first, second = FakeContext(), FakeContext()
    assert first.idempotency_key == first.idempotency_key != second.idempotency_key


async def test_what_could_not_be_there_on_resume_is_refused_at_once() -> None:
    context = FakeContext()
    large = "x" * 600_000
    with pytest.raises(ResultTooLarge, match="step 'once'"):
        await context.step("once", lambda: large)
    with pytest.raises(ResultTooLarge, match="checkpoint 'c'"):
        context.save_checkpoint("c", large)
    with pytest.raises(ResultTooLarge, match="variable 'v'"):
        context.set_variable("v", large)
    assert (context.get_variable("v"), context.get_checkpoint("c"), context._memory.entries) == (None, None, [])


async def test_log_data_beyond_the_cap_is_counted_instead_of_kept() -> None:
    context = FakeContext()
    for _ in range(300):
        context.log("info", "much", {"data": ["x" * 900] * 60})
    await context.aclose()
    kept = len(context.logs)
    assert 100 < kept < 300
    assert context._memory.entries[-1].count == 300 - kept  # type: ignore[union-attr]


async def test_names_and_calls_of_the_wrong_type_make_entries_that_can_be_read() -> None:
    """An entry that nobody could decode used to keep its execution out of the records, and the next claim from it."""
    context = FakeContext()
    odd: Any = 17
    context.save_checkpoint(odd, {"a": 1})
    context.save_checkpoint("\ud800", "\ud800")
    context.set_variable(odd, 1)
    context.progress(5, odd)
    context._track_integration_call("x", "GET", "/a", "200", 1.5, None)  # type: ignore[arg-type]
    context._track_integration_call(None, b"G", odd, None, -5, ValueError("x"))  # type: ignore[arg-type]
    context._track_integration_call("x", "GET", "\ud800", 10**30, float("nan"), "\ud800")  # type: ignore[arg-type]
    await context.step(odd, lambda: 1)

    entries = context._memory.entries
    assert msgspec.json.decode(msgspec.json.encode(entries), type=list[TraceEntry]) == entries
    assert (context.get_checkpoint(odd), context.get_variable(odd)) == ({"a": 1}, 1)
    assert [call.status_code for call in context.calls] == [200, None, 999]


async def test_a_secret_in_a_name_is_masked_and_the_value_is_found_again() -> None:
    context = FakeContext(secrets={"api_key": "very-secret-value"})
    secret = await context.get_secret("api_key")
    context.save_checkpoint(f"for {secret}", 1)
    context.set_variable(f"for {secret}", 2)
    await context.step(f"for {secret}", lambda: 3)
    context._track_integration_call(f"{secret}", f"{secret}", "/", 200, 1)

    assert b"very-secret-value" not in msgspec.json.encode(context._memory.entries)
    assert (context.get_checkpoint(f"for {secret}"), context.get_variable(f"for {secret}")) == (1, 2)
    assert context.variables == {"for [REDACTED]": 2}


async def test_a_record_is_bounded_and_what_it_leaves_out_is_kept_for_resume() -> None:
    context = FakeContext()
    value = ["x" * 900] * 60
    for n in range(300):
        context.save_checkpoint(f"c{n}", value)
    context.set_variable("v", value)

    assert len(msgspec.json.encode(context._memory.entries)) < MAX_SHOWN_BYTES + 1024 * 1024
    assert context.checkpoints["c299"] == {"truncated": "the record is full"}
    assert context.get_checkpoint("c299") == value
    assert context.get_variable("v") == value
