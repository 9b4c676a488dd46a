"""The `@workflow` decorator: what it accepts, keeps and refuses."""

import functools
import inspect
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import pytest

from runlane.contracts.directory import Manifest, RetrySettings, decode_entry
from runlane.errors import DefinitionError, ValidationError
from runlane.workflow import MAX_DURATION_SECONDS, RetryPolicy, WorkflowSpec, spec_of, workflow


def declared(function: Callable[..., Any]) -> WorkflowSpec:
    spec = spec_of(function)
    assert spec is not None
    return spec


async def takes_nothing(context: Any) -> None: ...
async def may_take_email(context: Any, email: str = "") -> None: ...


def define(function: Callable[..., Any] | None = None, **arguments: Any) -> Manifest:
    async def fresh(context: Any) -> None: ...

    arguments = {"name": "sample", "description": "A sample", **arguments}
    return declared(workflow(**arguments)(function or fresh)).manifest


def test_the_function_is_returned_and_stays_callable() -> None:
    async def greet(context: Any, name: str) -> dict[str, str]:
        return {"hello": name}

    decorated = workflow(name="greet", description="Greets")(greet)
    assert decorated is greet
    assert decorated.__runlane__ is declared(greet)  # type: ignore[attr-defined]
    coroutine = decorated(object(), name="Ada")
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    assert stopped.value.value == {"hello": "Ada"}


def test_defaults_are_those_of_the_reference() -> None:
    manifest = define()
    assert (manifest.category, manifest.tags, manifest.execution_mode) == ("General", [], "sync")
    assert (manifest.timeout_seconds, manifest.max_duration_seconds) == (300, 300)
    assert (manifest.retry, manifest.schedule) == (RetrySettings(), None)
    assert manifest.retry.max_attempts == 1
    assert (manifest.requires_org, manifest.expose_in_forms, manifest.requires_approval) == (True, True, False)
    assert manifest.required_permission == "canExecuteWorkflows"
    assert (manifest.webhook_enabled, manifest.webhook_secret_required) == (False, True)


def test_every_argument_reaches_the_manifest() -> None:
    arguments: dict[str, Any] = {
        "category": "users",
        "tags": ["m365", "user"],
        "execution_mode": "async",
        "timeout_seconds": 60.5,
        "max_duration_seconds": 600,
        "schedule": "0 9 * * *",
        "schedule_time_zone": "Europe/Berlin",
        "misfire_policy": "all",
        "misfire_window_seconds": 60,
        "overlap_policy": "skip",
        "jitter_seconds": 5,
        "requires_org": False,
        "expose_in_forms": False,
        "requires_approval": True,
        "required_permission": "canDelete",
        "webhook_enabled": True,
        "webhook_secret_required": False,
        "data_provider": False,
        "priority": "low",
        "max_concurrent": 10,
        "max_concurrent_per_org": 2,
        "concurrency_key": "email",
        "max_concurrent_per_key": 3,
    }
    manifest = define(may_take_email, retry_policy={"max_attempts": 3, "backoff_multiplier": 2}, **arguments)
    assert {name: getattr(manifest, name) for name in arguments} == arguments
    assert manifest.retry == RetrySettings(max_attempts=3, backoff_multiplier=2)
    assert set(arguments) | {"name", "description", "retry_policy"} == set(inspect.signature(workflow).parameters)


def test_a_data_provider_is_one_in_its_manifest() -> None:
    assert define(data_provider=True).data_provider
    assert not define().data_provider


