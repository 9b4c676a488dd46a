"""One run of one workflow: prepare → invoke → classify. What comes out is a value; the intake decides what it means."""

import asyncio
import traceback
from typing import Any

import msgspec

from runlane.context import Context
from runlane.contracts.events import Failure
from runlane.errors import InternalServerError, WorkflowException
from runlane.ports import Suspend
from runlane.redaction import Redactor
from runlane.threads import in_thread
from runlane.workflow import WorkflowSpec
from runlane_executor.frames import Outcome, Paused, Raised, Returned, Run, Stopped
from runlane_executor.prints import Printing, known_secrets
from runlane_executor.runtime import PipeRuntime

_LONGEST_MESSAGE = 2_000
_LONGEST_TRACEBACK = 20_000


async def run(spec: WorkflowSpec, frame: Run, runtime: PipeRuntime) -> Outcome:
    """Run `spec` for `frame`; never raises."""
    context = Context(frame.identity, runtime, frame.journal)
    context.bind_loop(asyncio.get_running_loop())
    execution_id = frame.identity.execution_id
    for secret in frame.journal.secrets if frame.journal is not None else ():
        known_secrets.learn(secret)
    printing = Printing(context)
    try:
        outcome = await _outcome(spec, frame, context, runtime)
    finally:
        printing.close()
        await _close(context)
    return Stopped(execution_id) if runtime.stopping else outcome


async def _outcome(spec: WorkflowSpec, frame: Run, context: Context, runtime: PipeRuntime) -> Outcome:
    execution_id = context.execution_id
    try:
        given = msgspec.json.decode(frame.parameters, type=dict[str, Any])
        context.learn_parameters(given, frame.sensitive)
        result = await _invoke(spec, context, spec.bind(given), runtime)
        if runtime.suspended is not None:
            # The code swallowed what was to unwind it (a bare `except:`); it waits all the same.
            return _paused(execution_id, runtime.suspended)
        return Returned(execution_id, context.redactor.redacted(result).json)
    except Suspend as pause:
        return _paused(execution_id, pause)
    except asyncio.CancelledError:
        if runtime.stopping:
            return Stopped(execution_id)
        return _raised(execution_id, RuntimeError("the workflow cancelled itself"), context.redactor)
    except Exception as error:
        return _raised(execution_id, error, context.redactor)
    except BaseException as end:  # SystemExit and the like end the run, not the process
        return _raised(execution_id, RuntimeError(f"the workflow raised {type(end).__name__}"), context.redactor)


async def _invoke(spec: WorkflowSpec, context: Context, arguments: dict[str, Any], runtime: PipeRuntime) -> Any:
    if spec.is_async:
        return await spec.function(context, **arguments)
    thread = asyncio.ensure_future(in_thread(spec.function, context, **arguments))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        # A thread cannot be cancelled: this run is over when the function returns, or when the process is ended.
        if runtime.stopping:
            await asyncio.wait({thread})
        raise


def _paused(execution_id: str, pause: Suspend) -> Paused:
    return Paused(execution_id, pause.reason, pause.until, pause.approval)


def _raised(execution_id: str, error: BaseException, redactor: Redactor) -> Raised:
    names = [cls.__name__ for cls in type(error).__mro__ if issubclass(cls, Exception) and cls is not Exception]
    try:
        if isinstance(error, WorkflowException):
            return Raised(execution_id, _failure(error, redactor), bool(error.retryable), names)
    except Exception as problem:  # an author's class that does not call `super().__init__`, say
        error = RuntimeError(f"{type(error).__name__} cannot be described: {problem!r}")
    hidden = InternalServerError()
    failure = Failure(hidden.code, hidden.message, internal=_internal(error, redactor))
    return Raised(execution_id, failure, True, names)


def _failure(error: WorkflowException, redactor: Redactor) -> Failure:
    details = msgspec.json.decode(redactor.sanitized(error.details).json)
    return Failure(
        error=_text(error.code, redactor),
        message=_text(error.message, redactor)[:_LONGEST_MESSAGE],
        details=details if isinstance(details, dict) else {},
        kind=_kind(error),
        internal=_internal(error, redactor),
    )


def _internal(error: BaseException, redactor: Redactor) -> dict[str, str]:
    """What authors and operators are told of it beside that: above all where it was raised."""
    return {
        "type": type(error).__name__,
        "message": _text(error, redactor)[:_LONGEST_MESSAGE],
        "traceback": _text("".join(traceback.format_exception(error)), redactor)[-_LONGEST_TRACEBACK:],
    }


def _kind(error: WorkflowException) -> str | None:
    """The name of the engine's own error that an author's is a kind of, None for the engine's own."""
    own = next(cls for cls in type(error).__mro__ if cls.__module__ == WorkflowException.__module__)
    return None if own is type(error) else own.__name__


def _text(value: object, redactor: Redactor) -> str:
    """What an author's error says, as text that can be stored, whatever it is made of."""
    try:
        text = str(value)
    except Exception as problem:
        text = f"({type(value).__name__} cannot be shown: its text raises {type(problem).__name__})"
    return redactor.text(text).encode("utf-8", "replace").decode()


async def _close(context: Context) -> None:
    try:
        await context.aclose()
    except Exception as problem:
        context.log("warning", f"an integration did not close: {type(problem).__name__}")
