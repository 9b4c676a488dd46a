"""The executor's own process: pulls requests, claims them, hands them to children, writes what came of them.

It never runs authors' code, so nothing that code does can lose a lease.
"""

import asyncio
import builtins
from collections.abc import Mapping
from typing import Any

import msgspec

from runlane.clock import Clock
from runlane.context import Identity
from runlane.contracts import subjects
from runlane.contracts.directory import Manifest, Org, secret_context
from runlane.contracts.messages import Failure, Request, decode_request, parameters_context
from runlane.directory import Directory
from runlane.errors import (
    InternalServerError,
    RunlaneError,
    SealBroken,
    StateConflict,
    TimeoutError,
    WorkerCrashed,
    WorkflowNotFound,
)
from runlane.ports import Bus, Consumption, Delivery, Message, Subscription
from runlane.sealing import Sealer
from runlane.telemetry import logger
from runlane_executor import metrics
from runlane_executor.children import Child, Children
from runlane_executor.claim import Claimed, Claims, Settled
from runlane_executor.endings import Endings
from runlane_executor.execution import Execution, TraceBuffer
from runlane_executor.frames import (
    Awaited,
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
    Trace,
)
from runlane_executor.journal import load_journal
from runlane_executor.stateline import StateLine

_log = logger(__name__)

HEARTBEAT_SECONDS = 1.5
#: So many children may die under one execution before it fails as WorkerCrashed.
MAX_CRASHES = 3

_STREAMS = (subjects.REQUESTS, subjects.DELAYED)


class Limits(msgspec.Struct, frozen=True):
    """How much an executor takes, and how patient it is, in seconds."""

    slots: int = 200
    stop_grace: float = 5.0
    drain_grace: float = 20.0