def test_the_manifest_survives_its_way_through_the_directory() -> None:
    async def create(context: Any, email: str, age: int = 3) -> None: ...

    manifest = define(create, tags=("a",))
    entry = decode_entry("workflows.sample", msgspec.json.encode(manifest))
    assert isinstance(entry, Manifest)
    assert json.loads(bytes(entry.parameters))["required"] == ["email"]
    assert entry.source_file == __file__
    assert entry.source_line == create.__code__.co_firstlineno


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (300, 300)),
        ({"timeout_seconds": 30}, (30, 300)),
        ({"timeout_seconds": 600}, (600, 600)),
        ({"max_duration_seconds": 600}, (300, 600)),
        ({"max_duration_seconds": 60}, (60, 60)),
        ({"timeout_seconds": 10, "max_duration_seconds": 20}, (10, 20)),
        ({"timeout_seconds": MAX_DURATION_SECONDS}, (MAX_DURATION_SECONDS, MAX_DURATION_SECONDS)),
    ],
)
def test_the_limit_that_is_not_given_gives_way(given: dict[str, Any], expected: tuple[float, float]) -> None:
    manifest = define(**given)
    assert (manifest.timeout_seconds, manifest.max_duration_seconds) == expected


def test_a_retry_policy_may_be_a_struct_with_classes() -> None:
    policy = RetryPolicy(max_attempts=4, non_retryable=[KeyError, "HaloError"])
    assert define(retry_policy=policy).retry == RetrySettings(max_attempts=4, non_retryable=["KeyError", "HaloError"])
    assert define(retry_policy={"non_retryable": [ValidationError]}).retry.non_retryable == ["ValidationError"]


def test_a_schedule_may_use_an_alias_and_each_organisations_zone() -> None:
    manifest = define(execution_mode="scheduled", schedule="@daily", schedule_time_zone="org")
    assert (manifest.schedule, manifest.schedule_time_zone) == ("@daily", "org")


def test_plain_async_and_wrapped_functions_are_told_apart() -> None:
    def plain(context: Any) -> None: ...

    async def asynchronous(context: Any) -> None: ...

    @functools.wraps(asynchronous)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return asynchronous(*args, **kwargs)

    kinds = [declared(workflow(name="w", description="d")(function)).is_async for function in (plain, wrapped)]
    assert kinds == [False, True]
    assert declared(workflow(name="w", description="d")(asynchronous)).is_async


def test_binding_goes_by_the_signature() -> None:
    async def create(anything: Any, count: int, *, label: str = "x") -> None: ...

    spec = declared(workflow(name="create", description="d")(create))
    assert spec.bind({"count": 2, "label": "y"}) == {"count": 2, "label": "y"}
    with pytest.raises(ValidationError) as caught:
        spec.bind({"count": "2"})
    assert caught.value.details == {"field": "count"}


async def needs_email(context: Any, email: str) -> None: ...
async def yields(context: Any) -> AsyncIterator[int]:
    yield 1


def generates(context: Any) -> Iterator[int]:
    yield 1


