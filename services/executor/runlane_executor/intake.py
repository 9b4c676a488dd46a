"""The executor's own process: pulls requests, claims them, keeps their leases, and has `runs` look after the rest.

It never runs authors' code, so nothing that code does can lose a lease.
"""

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.directory import Manifest
from runlane.contracts.presence import Presence, encode_presence
from runlane.contracts.requests import REQUEST_VERSION, Request, decode_request
from runlane.deadletters import DeadKind
from runlane.errors import BusUnavailable, WorkflowNotFound
from runlane.ids import is_token
from runlane.ports import Bus, Delivery, Subscription
from runlane.telemetry import logger
from runlane_executor import metrics
from runlane_executor.burial import GivenUp, version_of
from runlane_executor.claim import Claims, Settled
from runlane_executor.endings import Endings
from runlane_executor.execution import Execution, Lease
from runlane_executor.limits import is_limited, limits_of
from runlane_executor.permits import PermitDesk
from runlane_executor.presences import Presences
from runlane_executor.runs import Runs
from runlane_executor.shares import Share, Shares
from runlane_executor.slots import Slots

_log = logger(__name__)

HEARTBEAT_SECONDS = 1.5
#: After a longer silence of ours a lease may have ended.
SILENCE_SECONDS = 4.0
#: A message that one executor could not take so often is set aside: taking it is what fails.
MAX_FAILURES = 10
_MOST_FAILURES = 1000

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
        self._slots = Slots(limits.slots)
        self._shares = Shares(self._slots)
        self._presences = Presences(runs.executor)
        self.permits = PermitDesk(bus, self._presences, clock, runs.executor)
        self._failures: Counter[tuple[str, int]] = Counter()
        self._listening: list[Subscription] = []
        self._draining: asyncio.Task[None] | None = None
        self._calling: asyncio.Task[None] | None = None
        self._drained = asyncio.Event()
        self._let_go = asyncio.Event()
        #: What the executor goes on without, for now.
        self.without: Callable[[], Mapping[str, str]] = dict
        self.runs = runs
        runs.released = self._release

    # --- the room ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        await self._listen()
        for lane, token in enumerate(subjects.LANES):
            for stream in _STREAMS:
                share = self._shares.add(lane)
                deliver = self._deliver_from(stream, share)
                consumer = subjects.executors(token)
                share.consumption = await self._bus.consume(stream, consumer, deliver, share.room)
        spoken = self._clock.monotonic()
        while not self._drained.is_set():
            if self._bus.connected:
                spoken = self._heartbeat(spoken)
            metrics.RUNNING.set(len(self.runs.running))
            metrics.SLOTS.set(self._limits.slots)
            with suppress(TimeoutError):
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    await self._drained.wait()

    async def drain(self) -> None:
        """Take nothing new; let what runs finish for a while; hand the rest back to the queue."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain())
        await asyncio.shield(self._draining)

    async def _drain(self) -> None:
        _log.info("draining", executions=len(self.runs.running))
        self._say_present()
        for share in self._shares.all:
            if share.consumption is not None:
                await share.consumption.stop()
        try:
            await asyncio.wait_for(self._until_idle(), self._limits.drain_grace)
        except TimeoutError:
            _log.info("handing back what still runs", executions=len(self.runs.running))
            for execution in list(self.runs.running.values()):
                self.runs.stop(execution, "drained")
            await self._until_idle()
        finally:
            self._drained.set()

    def problems(self) -> Mapping[str, str]:
        found: dict[str, str] = {}
        if self._draining is not None:
            found["executor"] = "draining"
        if not self._bus.connected:
            found["nats"] = "not connected"
        if self.runs.children.pick() is None:
            found["children"] = "no child process is ready"
        return found

    def degraded(self) -> Mapping[str, str]:
        return self.without()

    def _heartbeat(self, spoken: float) -> float:
        """Renew all leases. After too long a silence others may have taken over what runs here: look."""
        now = self._clock.monotonic()
        if now - spoken > SILENCE_SECONDS:
            self.runs.background(self._look_after_silence())
        for lease in self._leases.values():
            lease.delivery.in_progress()
        self._say_present()
        if self._calling is None or self._calling.done():
            self._calling = asyncio.create_task(self._look_after_permits())
        return now

    async def _look_after_permits(self) -> None:
        try:
            await self.permits.pay_back()
            if self._presences.is_first():
                await self.permits.call_waiting()
        except BusUnavailable as problem:
            _log.warning("could not see who waits for a permit", reason=problem.message)
        except Exception:
            _log.exception("could not see who waits for a permit")

    async def _listen(self) -> None:
        executor = self.runs.executor
        for subject, heard in (
            (subjects.ALL_CANCELS, self._cancel_heard),
            (subjects.drain(executor), self._drain_heard),
            (subjects.ROLL_CALL, self._called),
            (subjects.GIVEN_UP, self._given_up_heard),
            (subjects.ALL_PRESENCE, self._presences.heard),
        ):
            self._listening.append(await self._bus.listen(subject, heard))

    def _called(self, subject: str, _: bytes) -> None:
        self._say_present()

    def _drain_heard(self, subject: str, _: bytes) -> None:
        """Somebody wants this executor to end; its process does when it has nothing more."""
        self.runs.background(self.drain())

    def _say_present(self) -> None:
        executor = self.runs.executor
        said = Presence(
            executor=executor,
            host=socket.gethostname(),
            pid=os.getpid(),
            running=len(self._leases),
            slots=self._limits.slots,
            draining=self._draining is not None,
        )
        self._bus.send(subjects.presence(executor), encode_presence(said))

    def _given_up_heard(self, _: str, advisory: bytes) -> None:
        """The broker delivers a message no more: it would lie there for ever."""
        self.runs.background(self._bury_given_up(advisory))

    async def _bury_given_up(self, advisory: bytes) -> None:
        try:
            told = msgspec.json.decode(advisory, type=_Advisory)
            filters = {subjects.REQUESTS: subjects.ALL_REQUESTS, subjects.DELAYED: subjects.ALL_DUE}
            if told.stream not in filters or told.consumer not in map(subjects.executors, subjects.LANES):
                return
            found = await self._bus.read(told.stream, filters[told.stream], after=told.stream_seq - 1, limit=1)
            if not found or found[0].sequence != told.stream_seq:
                return  # another executor was first
            given_up = GivenUp(
                kind="undeliverable",
                reason=f"the broker gave it up after {told.deliveries} deliveries",
                source=f"{told.stream}:{told.stream_seq}",
                subject=found[0].subject,
                payload=found[0].payload,
                id=found[0].id,
                deliveries=told.deliveries,
            )
            await self.runs.burial.bury(given_up)
            await self._bus.remove(told.stream, told.stream_seq)
        except Exception:
            _log.exception("what the broker gave up could not be kept")

    async def _look_after_silence(self) -> None:
        try:
            await self.runs.check_claims()
        except Exception:
            _log.exception("could not check the claims; a refused write will tell")

    async def _until_idle(self) -> None:
        while self._leases:
            self._let_go.clear()
            await self._let_go.wait()

    def _cancel_heard(self, subject: str, _: bytes) -> None:
        execution = self.runs.running.get(subject.rpartition(".")[2])
        if execution is not None:
            self.runs.stop(execution, "cancelled")

    # --- taking ------------------------------------------------------------------------------------------------------

    def _deliver_from(self, stream: str, share: Share) -> Callable[[Delivery], None]:
        def deliver(delivery: Delivery) -> None:
            lease = Lease(stream, delivery)
            held = self._leases.get(lease.key)
            if held is None:
                self._leases[lease.key] = lease
                has_slot = self._slots.take(share.lane)
                self.runs.background(self._take(lease) if has_slot else self._wait(lease, share))
            else:
                # Our heartbeat came too late and the message was delivered again, to us: it is still ours.
                held.delivery = delivery
            share.delivered(delivery.pending)

        return deliver

    async def _wait(self, lease: Lease, share: Share) -> None:
        """Take it as soon as there is a slot for it, or give it back: another executor may have one."""
        if await self._slots.wait(share.lane):
            await self._take(lease)
        else:
            share.sent_away()
            del self._leases[lease.key]
            self._let_go.set()
            lease.delivery.nak()

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
            else:
                await self._count_failure(lease)
        finally:
            if execution is None:
                self._release(lease)

    async def _count_failure(self, lease: Lease) -> None:
        self._failures[lease.key] += 1
        if self._failures[lease.key] >= MAX_FAILURES:
            del self._failures[lease.key]
            await self._set_aside(lease, "undeliverable", f"it could not be taken {MAX_FAILURES} times")
        elif len(self._failures) > _MOST_FAILURES:
            self._failures.clear()  # others have taken them meanwhile

    async def _claim(self, lease: Lease) -> Execution | None:
        """The execution that this message asks for, if it is ours to run now."""
        request = await self._readable(lease)
        if request is None:
            return None
        manifest = self.runs.children.manifests.get(request.workflow)
        version = "" if manifest is None else manifest.version
        if not await self._admit(request, lease, manifest):
            lease.delivery.ack()
            return None
        asked_at = self._clock.monotonic()
        verdict = await self._claims.claim(request, lease.message, lease.lane, version)
        if isinstance(verdict, Settled):
            if verdict.terminal is not None:
                self._endings.answer(request, verdict.terminal)
            lease.delivery.ack()
            return None
        while (before := self.runs.running.get(request.execution_id)) is not None:
            # Our own earlier run has just lost its claim; its frames must not be taken for those of this one.
            self.runs.stop(before, "fenced")
            await before.over.wait()
        observation = self.runs.observe(request, lease)
        execution = Execution(request, lease, manifest or _unknown(request), verdict, observation, asked_at)
        self.runs.add(execution)
        return execution

    async def _admit(self, request: Request, lease: Lease, manifest: Manifest | None) -> bool:
        """Whether it may run now, as far as limits of what runs at once go."""
        org = self.runs.org(request)
        if manifest is None or request.wake or not is_limited(manifest, org):
            return True
        limits = limits_of(request, manifest, org, self.runs.parameters_of(request), self.runs.sealer)
        return await self.permits.admit(request.execution_id, lease, limits)

    async def _begin(self, execution: Execution) -> None:
        workflow = execution.request.workflow
        if workflow in self.runs.children.manifests:
            # What has taken a child down before may do so again: not one that others are in.
            await self.runs.start(execution, quarantine=execution.crashes > 0)
        else:
            problem = WorkflowNotFound(f"No executor has a workflow {workflow!r}.")
            self.runs.give_up(execution, "unknown_workflow", problem)

    async def _readable(self, lease: Lease) -> Request | None:
        """The request, or None after setting aside what nobody can read."""
        payload = lease.delivery.payload
        version = version_of(payload)
        if version > REQUEST_VERSION:
            reason = f"it is of version {version}, and this executor reads up to {REQUEST_VERSION}"
            await self._set_aside(lease, "newer_version", reason)
            return None
        try:
            request = decode_request(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            await self._set_aside(lease, "unreadable", f"it cannot be read: {problem}")
            return None
        if not (is_token(request.org) and is_token(request.workflow) and is_token(request.execution_id)):
            await self._set_aside(lease, "unreadable", "it names what cannot be a subject")
            return None
        return request

    async def _set_aside(self, lease: Lease, kind: DeadKind, reason: str) -> None:
        """Keep it where an operator can look at it, end what waits for it, and take it off the queue."""
        delivery = lease.delivery
        given_up = GivenUp(
            kind=kind,
            reason=reason,
            source=lease.message,
            subject=delivery.subject,
            payload=delivery.payload,
            id=delivery.id,
            deliveries=delivery.delivered,
        )
        await self.runs.burial.bury(given_up)
        delivery.term(kind)

    def _release(self, lease: Lease) -> None:
        if lease.permits:
            self.runs.background(self._release_with_permits(lease))
        else:
            self._let_it_go(lease)

    async def _release_with_permits(self, lease: Lease) -> None:
        try:
            await self.permits.give_back(lease)
        except Exception:
            _log.exception("permits were not given back; they are void when this executor is gone")
        finally:
            self._let_it_go(lease)

    def _let_it_go(self, lease: Lease) -> None:
        self._leases.pop(lease.key, None)
        self._let_go.set()
        self._slots.give_back(subjects.LANES.index(lease.lane))
        self._shares.pull()


class _Advisory(msgspec.Struct):
    """What nats-server says of a message that it delivers no more."""

    stream: str
    consumer: str
    stream_seq: int
    deliveries: int = 0


def _unknown(request: Request) -> Manifest:
    return Manifest(name=request.workflow, description="", parameters=msgspec.Raw(b"{}"))
