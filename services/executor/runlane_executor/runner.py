"""One run of one workflow: prepare → invoke → classify. What comes out is a value; the intake decides what it means."""

import asyncio
import traceback
from typing import Any

import msgspec

from runlane.context import Context
from runlane.contracts.messages import Failure
from runlane.errors import InternalServerError, WorkflowException
from runlane.ports import Suspend
from runlane.redaction import Redactor
from runlane.workflow import WorkflowSpec
from runlane_executor.frames import Outcome, Paused, Raised, Returned, Run, Stopped
from runlane_executor.runtime import PipeRuntime


async def run(spec: WorkflowSpec, frame: Run, runtime: PipeRuntime) -> Outcome:
    """Run `spec` for `frame`; never raises."""
    context = Context(frame.identity, runtime, frame.journal)
    context.bind_loop(asyncio.get_running_loop())
    execution_id = frame.identity.execution_id
    try:
        outcome = await _outcome(spec, frame.parameters, context, runtime)
    finally:
        await _close(context)
    return Stopped(execution_id) if runtime.stopping else outcome


async def _outcome(spec: WorkflowSpec, parameters: bytes, context: Context, runtime: PipeRuntime) -> Outcome:
    execution_id = context.execution_id
    try:
        given = msgspec.json.decode(parameters, type=dict[str, Any])
        context.learn_parameters(given)
        result = await _invoke(spec, context, spec.bind(given), runtime)
        if runtime.suspended is not None:
            # The code swallowed what was to unwind it (a bare `except:`); it waits all the same.
            return Paused(execution_id, runtime.suspended.reason, runtime.suspended.until)
        return Returned(execution_id, context.redactor.redacted(result).json)
    except Suspend as pause:
        return Paused(execution_id, pause.reason, pause.until)
    except asyncio.CancelledError:
        if runtime.stopping:
            return Stopped(execution_id)
        return _raised(execution_id, RuntimeError("the workflow cancelled itself"), context.redactor)
    except (KeyboardInterrupt, SystemExit) as end:
        return _raised(execution_id, RuntimeError(f"the workflow raised {type(end).__name__}"), context.redactor)
    except Exception as error:
        return _raised(execution_id, error, context.redactor)


async def _invoke(spec: WorkflowSpec, context: Context, arguments: dict[str, Any], runtime: PipeRuntime) -> Any:
    if spec.is_async:
        return await spec.function(context, **arguments)
    thread = asyncio.ensure_future(asyncio.to_thread(spec.function, context, **arguments))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        # A thread cannot be cancelled: this run is over when the function returns, or when the process is ended.
        if runtime.stopping:
            await asyncio.wait({thread})
        raise


def _raised(execution_id: str, error: BaseException, redactor: Redactor) -> Raised:
    names = [cls.__name__ for cls in type(error).__mro__ if issubclass(cls, Exception) and cls is not Exception]
    if isinstance(error, WorkflowException):
        details = msgspec.json.decode(redactor.sanitized(error.details).json)
        failure = Failure(error.code, redactor.text(error.message), details if isinstance(details, dict) else {})
        return Raised(execution_id, failure, error.retryable, names)
    hidden = InternalServerError()
    internal = {
        "type": type(error).__name__,
        "message": redactor.text(str(error))[:2000],
        "traceback": redactor.text("".join(traceback.format_exception(error)))[-20_000:],
    }
    return Raised(execution_id, Failure(hidden.code, hidden.message, internal=internal), True, names)


async def _close(context: Context) -> None:
    try:
        await context.aclose()
    except Exception as problem:
        context.log("warning", f"an integration did not close: {type(problem).__name__}")
