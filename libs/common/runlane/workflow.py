"""The `@workflow` decorator: checks what an author declares and attaches a `WorkflowSpec`. `registry` finds the specs.

Everything wrong is a `DefinitionError` at import that names file, line, workflow and argument, and says what to do.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Raw

from runlane.contracts.directory import ExecutionMode, Manifest, Priority, RetrySettings
from runlane.cron import Schedule
from runlane.errors import DefinitionError
from runlane.retry import RetryPolicy
from runlane.schema import Signature, UnsupportedSignature, read_signature

__all__ = ["MAX_DURATION_SECONDS", "RetryPolicy", "WorkflowSpec", "spec_of", "workflow"]

#: What neither `timeout_seconds` nor `max_duration_seconds` may exceed.
MAX_DURATION_SECONDS = 86_400
DEFAULT_TIMEOUT_SECONDS = 300

#: The schedule's time zone is each organisation's own.
ORG_TIME_ZONE = "org"

_ATTRIBUTE = "__runlane__"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class WorkflowSpec:
    """A workflow as it was declared: what the world may know of it, and the function."""

    manifest: Manifest
    function: Callable[..., Any]
    is_async: bool
    signature: Signature

    def bind(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """JSON values as keyword arguments of the annotated types; call `function(context, **arguments)` with them.

        Raises `ValidationError` with the offending field, such as `email`, `address.city` or `users[2].email`.
        """
        return self.signature.bind(parameters)


def workflow(  # noqa: PLR0913  SPEC §7 promises these arguments, by name
    *,
    name: str,
    description: str,
    category: str = "General",
    tags: Sequence[str] = (),
    execution_mode: ExecutionMode = "sync",
    timeout_seconds: float | None = None,
    max_duration_seconds: float | None = None,
    retry_policy: RetryPolicy | Mapping[str, Any] | None = None,
    schedule: str | None = None,
    schedule_time_zone: str = "UTC",
    misfire_policy: Literal["skip", "once", "all"] = "once",
    misfire_window_seconds: float = 86_400,
    overlap_policy: Literal["allow", "skip", "cancel_previous"] = "allow",
    jitter_seconds: float = 0,
    requires_org: bool = True,
    expose_in_forms: bool = True,
    requires_approval: bool = False,
    required_permission: str = "canExecuteWorkflows",
    webhook_enabled: bool = False,
    webhook_secret_required: bool = True,
    data_provider: bool = False,
    priority: Priority | None = None,
    max_concurrent: int | None = None,
    max_concurrent_per_org: int | None = None,
    concurrency_key: str | None = None,
    max_concurrent_per_key: int = 1,
) -> Callable[[_F], _F]:
    """Declare a workflow. The function itself is returned and stays callable; its first parameter is the context.

    Args:
        name: What callers say; snake_case, unique among all workflows.
        description: For people.
        category: For grouping.
        tags: For filtering.
        execution_mode: `sync` answers with the result, `async` at once; `scheduled` is started by its `schedule`.
        timeout_seconds: After so long an attempt is ended (default 300).
        max_duration_seconds: After so long the execution is ended, all attempts together (default 300, and never less
            than `timeout_seconds`).
        retry_policy: A `RetryPolicy`, or a dict of its fields. Without one there is a single attempt.
        schedule: Five cron fields or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
        schedule_time_zone: An IANA name, or `org` for each organisation's own.
        misfire_policy: What becomes of ticks missed while no scheduler ran: none, the last one or all are made up for.
        misfire_window_seconds: Ticks older than this are not made up for.
        overlap_policy: What a tick does while the execution before it still runs.
        jitter_seconds: A tick is delayed by up to this much, always the same for the same tick.
        requires_org: Whether it runs for an organisation.
        expose_in_forms: Whether forms may call it.
        requires_approval: Whether someone has to approve each execution.
        required_permission: What a caller must hold.
        webhook_enabled: Whether webhooks may call it; needs `execution_mode="async"`.
        webhook_secret_required: Whether a webhook must bring its secret.
        data_provider: Whether forms may ask it for choices; it returns a list of `{"value": …, "label": …}`. Needs
            `execution_mode="sync"`.
        priority: `high` passes by what its organisation has waiting, as long as that is little; `low` never gets in the
            way of others. By default high where a caller waits, else normal.
        max_concurrent: So many executions of it run at once in the whole engine; the rest wait, first come first
            served.
        max_concurrent_per_org: So many in one organisation.
        concurrency_key: The name of a parameter: of executions of one organisation with the same value, such as a
            mailbox, `max_concurrent_per_key` run at once.
        max_concurrent_per_key: See `concurrency_key`.

    Raises:
        DefinitionError: What is declared cannot work.
    """
    declared: dict[str, Any] = dict(locals())

    def declare(function: _F) -> _F:
        spec = _Declaration(function, declared).spec()
        setattr(function, _ATTRIBUTE, spec)
        return function

    return declare


def spec_of(value: object) -> WorkflowSpec | None:
    """The workflow that a function is, None where it is none."""
    spec = getattr(value, _ATTRIBUTE, None) if inspect.isroutine(value) else None
    return spec if isinstance(spec, WorkflowSpec) else None


class _Declaration:
    """The arguments of one `@workflow` on one function, on their way to a spec."""

    def __init__(self, function: Callable[..., Any], declared: Mapping[str, Any]) -> None:
        self._function = function
        self._declared = declared

    def spec(self) -> WorkflowSpec:
        self._check_function()
        self._check_types()
        self._check_words()
        timeout, max_duration = self._limits()
        signature = self._signature()
        self._check_schedule(signature)
        self._check_concurrency(signature)
        manifest = Manifest(
            **{
                **self._declared_as_stored(),
                "timeout_seconds": timeout,
                "max_duration_seconds": max_duration,
                "retry": self._retry(),
                "parameters": Raw(msgspec.json.encode(signature.schema)),
                "source_file": self._place[0],
                "source_line": self._place[1],
            }
        )
        # A plain wrapper around an async function returns its coroutine.
        is_async = any(map(inspect.iscoroutinefunction, (self._function, inspect.unwrap(self._function))))
        return WorkflowSpec(manifest, self._function, is_async, signature)

    @property
    def _place(self) -> tuple[str, int]:
        code = getattr(inspect.unwrap(self._function), "__code__", None)
        return (code.co_filename, code.co_firstlineno) if code is not None else ("?", 0)

    def _wrong(self, argument: str | None, reason: str) -> DefinitionError:
        file, line = self._place
        where = f"argument `{argument}`: " if argument is not None else ""
        return DefinitionError(f"{file}:{line}: workflow {self._declared['name']!r}: {where}{reason}")

    def _check_function(self) -> None:
        function = self._function
        if not inspect.isfunction(function):
            raise self._wrong(None, "`@workflow` goes on a function; move the code of a class or object into one")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise self._wrong(None, "a workflow returns its result: replace `yield` by `return` or `context.progress`")
        if _ATTRIBUTE in vars(function):
            raise self._wrong(None, f"this function is workflow {vars(function)[_ATTRIBUTE].manifest.name!r} already")

    def _declared_as_stored(self) -> dict[str, Any]:
        names = {field.name for field in msgspec.structs.fields(Manifest)}
        stored = {name: value for name, value in self._declared.items() if name in names}
        return {**stored, "tags": list(self._declared["tags"])}

    def _check_types(self) -> None:
        types = {field.name: field.type for field in msgspec.structs.fields(Manifest)}
        for argument, value in self._declared.items():
            if argument not in types or (value is None and argument in ("timeout_seconds", "max_duration_seconds")):
                continue
            try:
                msgspec.convert(value, types[argument])
            except msgspec.ValidationError as problem:
                raise self._wrong(argument, _expectation(types[argument], value, problem)) from None

    def _check_words(self) -> None:
        declared = self._declared
        if not _NAME.fullmatch(declared["name"]):
            raise self._wrong("name", "write it in snake_case: a-z first, then a-z, 0-9 and _, at most 64 in all")
        for argument in ("description", "category", "required_permission"):
            if not declared[argument].strip():
                raise self._wrong(argument, "it must not be empty")
        for argument in ("misfire_window_seconds", "jitter_seconds"):
            if not 0 <= declared[argument] <= MAX_DURATION_SECONDS * 7:
                raise self._wrong(argument, f"give seconds from 0 to 7 days, not {declared[argument]}")
        if declared["webhook_enabled"] and declared["execution_mode"] != "async":
            raise self._wrong("webhook_enabled", 'a webhook is always answered at once: set execution_mode="async"')
        if declared["data_provider"]:
            self._check_data_provider()

    def _check_data_provider(self) -> None:
        declared = self._declared
        if declared["execution_mode"] != "sync":
            raise self._wrong("data_provider", 'a form waits for its choices: set execution_mode="sync"')
        if declared["requires_approval"]:
            raise self._wrong("data_provider", "a form cannot wait for an approval: drop requires_approval")

    def _limits(self) -> tuple[float, float]:
        """(timeout, max duration): where only one is given, the other one's default gives way."""
        timeout, longest = self._declared["timeout_seconds"], self._declared["max_duration_seconds"]
        for argument, value in (("timeout_seconds", timeout), ("max_duration_seconds", longest)):
            if value is not None and not 0 < value <= MAX_DURATION_SECONDS:
                raise self._wrong(argument, f"give seconds above 0 and up to {MAX_DURATION_SECONDS}, not {value}")
        if timeout is None:
            timeout = min(DEFAULT_TIMEOUT_SECONDS, longest or DEFAULT_TIMEOUT_SECONDS)
        if longest is None:
            longest = max(DEFAULT_TIMEOUT_SECONDS, timeout)
        if timeout > longest:
            raise self._wrong(
                "timeout_seconds",
                f"{timeout:g} is more than max_duration_seconds ({longest:g}): raise that, or lower this",
            )
        return timeout, longest

    def _retry(self) -> RetrySettings:
        policy = self._declared["retry_policy"]
        try:
            if policy is None:
                return RetrySettings()
            if isinstance(policy, RetryPolicy):
                return policy.settings()
            if not isinstance(policy, Mapping):
                raise ValueError(f"give a RetryPolicy or a dict, not {policy!r}")
            unknown = [str(name) for name in policy if name not in RetryPolicy.__struct_fields__]
            if unknown:
                known = ", ".join(RetryPolicy.__struct_fields__)
                raise ValueError(f"there is no `{unknown[0]}`; there is {known}")
            return RetryPolicy(**policy).settings()
        except ValueError as problem:
            raise self._wrong("retry_policy", str(problem)) from None

    def _signature(self) -> Signature:
        try:
            return read_signature(self._function)
        except UnsupportedSignature as problem:
            where = f"parameter `{problem.argument}`: " if problem.argument is not None else ""
            raise self._wrong(None, f"{where}{problem.reason}") from None

    def _check_schedule(self, signature: Signature) -> None:
        schedule = self._declared["schedule"]
        self._check_time_zone(self._declared["schedule_time_zone"])
        if schedule is None:
            if self._declared["execution_mode"] == "scheduled":
                raise self._wrong("schedule", 'execution_mode="scheduled" needs one, such as schedule="0 9 * * *"')
            return
        try:
            Schedule.parse(schedule)
        except ValueError as problem:
            raise self._wrong("schedule", str(problem)) from None
        needed = [name for name, parameter in signature.parameters.items() if parameter.required]
        if needed:
            raise self._wrong("schedule", f"nobody gives a tick its parameters: give `{needed[0]}` a default value")

    def _check_concurrency(self, signature: Signature) -> None:
        for argument in ("max_concurrent", "max_concurrent_per_org", "max_concurrent_per_key"):
            if self._declared[argument] is not None and self._declared[argument] < 1:
                raise self._wrong(argument, f"give a number from 1, not {self._declared[argument]}")
        key = self._declared["concurrency_key"]
        if key is not None and key not in signature.parameters:
            known = ", ".join(signature.parameters) or "it has none"
            raise self._wrong("concurrency_key", f"{key!r} is no parameter of it ({known})")

    def _check_time_zone(self, zone: str) -> None:
        if zone in ("UTC", ORG_TIME_ZONE):
            return
        try:
            Schedule.parse("@daily", zone)
        except ValueError as problem:
            raise self._wrong("schedule_time_zone", str(problem)) from None


def _expectation(type_: Any, value: object, problem: msgspec.ValidationError) -> str:
    if get_origin(type_) is Literal:
        return f"choose one of {', '.join(map(repr, get_args(type_)))}, not {value!r}"
    return f"{str(problem).partition(' - at ')[0]}: {value!r} cannot be used"