class Intake:
    """The executor as a `service.Room`."""

    def __init__(
        self,
        line: StateLine,
        directory: Directory,
        sealer: Sealer,
        claims: Claims,
        endings: Endings,
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._line, self._directory, self._sealer = line, directory, sealer
        self._claims, self._endings, self._clock, self._limits = claims, endings, clock, limits
        self._bus: Bus = line.bus
        self._running: dict[str, Execution] = {}
        self._held: dict[tuple[str, int], Delivery] = {}
        self._taking = 0
        self._consumptions: list[Consumption] = []
        self._listening: Subscription | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._crashes: dict[str, int] = {}
        self._idle = asyncio.Event()
        self.children: Children

    # --- the room ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        self._listening = await self._bus.listen(subjects.ALL_CANCELS, self._cancel_heard)
        for stream in _STREAMS:
            deliver = self._deliver_from(stream)
            self._consumptions.append(await self._bus.consume(stream, subjects.EXECUTORS, deliver, self._room))
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            for delivery in self._held.values():
                delivery.in_progress()
            metrics.RUNNING.set(len(self._running))

    async def drain(self) -> None:
        """Take nothing new; let what runs finish for a while; hand the rest back to the queue."""
        for consumption in self._consumptions:
            await consumption.stop()
        try:
            await asyncio.wait_for(self._until_idle(), self._limits.drain_grace)
        except builtins.TimeoutError:
            _log.info("handing back what still runs", executions=len(self._running))
            for execution in list(self._running.values()):
                self._stop(execution, "drained")
            await self._until_idle()

    def problems(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        if not self._bus.connected:
            found["nats"] = "not connected"
        if self.children.pick() is None:
            found["children"] = "no child process is ready"
        return found

    async def _until_idle(self) -> None:
        while self._running or self._taking:
            self._idle.clear()
            await self._idle.wait()

    def _room(self) -> int:
        return self._limits.slots - len(self._running) - self._taking

    # --- taking ------------------------------------------------------------------------------------------------------

    def _deliver_from(self, stream: str) -> Any:
        def deliver(delivery: Delivery) -> None:
            self._taking += 1
            self._held[stream, delivery.sequence] = delivery
            self._background(self._take(stream, delivery))

        return deliver

    async def _take(self, stream: str, delivery: Delivery) -> None:
        held = True
        try:
            held = await self._claim_and_run(stream, delivery)
        except Exception:
            # The message stays unacknowledged and comes again; what went wrong is for the operator.
            _log.exception("could not take a request", subject=delivery.subject, sequence=delivery.sequence)
            held = False
        finally:
            self._taking -= 1
            if not held:
                self._release(stream, delivery.sequence)

    async def _claim_and_run(self, stream: str, delivery: Delivery) -> bool:
        """Whether the message is held on to because its execution runs now."""
        try:
            request = decode_request(delivery.payload)
        except msgspec.DecodeError as problem:
            await self._bury(delivery, f"cannot be read: {problem}")
            return False
        message = f"{stream}:{delivery.sequence}"
        running = self._running.get(request.execution_id)
        if running is not None and running.message == message:
            # Our own heartbeat came too late and the message was delivered again: it is still ours.
            running.delivery = delivery
            return True
        lane = delivery.subject.split(".")[2]
        manifest = self.children.manifests.get(request.workflow)
        version = "" if manifest is None else manifest.version
        verdict = await self._claims.claim(request, message, lane, version)
        if isinstance(verdict, Settled):
            if verdict.terminal is not None:
                self._endings.answer(request, verdict.terminal)
            delivery.ack()
            return False
        metrics.STARTED.inc()
        execution = Execution(request, delivery, message, manifest or _unknown(request), verdict, lane)
        execution.trace = self._trace_buffer(execution)
        self._running[request.execution_id] = execution
        if manifest is None:
            missing = WorkflowNotFound(f"No executor has a workflow {request.workflow!r}.")
            self._finish(execution, _raised(execution, missing))
        else:
            await self._start(execution)
        return True

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        """Nobody can read it: keep it aside, take it off the queue."""
        _log.error("undecodable request", subject=delivery.subject, sequence=delivery.sequence, reason=reason)
        tokens = [*delivery.subject.split(".")[3:5], "unknown", "unknown"]
        subject = subjects.dead(tokens[0], tokens[1], f"seq{delivery.sequence}")
        await self._bus.publish(Message(subject=subject, payload=delivery.payload, id=f"dead:{subject}"))
        delivery.term(reason)

    def _trace_buffer(self, execution: Execution) -> TraceBuffer:
        return TraceBuffer(
            self._line,
            self._sealer,
            execution.request,
            execution.claimed.sequence,
            lambda: self._stop(execution, "fenced"),
        )

    # --- running -----------------------------------------------------------------------------------------------------

    async def _start(self, execution: Execution, child: Child | None = None) -> None:
        """Hand it to a child, with its journal if it got somewhere before."""
        request, claimed = execution.request, execution.claimed
        journal = await load_journal(self._bus, self._sealer, request) if claimed.resumed else None
        try:
            parameters = self._parameters(request)
        except SealBroken as problem:
            _log.error("parameters cannot be opened", execution_id=execution.id, reason=problem.message)
            self._finish(execution, _raised(execution, InternalServerError()))
            return
        child = child or self.children.pick() or await self.children.alone()
        frame = Run(self._identity(execution), parameters, journal)
        execution.child = child
        self._arm_timeout(execution)
        child.run(frame, self._directory.config(request.org))

    def _parameters(self, request: Request) -> bytes:
        if request.sealed_parameters is None:
            return b"{}"
        return self._sealer.open(request.sealed_parameters, parameters_context(request.org, request.execution_id))

    def _identity(self, execution: Execution) -> Identity:
        request = execution.request
        org = self._directory.org(request.org) or Org(id=request.org, name=request.org)
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

    def _arm_timeout(self, execution: Execution) -> None:
        manifest, claimed = execution.manifest, execution.claimed
        spent = (self._clock.now() - claimed.first_started_at).total_seconds()
        seconds = max(0.0, min(manifest.timeout_seconds, manifest.max_duration_seconds - spent))
        loop = asyncio.get_running_loop()
        execution.end_timer()
        execution.timeout = loop.call_later(seconds, self._stop, execution, "timed out")

    def heard(self, child: Child, frame: ToIntake) -> None:
        """A frame from a child."""
        match frame:
            case Trace(execution_id=execution_id):
                if execution_id in self._running:
                    self._running[execution_id].trace.add(frame)
            case Awaited(execution_id=execution_id, number=number):
                if execution_id in self._running:
                    self._running[execution_id].trace.awaited(number, child)
            case SecretAsked():
                child.pipe.send(self._secret(frame))
            case Returned() | Raised() | Paused() | Stopped():
                self.children.done(child, frame.execution_id)
                execution = self._running.get(frame.execution_id)
                if execution is not None and execution.child is child:
                    self._finish(execution, frame)

    def _secret(self, asked: SecretAsked) -> SecretAnswer:
        execution = self._running.get(asked.execution_id)
        org = None if execution is None else execution.request.org
        entry = None if org is None else self._directory.secret(org, asked.name)
        if entry is None:
            return SecretAnswer(asked.call, None)
        try:
            value = self._sealer.open(entry.sealed, secret_context(entry.org, entry.name, entry.version))
        except SealBroken as problem:
            _log.error("a secret cannot be opened", org=org, name=asked.name, reason=problem.message)
            return SecretAnswer(asked.call, None, f"The secret {asked.name!r} cannot be opened; tell your operator.")
        return SecretAnswer(asked.call, value.decode())

    # --- stopping ----------------------------------------------------------------------------------------------------

    def _cancel_heard(self, subject: str, _: bytes) -> None:
        execution = self._running.get(subject.rpartition(".")[2])
        if execution is not None:
            self._stop(execution, "cancelled")

    def _stop(self, execution: Execution, reason: str) -> None:
        """Ask the code to end; end its process when it does not."""
        if execution.stop_reason is not None or self._running.get(execution.id) is not execution:
            return
        execution.stop_reason = reason
        execution.end_timer()
        child = execution.child
        if child is None or not child.alive:
            return
        child.pipe.send(Stop(execution.id))
        loop = asyncio.get_running_loop()
        execution.timeout = loop.call_later(self._limits.stop_grace, self._end_child, execution, child)

    def _end_child(self, execution: Execution, child: Child) -> None:
        if self._running.get(execution.id) is execution and execution.child is child:
            _log.warning("code does not end when asked", execution_id=execution.id, workflow=execution.request.workflow)
            self.children.end(child)

    def died(self, child: Child, exit_code: int | None) -> None:
        """A child is gone: end what it was ended for, take up the rest again."""
        metrics.CHILD_DEATHS.inc()
        alone = len(child.running) == 1
        for execution_id in list(child.running):
            execution = self._running.get(execution_id)
            if execution is None or execution.child is not child:
                continue
            if execution.stop_reason is not None:
                self._finish(execution, Stopped(execution_id))
            elif child.ending:
                self._background(self._again(execution, "its process was ended for another execution", False))
            else:
                self._crashed(execution, exit_code, alone)
        child.running.clear()

    def _crashed(self, execution: Execution, exit_code: int | None, alone: bool) -> None:
        self._crashes[execution.id] = crashes = self._crashes.get(execution.id, 0) + 1
        if crashes >= MAX_CRASHES and alone:
            problem = WorkerCrashed(details={"exit_code": exit_code, "crashes": crashes})
            self._finish(execution, _raised(execution, problem))
        else:
            # Which of them killed it is not known: each runs on in a child of its own.
            self._background(self._again(execution, f"child died (exit {exit_code})", True))

    async def _again(self, execution: Execution, reason: str, quarantine: bool) -> None:
        """Run it again in another child, from its journal, as the same attempt."""
        execution.end_timer()
        execution.child = None
        await execution.trace.rest()
        claimed = execution.claimed
        started = self._claims.started(
            execution.request,
            execution.message,
            claimed.first_started_at,
            execution.manifest.version,
            resumed=True,
            losses=claimed.losses,
            reason=reason,
        )
        try:
            sequence = await self._line.move(execution.request, started, claimed.sequence)
        except StateConflict:
            execution.stop_reason = "fenced"
            self._finish(execution, Stopped(execution.id))
            return
        execution.claimed = Claimed(sequence, claimed.first_started_at, claimed.losses, resumed=True)
        execution.trace = self._trace_buffer(execution)
        child = await self.children.alone() if quarantine else None
        await self._start(execution, child)

    # --- ending ------------------------------------------------------------------------------------------------------

    def _finish(self, execution: Execution, outcome: Outcome) -> None:
        execution.end_timer()
        self._background(self._end(execution, outcome))

    async def _end(self, execution: Execution, outcome: Outcome) -> None:
        try:
            metrics.ENDED.labels(await self._ended(execution, outcome)).inc()
        except Exception:
            # Not acknowledged: the message comes again, and whoever gets it finds the state line as it is.
            _log.exception("could not end an execution", execution_id=execution.id)
        finally:
            self._crashes.pop(execution.id, None)
            if self._running.get(execution.id) is execution:
                del self._running[execution.id]
            stream, _, sequence = execution.message.partition(":")
            self._release(stream, int(sequence))

    async def _ended(self, execution: Execution, outcome: Outcome) -> str:
        reason = execution.stop_reason
        if reason == "timed out":
            limit = min(execution.manifest.timeout_seconds, execution.manifest.max_duration_seconds)
            return await self._endings.end(execution, _raised(execution, TimeoutError(timeout_seconds=limit)))
        if reason == "drained":
            execution.trace.flush()
            await execution.trace.rest()
            execution.delivery.nak()
            return "handed_back"
        if reason is not None or isinstance(outcome, Stopped):
            await self._endings.settle(execution)
            return reason or "stopped"
        return await self._endings.end(execution, outcome)

    def _release(self, stream: str, sequence: int) -> None:
        self._held.pop((stream, sequence), None)
        self._idle.set()
        for consumption in self._consumptions:
            consumption.pull()

    def _background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _raised(execution: Execution, error: RunlaneError) -> Raised:
    failure = Failure(error.code, error.message, error.details)
    names = [cls.__name__ for cls in type(error).__mro__]
    return Raised(execution.id, failure, getattr(error, "retryable", True), names)


def _unknown(request: Request) -> Manifest:
    return Manifest(name=request.workflow, description="", parameters=msgspec.Raw(b"{}"))
