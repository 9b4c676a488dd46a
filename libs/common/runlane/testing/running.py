"""A workflow run whole, in memory: parameters checked, retries, suspensions, steps, sanitization, and the record of it.

What the engine does with processes and streams happens here in one coroutine, by the same events and the same folding.
"""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from runlane.contracts.directory import Manifest
from runlane.contracts.events import (
    Failed,
    FailedData,
    Failure,
    Queued,
    QueuedData,
    Retrying,
    RetryingData,
    Started,
    StartedData,
    StateEvent,
    Succeeded,
    SucceededData,
    Suspended,
    SuspendedData,
)
from runlane.contracts.records import Record, fold
from runlane.contracts.requests import Trigger
from runlane.contracts.trace import CallEntry, TraceEntry
from runlane.errors import InternalServerError, TimeoutError, WorkflowException
from runlane.parameters import Validators
from runlane.ports import Suspend
from runlane.redaction import Redactor
from runlane.retry import delay_seconds, may_retry
from runlane.testing.context import FakeContext
from runlane.workflow import WorkflowSpec, spec_of

__all__ = ["WorkflowRun", "run_workflow"]


class WorkflowRun(Struct, frozen=True, kw_only=True):
    """How an execution went, as its record would show it.

    `status` is Success, Failed or Suspended (it waits for something that no clock brings). `result` is redacted.
    `error` has `error`, `message` and `details` as a client sees them; `exception` is what was really raised last.
    """

    status: str
    result: Any
    error: Failure | None
    exception: BaseException | None
    attempts: int
    logs: list[tuple[str, str]]
    checkpoints: dict[str, Any]
    variables: dict[str, Any]
    calls: list[CallEntry]
    record: Record


async def run_workflow(
    function: Callable[..., Any], context: FakeContext | None = None, /, **parameters: Any
) -> WorkflowRun:
    """Run a `@workflow` function as the engine would, without waiting: sleeps and retry delays move `context.clock`.

    Parameters travel as JSON, and those that the gateway would refuse raise its `ValidationError`: there is no
    execution then. A sleep of more than two seconds ends the run and calls the function again afterwards, as in the
    engine; finished steps are not run again. An attempt that takes longer than `timeout_seconds` of real time fails.
    """
    spec = spec_of(function)
    if spec is None:
        raise TypeError(f"{getattr(function, '__name__', function)!r} is not declared with @workflow")
    given = msgspec.json.decode(msgspec.json.encode(parameters), type=dict[str, Any])
    Validators().check(spec.manifest, given)
    return await _Rehearsal(spec, context or FakeContext(), given).run()


class _Raised(Struct, frozen=True):
    """How the engine sees an exception. `names`: its class and those above it."""

    failure: Failure
    retryable: bool
    names: list[str]
    exception: BaseException


class _Returned(Struct, frozen=True):
    result: bytes


_Outcome = _Returned | _Raised | Suspend
_E = TypeVar("_E", Queued, Started, Retrying, Suspended, Succeeded, Failed)


