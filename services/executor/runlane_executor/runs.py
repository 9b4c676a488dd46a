"""The executions that run here: handed to children, stopped, taken up again, ended. `intake` brings them."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from runlane.clock import Clock
from runlane.context import Identity, Journal
from runlane.contracts.directory import Org
from runlane.contracts.events import Failure
from runlane.contracts.requests import Request, parameters_context
from runlane.deadletters import DeadKind
from runlane.directory import Directory
from runlane.errors import (
    ConfigurationError,
    HistoryExpired,
    InternalServerError,
    RunlaneError,
    SealBroken,
    SecretsUnavailable,
    StateConflict,
    TimeoutError,
    WorkerCrashed,
)
from runlane.ids import is_token
from runlane.ports import SecretStore
from runlane.sealing import Sealer
from runlane.telemetry import logger
from runlane.tracing import Tracer
from runlane_executor import metrics
from runlane_executor.burial import Burial
from runlane_executor.children import Child, ChildDied, Children
from runlane_executor.claim import Claims
from runlane_executor.endings import Endings
from runlane_executor.execution import Execution, Lease, TraceBuffer
from runlane_executor.frames import (
    Awaited,
    BudgetAsked,
    Outcome,
    Paused,
    Raised,
    Returned,
    Run,
    SecretAnswer,
    SecretAsked,
    Stop,
    Stopped,
    ToIntake,
    TokenAsked,
    TokenFetched,
    Trace,
)
from runlane_executor.journal import load_journal
from runlane_executor.observation import Observation
from runlane_executor.stateline import StateLine
from runlane_executor.vendors import VendorDesk

_log = logger(__name__)

#: So many children that run nothing else may be killed from outside under one execution: by the kernel for want of
#: memory, or by hand. Where code ends its own process, its `max_attempts` is the limit.
MAX_KILLS = 3

#: A run that begins later than this after its claim was asked for looks whether it still has it: claim or
#: acknowledgement may have been held up for so long that its lease had ended, and another executor is at work. Steps
#: that this one stores would not be known here, and would run again.
PROMPT_SECONDS = 1.0


class Tools(msgspec.Struct, frozen=True):
    """What runs are made with."""

    line: StateLine
    claims: Claims
    endings: Endings
    directory: Directory
    sealer: Sealer
    secrets: SecretStore
    clock: Clock
    stop_grace: float
    vendors: VendorDesk
    tracer: Tracer | None = None


class Runs:
    """All executions in flight in this executor. `released` is told each lease that is let go of."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.burial = Burial(tools.line, tools.clock)
        self._tasks: set[asyncio.Task[Any]] = set()
        self.running: dict[str, Execution] = {}
        self.children: Children
        self.released: Callable[[Lease], None]

    @property
    def executor(self) -> str:
        """The name of this executor."""
        return self._tools.line.executor

    @property
    def sealer(self) -> Sealer:
        """Opens what requests carry."""
        return self._tools.sealer

    def org(self, request: Request) -> Org | None:
        """The organisation that a request is for, if there is one of that id."""
        return self._tools.directory.org(request.org)

    def parameters_of(self, request: Request) -> dict[str, Any]:
        """The parameters of a request; none where they cannot be opened, of which `start` makes a failure."""
        try:
            parameters: dict[str, Any] = msgspec.json.decode(self._parameters(request))
        except SealBroken:
            return {}
        return parameters

    def add(self, execution: Execution) -> None:
        """It was claimed: from here on it is looked after."""
        execution.trace = self._trace_buffer(execution)
        self.running[execution.id] = execution

    def observe(self, request: Request, lease: Lease) -> Observation:
        """A run begins."""
        return Observation(request, lease.lane, lease.delivery, self._tools.tracer)

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else; it must see to its own exceptions."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- starting ----------------------------------------------------------------------------------------------------

    async def start(self, execution: Execution, quarantine: bool = False) -> None:
        """Hand it to a child, with its journal if it got somewhere before; alone in it under `quarantine`."""
        tools, request = self._tools, execution.request
        journal: Journal | None = None
        if execution.claimed.resumed:
            try:
                journal = await load_journal(tools.line.bus, tools.sealer, request, execution.claimed.sequence)
            except StateConflict:
                self._leave(execution)
                return
            if tools.endings.outlives_its_events(execution, tools.clock.now()):
                self.fail(execution, HistoryExpired())
                return
        try:
            parameters = self._parameters(request)
        except SealBroken as problem:
            _log.error("parameters cannot be opened", **execution.names, reason=problem.message)
            self.fail(execution, InternalServerError())
            return
        alone = await self.children.alone() if quarantine or self.children.pick() is None else None
        late = tools.clock.monotonic() - execution.asked_at > PROMPT_SECONDS
        taken_over = late and await self._was_taken_over(execution)
        if taken_over or execution.stop_reason is not None:  # while it was being prepared
            if alone is not None:
                self.children.done(alone, execution.id)
            self._leave(execution)
            return
        # From here to the call nothing is awaited: a child that ended meanwhile would never say what became of it.
        child = alone or self.children.pick()
        if child is None or not child.alive:
            raise ChildDied
        execution.child = child
        self._arm_timeout(execution)
        run = Run(self._identity(execution), parameters, journal, sensitive=request.sensitive)
        child.run(run, tools.directory.config(request.org))

    def _leave(self, execution: Execution) -> None:
        """Do not begin what was stopped, or what somebody else has taken over: that one may store steps by now."""
        execution.stop_reason = execution.stop_reason or "fenced"
        self._finish(execution, Stopped(execution.id))

    async def _was_taken_over(self, execution: Execution) -> bool:
        found = await self._tools.line.last(execution.request)
        return found is not None and found[0].sequence > execution.claimed.sequence

    def fail(self, execution: Execution, error: RunlaneError) -> None:
        """End it with an error of the engine's."""
        self._finish(execution, _raised(execution, error))

    def give_up(self, execution: Execution, kind: DeadKind, error: RunlaneError) -> None:
        """End it with an error of the engine's, and keep its request as a dead letter."""
        execution.end_timer()
        self.background(self._give_up(execution, kind, error))

    async def _give_up(self, execution: Execution, kind: DeadKind, error: RunlaneError) -> None:
        lease = execution.lease
        try:
            await self.burial.keep(execution.request, kind, error.message, lease.message, lease.delivery.subject)
        except Exception:
            _log.exception("a dead letter could not be kept", **execution.names)
        await self._end(execution, _raised(execution, error))

    def _parameters(self, request: Request) -> bytes:
        if request.sealed_parameters is None:
            return b"{}"
        context = parameters_context(request.org, request.execution_id)
        return self._tools.sealer.open(request.sealed_parameters, context)

    def _identity(self, execution: Execution) -> Identity:
        request = execution.request
        org = self._tools.directory.org(request.org) or Org(id=request.org, name=request.org)
        return Identity(
            execution_id=request.execution_id,
            workflow=request.workflow,
            org_id=org.id,
            org_name=org.name,
            tenant_id=org.tenant_id,
            caller=request.caller,
            trigger=request.trigger,
            attempt=request.attempt,
            resumed=execution.claimed.resumed,
        )

    def _trace_buffer(self, execution: Execution) -> TraceBuffer:
        line, sealer, claim = self._tools.line, self._tools.sealer, execution.claimed.sequence
        return TraceBuffer(line, sealer, execution.request, claim, lambda: self.stop(execution, "fenced"))

    def _arm_timeout(self, execution: Execution) -> None:
        manifest = execution.manifest
        left = max(0.0, manifest.max_duration_seconds - execution.seconds_spent(self._tools.clock.now()))
        seconds = min(manifest.timeout_seconds, left)
        execution.limit = manifest.timeout_seconds if seconds < left else manifest.max_duration_seconds
        execution.end_timer()
        execution.timeout = asyncio.get_running_loop().call_later(seconds, self.stop, execution, "timed out")

    # --- what children say -------------------------------------------------------------------------------------------

    def heard(self, child: Child, frame: ToIntake) -> None:
        """A frame from a child."""
        match frame:
            case Trace(execution_id=execution_id):
                if execution_id in self.running:
                    self.running[execution_id].trace.add(frame)
                    self.running[execution_id].observation.entry(frame.entry)
            case Awaited(execution_id=execution_id, number=number):
                if execution_id in self.running:
                    self.running[execution_id].trace.awaited(number, child)
            case SecretAsked():
                self.background(self._tell_secret(child, frame))
            case TokenAsked() | TokenFetched() | BudgetAsked():
                if frame.execution_id in self.running:
                    org = self.running[frame.execution_id].request.org
                    self._tools.vendors.heard(frame, org, child.pipe, self.background)
            case Returned() | Raised() | Paused() | Stopped():
                self.children.done(child, frame.execution_id)
                execution = self.running.get(frame.execution_id)
                if execution is not None and execution.child is child:
                    self._finish(execution, frame)

    async def _tell_secret(self, child: Child, asked: SecretAsked) -> None:
        answer = await self._secret(asked)
        if child.alive:
            child.pipe.send(answer)

    async def _secret(self, asked: SecretAsked) -> SecretAnswer:
        """A secret of the organisation that the execution runs for, whatever its code asks for."""
        execution = self.running.get(asked.execution_id)
        if execution is None or not is_token(asked.name):
            return SecretAnswer(asked.call, None)
        org, problem = execution.request.org, f"The secret {asked.name!r} cannot be opened; tell your operator."
        try:
            return SecretAnswer(asked.call, await self._tools.secrets.get(org, asked.name))
        except SecretsUnavailable as trouble:
            return SecretAnswer(asked.call, None, trouble.message, again=True)
        except ConfigurationError as trouble:
            return SecretAnswer(asked.call, None, trouble.message)
        except SealBroken as trouble:
            _log.error("a secret cannot be opened", org=org, name=asked.name, reason=trouble.message)
        except Exception:
            _log.exception("a secret cannot be read", org=org, name=asked.name)
        return SecretAnswer(asked.call, None, problem)

    # --- stopping ----------------------------------------------------------------------------------------------------

    def stop(self, execution: Execution, reason: str) -> None:
        """Ask the code to end; end its process when it does not."""
        if execution.stop_reason is not None or self.running.get(execution.id) is not execution:
            return
        execution.stop_reason = reason
        execution.end_timer()
        child = execution.child
        if child is not None and child.alive:
            child.pipe.send(Stop(execution.id))
            loop = asyncio.get_running_loop()
            execution.timeout = loop.call_later(self._tools.stop_grace, self._end_child, execution, child)

    def _end_child(self, execution: Execution, child: Child) -> None:
        if self.running.get(execution.id) is execution and execution.child is child:
            _log.warning("code does not end when asked", **execution.names, workflow=execution.request.workflow)
            self.children.end(child)

    async def check_claims(self) -> None:
        """Stop what somebody else has taken over or cancelled while this executor was silent."""
        for execution in list(self.running.values()):
            if await self._was_taken_over(execution):
                self.stop(execution, "fenced")

    # --- a child died ------------------------------------------------------------------------------------------------

    def died(self, child: Child, exit_code: int | None) -> None:
        """A child is gone: end what it was ended for, take up the rest again."""
        metrics.CHILD_DEATHS.inc()
        alone = len(child.running) == 1
        for execution_id in list(child.running):
            execution = self.running.get(execution_id)
            if execution is None or execution.child is not child:
                continue
            if execution.stop_reason is not None:
                self._finish(execution, Stopped(execution_id))
            elif child.ending:
                self.background(self._again(execution, "its process was ended for another execution", False))
            else:
                self._crashed(execution, exit_code, alone)
        child.running.clear()

    def _crashed(self, execution: Execution, exit_code: int | None, alone: bool) -> None:
        execution.crashes += 1
        if alone and execution.crashes >= _most_crashes(execution, exit_code):
            details = {"exit_code": exit_code, "crashes": execution.crashes}
            self.give_up(execution, "crash_loop", WorkerCrashed(details=details))
        else:
            # Which of them killed it is not known: each runs on in a child of its own.
            self.background(self._again(execution, f"child died (exit {exit_code})", True))

    async def _again(self, execution: Execution, reason: str, quarantine: bool) -> None:
        """Run it again in another child, from its journal, as the same attempt."""
        execution.end_timer()
        execution.child = None
        try:
            execution.trace.flush()
            await execution.trace.rest()
            await self._reclaim(execution, reason)
            await self.start(execution, quarantine)
        except StateConflict:
            self._leave(execution)
        except Exception:
            # Its message stays unacknowledged: somebody takes it up when the lease has ended.
            _log.exception("could not take up an execution again", **execution.names)
            self.forget(execution)

    async def _reclaim(self, execution: Execution, reason: str) -> None:
        """Move the state line on to a new run: what the dead child may still have on its way is refused."""
        claimed, tools = execution.claimed, self._tools
        started = tools.claims.started(
            execution.request,
            execution.lease.message,
            claimed.first_started_at,
            execution.manifest.version,
            resumed=True,
            losses=claimed.losses,
            crashes=execution.crashes,
            waited=claimed.waited_seconds,
            reason=reason,
        )
        execution.asked_at = tools.clock.monotonic()
        sequence = await tools.line.move(execution.request, started, claimed.sequence)
        execution.claimed = msgspec.structs.replace(claimed, sequence=sequence, resumed=True)
        execution.trace = self._trace_buffer(execution)

    # --- ending ------------------------------------------------------------------------------------------------------

    def forget(self, execution: Execution) -> None:
        """It is over here."""
        execution.end_timer()
        execution.over.set()
        self._tools.vendors.over(execution.id)
        if self.running.get(execution.id) is execution:
            del self.running[execution.id]
        self.released(execution.lease)

    def _finish(self, execution: Execution, outcome: Outcome) -> None:
        execution.end_timer()
        self.background(self._end(execution, outcome))

    async def _end(self, execution: Execution, outcome: Outcome) -> None:
        try:
            execution.observation.over(await self._ended(execution, outcome))
        except Exception:
            # Not acknowledged: the message comes again, and whoever gets it finds the state line as it is.
            _log.exception("could not end an execution", **execution.names)
        finally:
            self.forget(execution)

    async def _ended(self, execution: Execution, outcome: Outcome) -> str:
        endings, reason = self._tools.endings, execution.stop_reason
        if reason == "timed out":
            return await endings.end(execution, _raised(execution, TimeoutError(timeout_seconds=execution.limit)))
        if reason == "drained" and isinstance(outcome, Stopped):
            return await endings.hand_back(execution)
        if reason not in (None, "drained") or isinstance(outcome, Stopped):
            await endings.settle(execution)
            return reason or "stopped"
        return await endings.end(execution, outcome)


def _most_crashes(execution: Execution, exit_code: int | None) -> int:
    most = execution.manifest.retry.max_attempts
    # On a loaded machine it may not be known in time how a child ended: then it may have been killed from outside.
    return max(MAX_KILLS, most) if exit_code in (None, -signal.SIGKILL) else most


def _raised(execution: Execution, error: RunlaneError) -> Raised:
    failure = Failure(error.code, error.message, error.details)
    names = [cls.__name__ for cls in type(error).__mro__]
    return Raised(execution.id, failure, getattr(error, "retryable", True), names)
