"""The testing kit itself: fakes that refuse, time that moves, workflows run whole."""

import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from runlane import BaseIntegration, ConfigurationError, Context, IntegrationError, ValidationError, workflow
from runlane.testing import FakeContext, FakeIntegration, UnexpectedCall, WorkflowRun, run_workflow


class Crm(BaseIntegration):
    integration_name = "crm"
    page_size: ClassVar[int] = 50

    async def create_user(self, email: str, *, admin: bool = False) -> dict[str, str]:
        raise NotImplementedError

    async def users(self, of: str) -> AsyncIterator[str]:
        yield "the real one"

    def link(self, user: str) -> str:
        return "the real one"

    @staticmethod
    def kind(of: str) -> str:
        return "the real one"


# --- FakeContext ------------------------------------------------------------------------------------------------------


def test_a_name_that_a_context_does_not_have_can_neither_be_read_nor_set() -> None:
    context = FakeContext()
    with pytest.raises(AttributeError, match="exectued_by"):
        context.exectued_by  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(AttributeError, match="get_confg"):
        context.get_confg = lambda key: "x"  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="confg"):
        FakeContext(confg={})  # type: ignore[call-arg]


def test_an_integration_that_the_test_did_not_give_is_refused_even_if_there_is_one() -> None:
    with pytest.raises(ConfigurationError, match="gave no integration 'crm'; given: graph"):
        FakeContext(integrations={"graph": object()}).get_integration("crm")
    context = FakeContext(integrations={"crm": Crm})
    assert isinstance(context.get_integration("crm"), Crm)
    assert context.get_integration("crm") is context.get_integration("crm")


async def test_sleeping_moves_the_clock_and_nothing_else() -> None:
    context = FakeContext()
    await context.sleep(86_400)
    await context.sleep(0)
    assert context.clock.now() == datetime(2026, 1, 2, tzinfo=UTC)
    assert (context.clock.monotonic(), context.sleeps) == (86_400, [86_400])


# --- FakeIntegration --------------------------------------------------------------------------------------------------


async def test_a_fake_answers_as_the_test_says_and_records_how_it_was_asked() -> None:
    crm = FakeIntegration(
        Crm, create_user={"id": "1"}, users=["a", "b"], link=lambda user: f"/{user}", kind="x", page_size=2
    )
    assert await crm.create_user("a@b.c", admin=True) == {"id": "1"}
    assert [user async for user in crm.users(of="all")] == ["a", "b"]
    assert (crm.link("ada"), crm.kind("ada"), crm.page_size) == ("/ada", "x", 2)
    assert crm.called("create_user") == [{"email": "a@b.c", "admin": True}]
    assert [call.method for call in crm.calls] == ["create_user", "users", "link", "kind"]
    assert hasattr(crm, "aclose")
    assert not hasattr(crm, "delete_user")


async def test_a_fake_refuses_what_the_real_class_would() -> None:
    crm = FakeIntegration("crm", create_user={})
    with pytest.raises(AttributeError, match="Crm has no 'creat_user'"):
        await crm.creat_user("a@b.c")
    with pytest.raises(AttributeError, match="Crm has no 'creat_user'"):
        crm.called("creat_user")
    with pytest.raises(AttributeError, match="Crm has no 'delete_user'"):
        FakeIntegration(Crm, delete_user=None)
    for wrong in ({"e_mail": "x"}, {}, {"email": "a", "admin": True, "more": 1}):
        with pytest.raises(TypeError):
            await crm.create_user(**wrong)
    with pytest.raises(TypeError):
        await crm.create_user("a@b.c", True)


async def test_a_call_without_an_answer_is_not_swallowed_by_the_workflow() -> None:
    @workflow(name="careless", description="x")
    async def careless(context: Context) -> str:
        try:
            return str(await context.get_integration("crm").create_user("a@b.c"))
        except Exception:
            return "swallowed"

    context = FakeContext(integrations={"crm": FakeIntegration(Crm)})
    with pytest.raises(UnexpectedCall, match="create_user="):
        await careless(context)
    with pytest.raises(UnexpectedCall):
        await run_workflow(careless, context)


async def test_a_fake_raises_the_errors_it_was_given() -> None:
    crm = FakeIntegration(Crm, create_user=IntegrationError("crm", "no", 503), link=LookupError)
    with pytest.raises(IntegrationError) as raised:
        await crm.create_user("a@b.c")
    assert raised.value.status_code == 503
    with pytest.raises(LookupError):
        crm.link("x")


async def test_what_a_workflow_does_to_an_answer_does_not_change_the_next() -> None:
    crm = FakeIntegration(Crm, create_user={"id": "1"})
    (await crm.create_user("a"))["id"] = "2"
    assert await crm.create_user("a") == {"id": "1"}


# --- run_workflow -----------------------------------------------------------------------------------------------------


@workflow(name="onboard", description="Makes a user.", retry_policy={"max_attempts": 3}, tags=["user"])
async def onboard(context: Context, email: str, since: datetime, password: str = "", count: int = 1) -> dict[str, Any]:
    context.log("info", f"attempt {context.attempt}, password {password}")
    context.set_variable("seen", context.get_variable("seen", 0) + 1)
    user = await context.step("create", context.get_integration("crm").create_user, email)
    context.save_checkpoint("created", user)
    context._track_integration_call("crm", "POST", "/users", 201, 5)
    if context.attempt < 3:
        raise IntegrationError("crm", f"not yet, {password}", 503)
    await context.sleep(3600)
    return {"id": user["id"], "year": since.year, "password": password, "token": await context.get_secret("api_key")}


