"""The executor's own process: pulls requests, claims them, keeps their leases, and has `runs` look after the rest.

It never runs authors' code, so nothing that code does can lose a lease.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.directory import Manifest
from runlane.contracts.messages import Request, decode_request
from runlane.errors import WorkflowNotFound
from runlane.ids import is_token
from runlane.ports import Bus, Consumption, Delivery, Message, Subscription
from runlane.telemetry import logger
from runlane_executor import metrics
from runlane_executor.claim import Claims, Settled
from runlane_executor.endings import Endings
from runlane_executor.execution import Execution, Lease
from runlane_executor.runs import Runs

_log = logger(__name__)

HEARTBEAT_SECONDS = 1.5
#: After a longer silence of ours a lease may have ended.
SILENCE_SECONDS = 4.0
#: A message that could not be taken so often is set aside: taking it is what fails.
MAX_DELIVERIES = 30

_STREAMS = (subjects.REQUESTS, subjects.DELAYED)


class Limits(msgspec.Struct, frozen=True):
    """How many executions run at once, and for how many seconds a drain lets them."""

    slots: int = 200
    drain_grace: float = 20.0


class Intake:
    """The executor as a `service.Room`."""

    def __init__(self, bus: Bus, claims: Claims, endings: Endings, runs: Runs, clock: Clock, limits: Limits) -> None:
        self._bus, self._claims, self._endings = bus, claims, endings
        self._clock, self._limits = clock, limits
        self._leases: dict[tuple[str, int], Lease] = {}
        self._consumptions: list[Consumption] = []
        self._listening: Subscription | None = None
        self._let_go = asyncio.Event()
        self.runs = runs
        runs.released = self._release

    # --- the room ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        self._listening = await self._bus.listen(subjects.ALL_CANCELS, self._cancel_heard)
        for stream in _STREAMS:
            deliver = self._deliver_from(stream)
            self._consumptions.append(await self._bus.consume(stream, subjects.EXECUTORS, deliver, self._room))
        spoken = self._clock.monotonic()
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if self._bus.connected:
                spoken = self._heartbeat(spoken)
            metrics.RUNNING.set(len(self.runs.running))

    async def drain(self) -> None:
        """Take nothing new; let what runs finish for a while; hand the rest back to the queue."""
        for consumption in self._consumptions:
            await consumption.stop()
        try:
            await asyncio.wait_for(self._until_idle(), self._limits.drain_grace)
        except TimeoutError:
            _log.info("handing back what still runs", executions=len(self.runs.running))
            for execution in list(self.runs.running.values()):
                self.runs.stop(execution, "drained")
            await self._until_idle()

    def problems(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        if not self._bus.connected:
            found["nats"] = "not connected"
        if self.runs.children.pick() is None:
            found["children"] = "no child process is ready"
        return found

    def _heartbeat(self, spoken: float) -> float:
        """Renew all leases. After too long a silence others may have taken over what runs here: look."""
        now = self._clock.monotonic()
        if now - spoken > SILENCE_SECONDS:
            self.runs.background(self._look_after_silence())
        for lease in self._leases.values():
            lease.delivery.in_progress()
        return now

    async def _look_after_silence(self) -> None:
        try:
            await self.runs.check_claims()
        except Exception:
            _log.exception("could not check the claims; a refused write will tell")

    async def _until_idle(self) -> None:
        while self._leases:
            self._let_go.clear()
            await self._let_go.wait()

    def _room(self) -> int:
        return self._limits.slots - len(self._leases)

    def _cancel_heard(self, subject: str, _: bytes) -> None:
        execution = self.runs.running.get(subject.rpartition(".")[2])
        if execution is not None:
            self.runs.stop(execution, "cancelled")

    # --- taking ------------------------------------------------------------------------------------------------------

    def _deliver_from(self, stream: str) -> Callable[[Delivery], None]:
        def deliver(delivery: Delivery) -> None:
            lease = Lease(stream, delivery)
            held = self._leases.get(lease.key)
            if held is None:
                self._leases[lease.key] = lease
                self.runs.background(self._take(lease))
            else:
                # Our heartbeat came too late and the message was delivered again, to us: it is still ours.
                held.delivery = delivery

        return deliver

    async def _take(self, lease: Lease) -> None:
        execution: Execution | None = None
        try:
            execution = await self._claim(lease)
            if execution is not None:
                await self._begin(execution)
        except Exception:
            # The message stays unacknowledged and comes again; what went wrong is for the operator.
            _log.exception("could not take a request", subject=lease.delivery.subject, sequence=lease.key[1])
            if execution is not None:
                self.runs.forget(execution)
            elif lease.delivery.delivered >= MAX_DELIVERIES:
                await self._set_aside(lease.delivery, f"could not be taken {MAX_DELIVERIES} times")
        finally:
            if execution is None:
                self._release(lease)

    async def _claim(self, lease: Lease) -> Execution | None:
        """The execution that this message asks for, if it is ours to run now."""
        request = await self._readable(lease.delivery)
        if request is None:
            return None
        manifest = self.runs.children.manifests.get(request.workflow)
        version = "" if manifest is None else manifest.version
        verdict = await self._claims.claim(request, lease.message, lease.lane, version)
        if isinstance(verdict, Settled):
            if verdict.terminal is not None:
                self._endings.answer(request, verdict.terminal)
            lease.delivery.ack()
            return None
        metrics.STARTED.inc()
        while (before := self.runs.running.get(request.execution_id)) is not None:
            # Our own earlier run has just lost its claim; its frames must not be taken for those of this one.
            self.runs.stop(before, "fenced")
            await before.over.wait()
        execution = Execution(request, lease, manifest or _unknown(request), verdict)
        self.runs.add(execution)
        return execution

    async def _begin(self, execution: Execution) -> None:
        workflow = execution.request.workflow
        if workflow in self.runs.children.manifests:
            await self.runs.start(execution)
        else:
            self.runs.fail(execution, WorkflowNotFound(f"No executor has a workflow {workflow!r}."))

    async def _readable(self, delivery: Delivery) -> Request | None:
        """The request, or None after setting aside what nobody can read."""
        try:
            request = decode_request(delivery.payload)
        except msgspec.DecodeError as problem:
            await self._set_aside(delivery, f"cannot be read: {problem}")
            return None
        if not (is_token(request.org) and is_token(request.workflow) and is_token(request.execution_id)):
            await self._set_aside(delivery, "names what cannot be a subject")
            return None
        return request

    async def _set_aside(self, delivery: Delivery, reason: str) -> None:
        """Keep it where an operator can look at it, and take it off the queue."""
        _log.error("a request was set aside", subject=delivery.subject, sequence=delivery.sequence, reason=reason)
        org, workflow = [*delivery.subject.split(".")[3:5], "unknown", "unknown"][:2]
        subject = subjects.dead(org, workflow, f"seq{delivery.sequence}")
        await self._bus.publish(Message(subject=subject, payload=delivery.payload, id=f"dead:{subject}"))
        delivery.term(reason)

    def _release(self, lease: Lease) -> None:
        self._leases.pop(lease.key, None)
        self._let_go.set()
        for consumption in self._consumptions:
            consumption.pull()


def _unknown(request: Request) -> Manifest:
    return Manifest(name=request.workflow, description="", parameters=msgspec.Raw(b"{}"))
