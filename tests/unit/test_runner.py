"""One run as a child makes it: whatever authors' code does at its end, an outcome comes out that can be stored."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from runlane import Context, IntegrationError, ValidationError, WorkflowException, workflow
from runlane.context import Identity
from runlane.contracts.requests import Caller, Trigger
from runlane.workflow import spec_of
from runlane_executor.frames import Outcome, Pipe, Raised, Returned, Run, ToChild, ToIntake
from runlane_executor.runner import run
from runlane_executor.runtime import PipeRuntime, Secrets
from runlane_executor.vendor_calls import VendorCalls

_decode = msgspec.msgpack.Decoder(ToIntake).decode


def runtime() -> PipeRuntime:
    return PipeRuntime("e1", Pipe(ToChild, lambda _: None, lambda: None), Secrets(), {}, VendorCalls(frozenset()))


async def outcome_of(function: Callable[..., Any]) -> Outcome:
    """What the intake would read from the pipe."""
    spec = spec_of(workflow(name="tried", description="d")(function))
    assert spec is not None
    identity = Identity(
        execution_id="e1",
        workflow="tried",
        org_id="acme",
        org_name="Acme",
        tenant_id=None,
        caller=Caller(id="tester"),
        trigger=Trigger(),
    )
    async with asyncio.timeout(10):
        outcome = await run(spec, Run(identity, b"{}"), runtime())
    heard: Outcome = _decode(msgspec.msgpack.encode(outcome))
    assert heard == outcome
    return heard


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Careless(IntegrationError):
    def __init__(self) -> None:
        """Without the base's."""


class Duplicate(ValidationError):
    """The user is there already."""


class Odd(BaseException):
    pass


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("a\ud800b"), "InternalServerError"),
        (ValidationError("a\ud800b", field="\ud800"), "ValidationError"),
        (ValidationError(17), "ValidationError"),  # type: ignore[arg-type]
        (IntegrationError(b"x", b"\xff", "abc"), "IntegrationError"),  # type: ignore[arg-type]
        (ValidationError("x" * 10_000_000, field="y" * 1_000_000), "ValidationError"),
        (Mute(), "InternalServerError"),
        (Careless(), "InternalServerError"),
        (Odd("odd"), "InternalServerError"),
        (GeneratorExit(), "InternalServerError"),
        (SystemExit(3), "InternalServerError"),
        (StopIteration(3), "InternalServerError"),
        (asyncio.CancelledError("mine"), "InternalServerError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
async def test_an_error_of_any_kind_ends_the_run(error: BaseException, code: str) -> None:
    async def raises(context: Context) -> None:
        raise error

    outcome = await outcome_of(raises)

    assert isinstance(outcome, Raised)
    assert outcome.failure.error == code
    assert len(outcome.failure.message) <= 2_000


async def test_a_plain_function_that_raises_stop_iteration_ends() -> None:
    def exhausted(context: Context) -> int:
        return next(iter([]))

    outcome = await outcome_of(exhausted)

    assert isinstance(outcome, Raised)
    assert outcome.failure.internal is not None
    assert "StopIteration" in outcome.failure.internal["message"]


async def test_a_plain_step_that_raises_stop_iteration_ends() -> None:
    async def steps(context: Context) -> int:
        return await context.step("first", next, iter([]))

    assert isinstance(await outcome_of(steps), Raised)


async def test_an_error_class_of_the_authors_own_keeps_the_kind_it_derives_from() -> None:
    async def raises(context: Context) -> None:
        raise Duplicate("there is one", field="email")

    async def raises_one_without(context: Context) -> None:
        raise WorkflowException("x")

    outcome, other = await outcome_of(raises), await outcome_of(raises_one_without)

    assert isinstance(outcome, Raised)
    assert (outcome.failure.error, outcome.failure.kind) == ("Duplicate", "ValidationError")
    assert isinstance(other, Raised)
    assert (other.failure.error, other.failure.kind) == ("WorkflowException", None)


async def test_what_a_task_that_was_left_behind_writes_later_goes_nowhere() -> None:
    late = runtime()
    late.over = True
    context = Context(
        Identity(
            execution_id="e1",
            workflow="w",
            org_id="o",
            org_name="O",
            tenant_id=None,
            caller=Caller(id="t"),
            trigger=Trigger(),
        ),
        late,
    )
    async with asyncio.timeout(5):
        await context.save_checkpoint("late", 1)


async def test_a_large_result_comes_out_whole() -> None:
    async def returns(context: Context) -> str:
        return "x" * 900 * 1024

    outcome = await outcome_of(returns)

    assert isinstance(outcome, Returned)
    assert len(outcome.result) == 900 * 1024 + 2