async def test_a_workflow_is_run_with_its_retries_steps_and_sanitization() -> None:
    crm = FakeIntegration(Crm, create_user={"id": "1"})
    context = FakeContext(integrations={"crm": crm}, secrets={"api_key": "very-secret-value"})
    run = await run_workflow(
        onboard, context, email="a@b.c", since=datetime(2025, 5, 1, tzinfo=UTC), password="Winter2026!x"
    )
    assert (run.status, run.attempts, run.error, run.exception) == ("Success", 3, None, None)
    assert run.result == {"id": "1", "year": 2025, "password": "[REDACTED]", "token": "[REDACTED]"}
    assert len(crm.calls) == 1
    assert [message for _, message in run.logs] == [
        "attempt 1, password [REDACTED]",
        "attempt 2, password [REDACTED]",
        "attempt 3, password [REDACTED]",
        "attempt 3, password [REDACTED]",
    ]
    assert (run.checkpoints, run.variables) == ({"created": {"id": "1"}}, {"seen": 4})
    assert (run.calls[0].endpoint, run.record.tags, run.record.attempt) == ("/users", ["user"], 3)
    assert [transition.status for transition in run.record.transitions] == [
        "Retrying",
        "Running",
        "Retrying",
        "Running",
        "Suspended",
        "Running",
    ]
    assert run.record.transitions[0].reason == "not yet, [REDACTED]"
    # 1 s and 2 s between the attempts, an hour of sleep.
    assert run.record.duration_ms == 3_603_000
    assert "Winter2026" not in str(run.record)


async def test_a_run_that_fails_says_why_as_the_client_sees_it() -> None:
    crm = FakeIntegration(Crm, create_user=ValidationError("Invalid email address", field="email"))
    run = await run_workflow(onboard, FakeContext(integrations={"crm": crm}), email="x", since="2025-05-01T00:00:00Z")
    assert (run.status, run.result, run.attempts) == ("Failed", None, 1)
    assert run.error is not None
    assert (run.error.error, run.error.message) == ("ValidationError", "Invalid email address")
    assert run.error.details == {"field": "email"}
    assert isinstance(run.exception, ValidationError)


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"since": "2025-05-01T00:00:00Z"}, "email"),
        ({"email": "a", "since": "yesterday"}, "since"),
        ({"email": "a", "since": "2025-05-01T00:00:00Z", "count": "1"}, "count"),
        ({"email": "a", "since": "2025-05-01T00:00:00Z", "surprise": 1}, "surprise"),
    ],
)
async def test_parameters_that_the_gateway_would_refuse_are_refused(parameters: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        await run_workflow(onboard, FakeContext(), **parameters)
    assert refused.value.field == field


async def test_an_unexpected_error_tells_the_client_nothing_and_the_test_all() -> None:
    @workflow(name="broken", description="x")
    def broken(context: Context) -> None:
        raise KeyError("hunter2")

    run = await run_workflow(broken)
    assert run.error is not None
    assert (run.error.error, run.error.details) == ("InternalServerError", {})
    assert "hunter2" not in run.error.message
    assert repr(run.exception) == "KeyError('hunter2')"


async def test_a_plain_function_sleeps_without_waiting_too() -> None:
    @workflow(name="plain", description="x", timeout_seconds=900, max_duration_seconds=900)
    def plain(context: Context) -> bool:
        context.run(context.sleep(600))
        return context.resumed

    context = FakeContext()
    run = await run_workflow(plain, context)
    assert (run.result, context.sleeps) == (True, [600])


async def test_a_workflow_that_takes_too_long_times_out() -> None:
    import asyncio

    @workflow(name="slow", description="x", timeout_seconds=0.05)
    async def slow(context: Context) -> None:
        await asyncio.Event().wait()

    @workflow(name="sleepy", description="x", timeout_seconds=10, max_duration_seconds=20)
    async def sleepy(context: Context) -> None:
        await context.sleep(30)
        await asyncio.Event().wait()

    for function in (slow, sleepy):
        run = await run_workflow(function)
        assert run.error is not None
        assert (run.status, run.error.error) == ("Failed", "TimeoutError")


async def test_a_result_that_is_no_json_fails_the_run() -> None:
    @workflow(name="odd", description="x")
    async def odd(context: Context) -> Any:
        return {"x": object()}

    run = await run_workflow(odd)
    assert run.error is not None
    assert (run.error.error, run.error.details) == ("SerializationError", {"path": "$.x"})


async def test_an_assertion_of_the_test_fails_the_test() -> None:
    def answer(email: str) -> dict[str, str]:
        assert email == "b@b.c"
        return {}

    context = FakeContext(integrations={"crm": FakeIntegration(Crm, create_user=answer)})
    with pytest.raises(AssertionError):
        await run_workflow(onboard, context, email="a@b.c", since="2025-05-01T00:00:00Z")


async def test_only_workflows_can_be_run() -> None:
    async def plain(context: Context) -> None: ...

    with pytest.raises(TypeError, match="not declared with @workflow"):
        await run_workflow(plain)


def test_a_run_can_be_had_without_an_event_loop_of_ones_own() -> None:
    import asyncio

    @workflow(name="tiny", description="x")
    async def tiny(context: Context) -> int:
        return 7

    run: WorkflowRun = asyncio.run(run_workflow(tiny))
    assert run.result == 7


# --- the plugin -------------------------------------------------------------------------------------------------------


def test_the_fake_context_fixture(fake_context: FakeContext) -> None:
    assert fake_context.org_id == "org-test"


def test_the_plugin_loads_next_to_nothing() -> None:
    script = (
        "import sys; import runlane.testing.plugin;"
        "heavy = {'nats', 'sqlalchemy', 'fastapi', 'uvicorn', 'httpx', 'typer', 'runlane.context'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
