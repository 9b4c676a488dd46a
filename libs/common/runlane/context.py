"""What a workflow gets as its first argument (SPEC §3 and §5). Talks to the engine through the `Runtime` port only.

Everything that leaves a Context was sanitized here, with the secrets that this execution has seen.
"""

import asyncio
import inspect
import threading
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar, cast, overload

import msgspec
from msgspec import Raw, Struct, field

from runlane.clock import Clock, SystemClock
from runlane.contracts import subjects
from runlane.contracts.approvals import (
    DEFAULT_EXPIRY_SECONDS,
    LONGEST_WAIT_SECONDS,
    MOST_APPROVALS,
    MOST_APPROVERS,
    ApprovalAsk,
)
from runlane.contracts.events import ApprovalDecision
from runlane.contracts.requests import Caller, Trigger
from runlane.contracts.trace import (
    CallEntry,
    CheckpointEntry,
    DroppedEntry,
    LogEntry,
    ProgressEntry,
    SecretEntry,
    StepEntry,
    TraceEntry,
    VariableEntry,
)
from runlane.errors import ConfigurationError, ResultTooLarge, ValidationError, WaitTimeout
from runlane.ids import check_token
from runlane.ports import Runtime
from runlane.redaction import Redactor
from runlane.registry import integration as integration_class
from runlane.threads import in_thread

T = TypeVar("T")

#: Log lines and integration calls beyond these are counted instead of kept (`dropped` in the record).
MAX_LOGS = 10_000
MAX_LOG_BYTES = 8 * 1024 * 1024
MAX_CALLS = 10_000

#: What a step's result, a checkpoint or a variable may take as JSON: it has to fit into one message.
MAX_KEPT_BYTES = 512 * 1024

_LONGEST_MS = 7 * 86_400_000

#: What a run's step results, checkpoints and variables may take in the record; resume has what is beyond all the same.
MAX_SHOWN_BYTES = 8 * 1024 * 1024
_FULL = b'{"truncated":"the record is full"}'

LEVELS = frozenset({"debug", "info", "warning", "error", "critical"})

_MISSING: Any = object()

#: How the journal keeps that what was waited for did not come.
_NOTHING_CAME = b"{}"


class Identity(Struct, frozen=True, kw_only=True):
    """Who and what an execution is."""

    execution_id: str
    workflow: str
    org_id: str
    org_name: str
    tenant_id: str | None
    caller: Caller
    trigger: Trigger
    attempt: int = 1
    resumed: bool = False


class Received(Struct, frozen=True, omit_defaults=True):
    """What a wait for an event came to, as it is kept in the journal: an event, or that none came in time."""

    event: str | None = None
    data: Any = None


class Journal(Struct, kw_only=True):
    """What earlier runs of the execution stored, in true form: JSON by step key, variable and checkpoint name.

    `secrets`: the values that they read.
    `signals`: the events it was sent, by name in the order they came, as (id, JSON).
    """

    steps: dict[str, bytes] = field(default_factory=dict)
    variables: dict[str, bytes] = field(default_factory=dict)
    checkpoints: dict[str, bytes] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    signals: dict[str, list[tuple[str, bytes]]] = field(default_factory=dict)

    def untaken(self, name: str) -> tuple[str, bytes] | None:
        """The oldest event of that name that no wait has taken."""
        prefix = subjects.waits_for(name)
        waits = (self.steps[key] for key in self.steps if key.partition("#")[0] == prefix)
        taken = {received.event for wait in waits if (received := _received(wait)) is not None}
        return next((signal for signal in self.signals.get(name, ()) if signal[0] not in taken), None)


def _received(stored: bytes) -> Received | None:
    try:
        return msgspec.json.decode(stored, type=Received)
    except msgspec.ValidationError:
        return None  # a step of the author's that has such a name


class _Closeable(Protocol):
    async def aclose(self) -> None: ...