class _Rehearsal:
    """One execution."""

    def __init__(self, spec: WorkflowSpec, context: FakeContext, parameters: Mapping[str, Any]) -> None:
        self._spec, self._context, self._parameters = spec, context, dict(parameters)
        self._clock = context.clock
        self._attempt, self._sequence, self._traced = context.attempt, 0, 0
        self._began = self._clock.now()
        self._record: Record | None = None
        self._exception: BaseException | None = None

    async def run(self) -> WorkflowRun:
        shown = Raw(Redactor().sanitized(self._parameters).json)
        trigger, caller = Trigger(), self._context.caller
        self._tell(Queued, QueuedData(trigger=trigger, caller=caller, input=shown, tags=self._manifest.tags))
        resumed = self._context.resumed
        while True:
            event = await self._next_state(resumed)
            resumed = True
            match event:
                case Retrying(data=retrying):
                    self._attempt += 1
                    self._clock.set(retrying.next_attempt_at)
                case Suspended(data=suspended) if suspended.until is not None:
                    self._clock.set(max(suspended.until, self._clock.now()))
                case _:
                    return self._seen()

    @property
    def _manifest(self) -> Manifest:
        return self._spec.manifest

    async def _next_state(self, resumed: bool) -> StateEvent:
        """Run it once, and say what the engine would make of how that ended."""
        started = StartedData(executor="test", request="test", first_started_at=self._began, resumed=resumed)
        self._tell(Started, started)
        context = self._context.run_again(workflow=self._manifest.name, attempt=self._attempt, resumed=resumed)
        context.suspending = True
        try:
            outcome = await self._outcome(context)
        finally:
            context.suspending = False
            await _close(context)
        match outcome:
            case _Returned(result=result):
                data = SucceededData(result=Raw(result), duration_ms=self._duration(), trace=self._trace())
                return self._tell(Succeeded, data)
            case _Raised():
                self._exception = outcome.exception
                return self._failed_or_retrying(outcome)
            case Suspend():
                trace, first = self._trace(), self._began
                paused = SuspendedData(reason=outcome.reason, until=outcome.until, first_started_at=first, trace=trace)
                return self._tell(Suspended, paused)

    async def _outcome(self, context: FakeContext) -> _Outcome:
        left = self._manifest.max_duration_seconds - (self._clock.now() - self._began).total_seconds()
        seconds = max(0.0, min(self._manifest.timeout_seconds, left))
        context.bind_loop(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(seconds) as limit:
                context.learn_parameters(self._parameters)
                result = await self._invoke(context)
                if context.suspended is not None:
                    # The code swallowed what was to unwind it (a bare `except:`); it waits all the same.
                    return context.suspended
                return _Returned(context.redactor.redacted(result).json)
        except Suspend as pause:
            return pause
        except AssertionError:
            raise  # the test's own, in a function that it gave as an answer
        except Exception as raised:
            late = TimeoutError(timeout_seconds=self._manifest.timeout_seconds) if limit.expired() else None
            return _raised(late or raised, context.redactor)

    async def _invoke(self, context: FakeContext) -> Any:
        arguments = self._spec.bind(self._parameters)
        if not self._spec.is_async:
            return await asyncio.to_thread(self._spec.function, context, **arguments)
        result = self._spec.function(context, **arguments)
        return await result if inspect.isawaitable(result) else result

    def _failed_or_retrying(self, raised: _Raised) -> StateEvent:
        at = self._retry_at(raised)
        if at is None:
            data = FailedData(failure=raised.failure, duration_ms=self._duration(), trace=self._trace())
            return self._tell(Failed, data)
        retrying = RetryingData(
            failure=raised.failure,
            next_attempt=self._attempt + 1,
            next_attempt_at=at,
            first_started_at=self._began,
            trace=self._trace(),
        )
        return self._tell(Retrying, retrying)

    def _retry_at(self, raised: _Raised) -> datetime | None:
        """Without jitter: a test wants the same every time."""
        settings, attempt = self._manifest.retry, self._attempt
        names = [raised.failure.error, *raised.names]
        if not all(may_retry(settings, name, raised.retryable, attempt) for name in names):
            return None
        at = self._clock.now() + timedelta(seconds=delay_seconds(settings, attempt, lambda: 0.5))
        return at if at < self._began + timedelta(seconds=self._manifest.max_duration_seconds) else None

    def _tell(self, type_: type[_E], data: Struct) -> _E:
        """Fold an event into the record, as the recorder would."""
        self._sequence += 1
        event: _E = type_(
            id=f"{self._context.execution_id}:{self._sequence}",
            source="/runlane/testing",
            subject=self._context.execution_id,
            time=self._clock.now(),
            organization=self._context.org_id,
            workflow=self._manifest.name,
            attempt=0 if type_ is Queued else self._attempt,
            data=data,  # type: ignore[arg-type]  # each event has its own
        )
        self._record = fold(self._record, self._sequence, event)
        return event

    def _trace(self) -> list[TraceEntry]:
        """What was traced since it was last asked."""
        entries = self._context.entries[self._traced :]
        self._traced += len(entries)
        return entries

    def _duration(self) -> int:
        return int((self._clock.now() - self._began).total_seconds() * 1000)

    def _seen(self) -> WorkflowRun:
        record, context = self._record, self._context
        assert record is not None
        return WorkflowRun(
            status=record.status,
            result=None if record.result is None else msgspec.json.decode(record.result),
            error=record.failure,
            exception=self._exception if record.status == "Failed" else None,
            attempts=record.attempt,
            logs=context.logs,
            checkpoints=context.checkpoints,
            variables=context.variables,
            calls=context.calls,
            record=record,
        )


async def _close(context: FakeContext) -> None:
    try:
        await context.aclose()
    except Exception as problem:
        context.log("warning", f"an integration did not close: {type(problem).__name__}")


def _raised(error: Exception, redactor: Redactor) -> _Raised:
    names = [cls.__name__ for cls in type(error).__mro__ if issubclass(cls, Exception) and cls is not Exception]
    if isinstance(error, WorkflowException):
        details = msgspec.json.decode(redactor.sanitized(error.details).json)
        failure = Failure(error.code, redactor.text(error.message), details if isinstance(details, dict) else {})
        return _Raised(failure, error.retryable, names, error)
    hidden = InternalServerError()
    internal = {"type": type(error).__name__, "message": redactor.text(str(error))}
    return _Raised(Failure(hidden.code, hidden.message, internal=internal), True, names, error)