async def without_context() -> None: ...
async def with_callable(context: Any, hook: Callable[[], None]) -> None: ...
async def positional_only(context: Any, email: str, /) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"name": "Not Snake"}, "`name`"),
        ({"name": "1st"}, "`name`"),
        ({"name": "a" * 65}, "`name`"),
        ({"name": "a.b"}, "`name`"),
        ({"name": 5}, "`name`"),
        ({"description": " "}, "`description`"),
        ({"description": None}, "`description`"),
        ({"category": ""}, "`category`"),
        ({"tags": "m365"}, "`tags`"),
        ({"tags": [1]}, "`tags`"),
        ({"execution_mode": "later"}, "`execution_mode`: choose one of 'sync', 'async', 'scheduled'"),
        ({"timeout_seconds": 0}, "`timeout_seconds`"),
        ({"timeout_seconds": -1}, "`timeout_seconds`"),
        ({"timeout_seconds": "30"}, "`timeout_seconds`"),
        ({"timeout_seconds": True}, "`timeout_seconds`"),
        ({"timeout_seconds": float("nan")}, "`timeout_seconds`"),
        ({"timeout_seconds": MAX_DURATION_SECONDS + 1}, "`timeout_seconds`"),
        ({"max_duration_seconds": float("inf")}, "`max_duration_seconds`"),
        ({"timeout_seconds": 60, "max_duration_seconds": 30}, "`timeout_seconds`: 60 is more than"),
        ({"retry_policy": {"attempts": 3}}, "`retry_policy`: there is no `attempts`"),
        ({"retry_policy": {"max_attempts": 0}}, "`retry_policy`"),
        ({"retry_policy": {"max_attempts": "3"}}, "`retry_policy`"),
        ({"retry_policy": RetryPolicy(jitter=5)}, "`retry_policy`"),
        ({"retry_policy": 3}, "`retry_policy`"),
        ({"schedule": "0 25 * * *"}, "`schedule`"),
        ({"schedule": "0 0 31 2 *"}, "`schedule`"),
        ({"schedule": 5}, "`schedule`"),
        ({"execution_mode": "scheduled"}, "`schedule`"),
        (
            {"function": needs_email, "schedule": "@daily"},
            "`schedule`: nobody gives a tick its parameters: give `email`",
        ),
        ({"schedule": "@daily", "schedule_time_zone": "Mars/Olympus"}, "`schedule_time_zone`"),
        ({"schedule_time_zone": "Mars/Olympus"}, "`schedule_time_zone`"),
        ({"misfire_policy": "never"}, "`misfire_policy`"),
        ({"misfire_window_seconds": -1}, "`misfire_window_seconds`"),
        ({"overlap_policy": "queue"}, "`overlap_policy`"),
        ({"jitter_seconds": float("nan")}, "`jitter_seconds`"),
        ({"requires_org": "yes"}, "`requires_org`"),
        ({"required_permission": ""}, "`required_permission`"),
        ({"priority": "urgent"}, "`priority`"),
        ({"max_concurrent": 0}, "`max_concurrent`: give a number from 1"),
        ({"max_concurrent_per_org": -1}, "`max_concurrent_per_org`"),
        ({"max_concurrent_per_key": "2"}, "`max_concurrent_per_key`"),
        ({"concurrency_key": "mailbox"}, "`concurrency_key`: 'mailbox' is no parameter"),
        (
            {"data_provider": True, "execution_mode": "async"},
            '`data_provider`: a form waits for its choices: set execution_mode="sync"',
        ),
        (
            {"data_provider": True, "requires_approval": True},
            "`data_provider`: a form cannot wait for an approval: drop requires_approval",
        ),
        (
            {"webhook_enabled": True},
            '`webhook_enabled`: a webhook is always answered at once: set execution_mode="async"',
        ),
        ({"function": yields}, "replace `yield`"),
        ({"function": generates}, "replace `yield`"),
        ({"function": without_context}, "the first parameter must be the context"),
        ({"function": with_callable}, "parameter `hook`"),
        ({"function": positional_only}, "parameter `email`"),
        ({"function": functools.partial(takes_nothing)}, "goes on a function"),
        ({"function": dict}, "goes on a function"),
    ],
)
def test_what_cannot_work_is_refused_with_place_workflow_and_argument(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        define(**arguments)
    message = caught.value.message
    assert named in message
    assert f"workflow {arguments.get('name', 'sample')!r}: " in message
    if inspect.isfunction(arguments.get("function", takes_nothing)):
        assert message.startswith(f"{__file__}:")


def test_one_function_is_one_workflow() -> None:
    async def once(context: Any) -> None: ...

    workflow(name="first", description="d")(once)
    with pytest.raises(DefinitionError, match="is workflow 'first' already"):
        workflow(name="second", description="d")(once)


def test_other_values_are_no_workflows() -> None:
    class Pretender:
        def __getattr__(self, name: str) -> Any:
            return self

    assert spec_of(takes_nothing) is None
    assert spec_of(Pretender()) is None
    assert spec_of(None) is None


def test_importing_the_decorator_is_cheap() -> None:
    code = (
        "import sys, runlane.workflow, runlane.redaction;"
        "print([name for name in ('pydantic', 'croniter', 'cronsim', 'nats', 'sqlalchemy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