class Context:
    """The workflow's view of its organisation, its execution and the engine."""

    def __init__(
        self, identity: Identity, runtime: Runtime, journal: Journal | None = None, clock: Clock | None = None
    ) -> None:
        self._identity, self._runtime = identity, runtime
        self._clock: Clock = clock or SystemClock()
        self._redactor = Redactor(self._keep_secret)
        self._journal = journal or Journal()
        for secret in self._journal.secrets:
            self._redactor.learn(secret)
        self._kept_secrets = set(self._journal.secrets)
        self._learning_parameters = False
        self._variables = {name: msgspec.json.decode(value) for name, value in self._journal.variables.items()}
        self._integrations: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._dropped: dict[str, int] = {}
        self._log_bytes = 0
        self._shown_bytes = 0
        self._step_uses: dict[str, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.get_ident()

    # --- who and what ---------------------------------------------------------------------------------------------

    @property
    def org_id(self) -> str:
        return self._identity.org_id

    @property
    def org_name(self) -> str:
        return self._identity.org_name

    @property
    def tenant_id(self) -> str | None:
        """The organisation's Microsoft 365 tenant."""
        return self._identity.tenant_id

    @property
    def execution_id(self) -> str:
        return self._identity.execution_id

    @property
    def workflow_name(self) -> str:
        return self._identity.workflow

    @property
    def executed_by(self) -> str:
        """The id of the user, key or service on whose behalf this runs."""
        return self._identity.caller.id

    @property
    def executed_by_email(self) -> str | None:
        return self._identity.caller.email

    @property
    def executed_by_name(self) -> str | None:
        return self._identity.caller.name

    @property
    def trigger(self) -> Trigger:
        """What caused this execution."""
        return self._identity.trigger

    @property
    def attempt(self) -> int:
        """1 at first; one more after each failure that is retried."""
        return self._identity.attempt

    @property
    def resumed(self) -> bool:
        """Whether an earlier run of this execution got somewhere before this one."""
        return self._identity.resumed

    @property
    def idempotency_key(self) -> str:
        """The same for every run of this execution: give it to vendors, so that a retry changes nothing."""
        return uuid.uuid5(uuid.NAMESPACE_OID, f"{self.org_id}/{self.execution_id}").hex

    # --- configuration, secrets, integrations ---------------------------------------------------------------------

    def get_config(self, key: str, default: Any = None) -> Any:
        """The organisation's value of `key`, else the platform's, else `default`.

        What stands in it under the name of a secret is masked from here on.
        """
        config = self._runtime.config()
        if key not in config:
            return default
        self._redactor.sanitized({key: config[key]})
        return config[key]

    def has_config(self, key: str) -> bool:
        return key in self._runtime.config()

    async def get_secret(self, key: str, default: Any = _MISSING) -> Any:
        """The organisation's secret as a string; raises `ConfigurationError` when there is none and no `default`.

        From here on its value is masked in everything this execution writes.
        """
        value = await self._runtime.secret(key)
        if value is not None:
            self._redactor.learn(value)
            self._keep_secret(key, value)
            return value
        if default is _MISSING:
            raise ConfigurationError(
                f"The secret {key!r} is not set for organisation {self.org_id!r}: runlane secrets set {key}", key
            )
        return default

    def get_integration(self, name: str) -> Any:
        """The integration registered under `name`, one instance per execution; or `ConfigurationError`."""
        found = self._integrations.get(name)
        if found is None:
            found = self._integrations[name] = integration_class(name)(self)
        return found

    # --- what the record shows -------------------------------------------------------------------------------------

    def log(self, level: str, message: str, data: Mapping[str, Any] | None = None) -> Awaitable[None]:
        """Write a log line; `level` is debug, info, warning, error or critical. Await it to know that it is stored."""
        if level not in LEVELS:
            raise ValidationError(f"log level must be one of {', '.join(sorted(LEVELS))}, not {level!r}", "level")
        if self._log_bytes > MAX_LOG_BYTES or self._counts.get("log", 0) >= MAX_LOGS:
            self._drop("log")
            return _Nothing()
        self._counts["log"] = self._counts.get("log", 0) + 1
        shown = None if data is None else Raw(self._redactor.sanitized(data).json)
        text = self._short(message)
        self._log_bytes += len(text) + len(shown or b"")
        return self._trace(LogEntry(at=self._clock.now(), level=level, message=text, data=shown))

    def save_checkpoint(self, name: str, data: Any = None) -> Awaitable[None]:
        """Save a named snapshot for the record and for a later run (`get_checkpoint`).

        Raises `ResultTooLarge` beyond `MAX_KEPT_BYTES` of JSON, as `set_variable` and `step` do. A secret in its name
        is masked, as in theirs.
        """
        name = self._name(name)
        kept = self._redactor.sanitized(data)
        _check_kept(f"checkpoint {name!r}", kept.true_json)
        self._journal.checkpoints[name] = kept.true_json
        shown = self._shown(kept.json)
        entry = CheckpointEntry(at=self._clock.now(), name=name, data=Raw(shown))
        return self._trace(entry, None if shown is kept.true_json else kept.true_json)

    def get_checkpoint(self, name: str, default: Any = None) -> Any:
        """What was last saved under `name`, by this run or an earlier one of the same execution."""
        stored = self._journal.checkpoints.get(self._name(name))
        return default if stored is None else msgspec.json.decode(stored)

    def set_variable(self, key: str, value: Any) -> Awaitable[None]:
        """Keep a value that survives a crash or a retry of this execution."""
        key = self._name(key)
        kept = self._redactor.sanitized({key: value})
        _check_kept(f"variable {key!r}", kept.true_json)
        self._variables[key] = value
        shown = self._shown(kept.json)
        values = msgspec.json.decode(shown, type=dict[str, Raw]) if shown.startswith(b"{") else {}
        entry = VariableEntry(at=self._clock.now(), name=key, value=values.get(key, Raw(shown)))
        true = None if shown is kept.true_json else self._redactor.sanitized(value).true_json
        return self._trace(entry, true)

    def get_variable(self, key: str, default: Any = None) -> Any:
        return self._variables.get(self._name(key), default)

    def progress(self, percent: float, message: str | None = None) -> Awaitable[None]:
        """Say how far it is, 0 to 100."""
        bounded = min(100.0, max(0.0, float(percent)))
        text = None if message is None else self._short(message)
        return self._trace(ProgressEntry(at=self._clock.now(), percent=bounded, message=text))

    def _track_integration_call(  # the signature is SPEC §8's
        self,
        integration: str,
        method: str,
        endpoint: str,
        status_code: int | None,
        duration_ms: int,
        error: str | None = None,
    ) -> None:
        if self._counts.get("call", 0) >= MAX_CALLS:
            self._drop("call")
        else:
            self._counts["call"] = self._counts.get("call", 0) + 1
            duration_ms = _whole(duration_ms, most=_LONGEST_MS) or 0
            entry = CallEntry(
                at=self._clock.now() - timedelta(milliseconds=duration_ms),
                integration=self._short(integration),
                method=self._short(method),
                endpoint=self._short(endpoint),
                status_code=_whole(status_code, most=999),
                duration_ms=duration_ms,
                success=error is None,
                error=None if error is None else self._short(error),
            )
            self._trace(entry)

    # --- durable steps and waiting ---------------------------------------------------------------------------------

    @overload
    async def step(self, name: str, function: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T: ...
    @overload
    async def step(self, name: str, function: Callable[..., T], *args: Any, **kwargs: Any) -> T: ...
    async def step(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `function` once per execution: after a crash or a retry its stored result is returned instead.

        Async functions are awaited, plain ones run in a thread. The result must be JSON; what comes back is what was
        stored. Names may repeat (in a loop): each use counts on its own, so keep their order the same from run to run.
        """
        key = self._step_key(name)
        stored = self._journal.steps.get(key)
        if stored is None:
            stored = await self._run_step(key, function, args, kwargs)
        return msgspec.json.decode(stored)

    async def _run_step(
        self, key: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> bytes:
        began, at = self._clock.monotonic(), self._clock.now()
        if inspect.iscoroutinefunction(function):
            result = await function(*args, **kwargs)
        else:
            result = await in_thread(function, *args, **kwargs)
            if inspect.isawaitable(result):
                result = await result
        self._redactor.redacted(result)  # raises SerializationError where it could not be given back later
        kept = self._redactor.sanitized(result)
        _check_kept(f"result of step {key!r}", kept.true_json)
        duration = int((self._clock.monotonic() - began) * 1000)
        shown = self._shown(kept.json)
        entry = StepEntry(at=at, key=key, result=Raw(shown), duration_ms=duration)
        self._journal.steps[key] = kept.true_json
        await self._trace(entry, None if shown is kept.true_json else kept.true_json)
        return kept.true_json

    async def sleep(self, seconds: float) -> None:
        """Wait. Beyond a few seconds no slot is held: the workflow is called again when the time has come, and finished
        steps are not run again."""
        key = self._step_key("sleep")
        stored = self._journal.steps.get(key)
        if stored is None:
            until = self._clock.now() + timedelta(seconds=max(0.0, seconds))
            stored = self._journal.steps[key] = msgspec.json.encode(until)
            await self._trace(StepEntry(at=self._clock.now(), key=key, result=Raw(stored)))
        await self._runtime.sleep(msgspec.json.decode(stored, type=datetime))

    async def wait_for_event(self, name: str, *, timeout: float = 86_400) -> Any:
        """The data of the next event `name` that is sent to this execution (`POST /executions/{id}/events/{name}`).

        No slot is held meanwhile. An event that came before the wait is taken at once; each is taken by one wait, in
        the order in which they came. Raises `TimeoutError` when none comes within `timeout` seconds.
        """
        check_token(name, "name")
        _check_wait(timeout)
        key = self._step_key(subjects.waits_for(name))
        stored = self._journal.steps.get(key)
        if stored is None:
            signal = self._journal.untaken(name)
            if signal is None:
                await self._runtime.wait(subjects.waits_for(name), self._wait_until(key, timeout))
                received = Received()
            else:
                received = Received(signal[0], msgspec.json.decode(signal[1]))
            stored = await self._keep_wait(key, received)
        received = msgspec.json.decode(stored, type=Received)
        if received.event is None:
            raise WaitTimeout(f"No event {name!r} came within {timeout:g} seconds", timeout)
        self._redactor.sanitized(received.data)  # values under secret names are masked from now on
        return received.data

    async def wait_for_approval(
        self,
        message: str,
        *,
        timeout: float = DEFAULT_EXPIRY_SECONDS,
        approvers: Sequence[str] = (),
        count: int = 1,
    ) -> ApprovalDecision:
        """Ask people and return what they decided; `approved` says whether they agreed. No slot is held meanwhile.

        `approvers` are key ids, e-mail addresses, roles or permissions, nobody named meaning everyone who may approve;
        `count` of them must agree, one refusal decides. Raises `TimeoutError` when it takes them longer than `timeout`
        seconds.
        """
        _check_wait(timeout)
        _check_approvers(message, approvers, count)
        key = self._step_key("approval")
        stored = self._journal.steps.get(key)
        if stored is None:
            ask = ApprovalAsk(key, self._short(message), list(approvers), count)
            await self._runtime.wait("approval", self._wait_until(key, timeout), ask)
            stored = await self._keep_wait(key, Received())
        if stored == _NOTHING_CAME:
            raise WaitTimeout(f"Nobody decided within {timeout:g} seconds", timeout)
        return msgspec.json.decode(stored, type=ApprovalDecision)

    def _wait_until(self, key: str, timeout: float) -> datetime:
        """When the wait ends; the same for every run."""
        stored = self._journal.steps.get(f"{key} until")
        if stored is None:
            stored = msgspec.json.encode(self._clock.now() + timedelta(seconds=timeout))
            self._journal.steps[f"{key} until"] = stored
            self._trace(StepEntry(at=self._clock.now(), key=f"{key} until", result=Raw(stored)))
        return msgspec.json.decode(stored, type=datetime)

    async def _keep_wait(self, key: str, received: Received) -> bytes:
        kept = self._redactor.sanitized(msgspec.to_builtins(received))
        self._journal.steps[key] = kept.true_json
        entry = StepEntry(at=self._clock.now(), key=key, result=Raw(kept.json))
        await self._trace(entry, kept.true_json if kept.changed else None)
        return kept.true_json

    def run(self, awaitable: Coroutine[Any, Any, T]) -> T:
        """For plain (not async) workflows: run something awaitable of this context and return its result."""
        if self._loop is None or threading.get_ident() == self._thread:
            raise RuntimeError("context.run() is for plain functions; in an async workflow use await")
        return asyncio.run_coroutine_threadsafe(awaitable, self._loop).result()

    # --- for the engine --------------------------------------------------------------------------------------------

    def learn_parameters(self, parameters: dict[str, Any], sensitive: Iterable[str] = ()) -> None:
        """Mask what stands under names of secrets in the parameters, wherever the code writes it. Every run does.

        `sensitive`: parameters whose values are secrets whatever they are called.
        """
        self._learning_parameters = True
        self._redactor.sanitized(self._redactor.parameters(parameters, sensitive))
        self._learning_parameters = False

    @property
    def redactor(self) -> Redactor:
        """Knows the secrets this execution has seen."""
        return self._redactor

    @property
    def runtime(self) -> Runtime:
        """What this context stands on; integrations ask it for tokens and budgets."""
        return self._runtime

    def bind_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Say which loop the engine runs on: a plain workflow writes from a thread of its own."""
        self._loop, self._thread = loop, threading.get_ident()

    async def aclose(self) -> None:
        """The run is over: note what was dropped, close the integrations."""
        for what, count in self._dropped.items():
            self._trace(DroppedEntry(at=self._clock.now(), what=what, count=count))
        for found in self._integrations.values():
            if hasattr(found, "aclose"):
                await cast(_Closeable, found).aclose()

    def _trace(self, entry: TraceEntry, true_value: bytes | None = None) -> Awaitable[None]:
        if self._loop is not None and threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._runtime.trace, entry, true_value)
            return _Nothing()
        return self._runtime.trace(entry, true_value)

    def _keep_secret(self, name: str, value: str) -> None:
        """Have later runs mask it too: they may get it back from a step, and never read the secret itself."""
        if value not in self._kept_secrets and not self._learning_parameters:
            self._kept_secrets.add(value)
            self._trace(SecretEntry(at=self._clock.now(), name=self._name(name)), value.encode())

    def _shown(self, json: bytes) -> bytes:
        """What the record shows of a value that is kept for resume; a note once it shows as much as it may."""
        self._shown_bytes += len(json)
        return json if self._shown_bytes <= MAX_SHOWN_BYTES else _FULL

    def _drop(self, what: str) -> None:
        self._dropped[what] = self._dropped.get(what, 0) + 1

    def _name(self, name: object) -> str:
        """A name as the record shows it. What was stored is found again by the same: a name may hold a secret too."""
        return self._short(name)

    def _step_key(self, name: str) -> str:
        name = self._name(name)
        self._step_uses[name] = uses = self._step_uses.get(name, 0) + 1
        return name if uses == 1 else f"{name}#{uses}"

    def _short(self, text: object) -> str:
        shown: str = msgspec.json.decode(self._redactor.sanitized(str(text)).json)
        return shown


def _whole(value: object, most: int) -> int | None:
    """A whole number from 0 to `most`, of whatever an author's own integration hands over; None where it is none."""
    try:
        return min(max(0, int(value)), most)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return None


def _check_kept(what: str, json: bytes) -> None:
    if len(json) > MAX_KEPT_BYTES:
        raise ResultTooLarge(
            f"The {what} takes {len(json)} bytes of JSON, more than {MAX_KEPT_BYTES}: keep it elsewhere and a reference"
            " to it here.",
            details={"size_bytes": len(json), "limit_bytes": MAX_KEPT_BYTES},
        )


def _check_wait(timeout: float) -> None:
    if not 0 < timeout <= LONGEST_WAIT_SECONDS:
        raise ValidationError(f"timeout must be more than 0 and at most {LONGEST_WAIT_SECONDS:g} seconds", "timeout")


def _check_approvers(message: str, approvers: Sequence[str], count: int) -> None:
    if not message.strip():
        raise ValidationError("message must say what is to be approved", "message")
    if isinstance(approvers, str) or len(approvers) > MOST_APPROVERS or not all(approvers):
        raise ValidationError(f"approvers must be a list of at most {MOST_APPROVERS} names", "approvers")
    if not 1 <= count <= MOST_APPROVALS:
        raise ValidationError(f"count must be 1 to {MOST_APPROVALS}", "count")


class _Nothing:
    """Awaits at once: the entry was dropped, or queued from a thread that cannot wait for it."""

    def __await__(self) -> Any:
        return iter(())
