"""Gateways and executors of the real code over `model_broker`, stepped by a plan: each byte chooses what happens next.

A plan is played, faults and all; then the faults stop and the world is drained: nothing accepted may be left over.
"""

import asyncio
import os
import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from hypothesis import HealthCheck, settings

from runlane.clock import ManualClock
from runlane.contracts import subjects
from runlane.contracts.approvals import ApprovalAsk, ApprovalTerms
from runlane.contracts.directory import Manifest, RetrySettings
from runlane.contracts.messages import Caller, Failure, LogEntry, Started, TerminalEvent, Trigger, decode_event, encode
from runlane.contracts.records import Record, fold
from runlane.directory import Directory
from runlane.errors import RunlaneError
from runlane.sealing import Sealer
from runlane_executor.claim import Claims
from runlane_executor.endings import Endings
from runlane_executor.frames import Paused, Raised, Returned, Stop, Stopped, Trace
from runlane_executor.intake import Intake, Limits
from runlane_executor.runs import Runs, Tools
from runlane_executor.stateline import StateLine
from runlane_gateway.accept import Acceptor, Submission
from runlane_gateway.cancelling import Canceller
from runlane_gateway.deciding import Decider, Verdict
from runlane_gateway.principals import Principal
from runlane_gateway.signals import Signal, Signaller
from tests.support.memory_bus import START
from tests.support.model_broker import ActorBus, Broker, Effect, Fate, Work, WorkDelivery

ORG, WORKFLOW = "acme", "hello"
MANIFEST = Manifest(
    name=WORKFLOW, description="", parameters=msgspec.Raw(b"{}"), version="1", retry=RetrySettings(max_attempts=3)
)
SEALER = Sealer(b"k" * 32)
#: A drained world has nothing more to do long before this.
_DRAIN_STEPS = 3000


class Code:
    """A child process and the authors' code in it: it does what the plan says."""

    def __init__(self, executor: "ExecutorActor") -> None:
        self._executor = executor
        self.alive, self.ending = True, False
        self.running: dict[str, None] = {}
        self.pipe = self

    def run(self, run: Any, config: object) -> None:
        self.running[run.identity.execution_id] = None

    def send(self, frame: object) -> None:
        if isinstance(frame, Stop) and frame.execution_id in self.running:
            self.say(Stopped(frame.execution_id))

    def say(self, frame: Any) -> None:
        self._executor.runs.heard(cast(Any, self), frame)


class Codes:
    """`Children` as `Runs` uses them."""

    def __init__(self, executor: "ExecutorActor") -> None:
        self._executor = executor
        self.manifests = {WORKFLOW: MANIFEST}
        self.all: list[Code] = [Code(executor)]

    def pick(self) -> Code:
        return self.all[0]

    async def alone(self) -> Code:
        self.all.append(Code(self._executor))
        return self.all[-1]

    def done(self, child: Code, execution_id: str) -> None:
        child.running.pop(execution_id, None)

    def end(self, child: Code) -> None:
        self.die(child)

    def die(self, child: Code) -> None:
        child.alive = False
        self.all.remove(child)
        if not self.all:
            self.all.append(Code(self._executor))
        self._executor.runs.died(cast(Any, child), -9)


class ExecutorActor:
    """One executor process: the real intake, claims, runs and endings."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.broker, self.name = broker, name
        bus = cast(Any, ActorBus(broker, name))
        line = StateLine(bus, name)
        claims = Claims(line, broker.clock, SEALER)
        endings = Endings(line, claims, broker.clock, SEALER, lambda: 0.5, timedelta(days=7))
        vendors = cast(Any, SimpleNamespace(over=lambda execution_id: None))
        self.runs = Runs(Tools(line, claims, endings, Directory(), SEALER, cast(Any, None), broker.clock, 1.0, vendors))
        self.codes = Codes(self)
        self.runs.children = cast(Any, self.codes)
        self.intake = Intake(bus, claims, endings, self.runs, broker.clock, Limits())
        self._deliver = {
            stream: self.intake._deliver_from(stream, self.intake._shares.add(0))
            for stream in (subjects.REQUESTS, subjects.DELAYED)
        }

    def deliver(self, work: Work) -> None:
        work.holder, work.delivered = self.name, work.delivered + 1
        self._deliver[work.stream](WorkDelivery(self.broker, work, self.name))

    def holds(self, work: Work) -> bool:
        return (work.stream, work.sequence) in self.intake._leases


class World:
    """Everything, and the choices that there are at each moment."""

    def __init__(self, plan: bytes, executors: int = 2) -> None:
        self.clock = ManualClock(START)
        self.broker = Broker(self.clock)
        self.broker.lose_ack = lambda: self.faulty and self.byte() % 8 == 0
        self._plan, self._place, self.faulty = plan, 0, True
        self.accepted: list[str] = []
        self._asked = self._checked = 0
        self._ended: set[str] = set()
        self._attempts: dict[str, int] = {}
        self._owners: dict[str, tuple[int, str]] = {}
        self._submissions: dict[str, Submission] = {}
        self._executors_made = 0
        self.executors: list[ExecutorActor] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._unexpected: list[BaseException] = []
        self.log: list[str] = []
        for _ in range(executors):
            self._start_executor()

    # --- the plan ----------------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        return self._place >= len(self._plan)

    def byte(self) -> int:
        self._place += 1
        return self._plan[self._place - 1] if self._place <= len(self._plan) else 0

    async def play(self) -> None:
        """Play the plan, then drain."""
        self.submit()
        await self._settle()
        while not self.over:
            self._choose()
            await self._settle()
            self.check()
        self.faulty = False
        await self._drain()
        self.check()
        self.check_ended()

    async def close(self) -> None:
        """Nothing of this world goes on."""
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _choose(self) -> None:
        kind = self.byte() % 32
        if kind < 12:
            self._some_effect("done")
        elif kind < 14:
            self._some_effect("unheard")
        elif kind == 14:
            self._some_effect("refused")
        elif kind < 20:
            self._some_delivery()
        elif kind < 24:
            self._some_code()
        else:
            rare: list[Callable[[], None]] = [
                self.submit, self.cancel, self.approve, self._advance, self._crash, self._lease_ends,
                self.again, self.signal,
            ]  # fmt: skip
            rare[kind - 24]()

    def _pick(self, options: list[Any]) -> Any:
        return options[self.byte() % len(options)] if options else None

    # --- what may happen ---------------------------------------------------------------------------------------------

    def _some_effect(self, fate: Fate) -> None:
        effect: Effect | None = self._pick(self.broker.effects)
        if effect is not None:
            self.broker.effects.remove(effect)
            effect.happen(fate)
            self.log.append(f"{effect.actor}: {fate}")

    def _some_delivery(self) -> None:
        for subject in self.broker.due():
            self.broker.fire(subject)
        work: Work | None = self._pick([it for it in self.broker.work.values() if it.holder is None])
        if work is not None:
            self._pick(self.executors).deliver(work)

    def _lease_ends(self) -> None:
        """Of a message that somebody holds, who may be alive: a pause too long, heartbeats that got lost."""
        work: Work | None = self._pick([it for it in self.broker.work.values() if it.holder is not None])
        if work is not None:
            self._pick(self.executors).deliver(work)
        if self.byte() % 2:
            self.broker.forget_ids()

    def _some_code(self) -> None:
        running = [(it, code, key) for it in self.executors for code in it.codes.all for key in code.running]
        found = self._pick(running)
        if found is None:
            return
        executor, code, key = found
        match self.byte() % 9:
            case 0 | 1 | 2:
                code.say(Returned(key, b'{"ok":true}'))
            case 3:
                code.say(Raised(key, Failure("IntegrationError", "no"), True, ["IntegrationError"]))
            case 4:
                code.say(Paused(key, "sleep", self.clock.now() + timedelta(seconds=30)))
            case 5:
                ask = ApprovalAsk(message="Go on?", step="approve", approvers=[], count=1)
                code.say(Paused(key, "approval:approve", self.clock.now() + timedelta(seconds=60), ask))
            case 6:
                entry = LogEntry(at=self.clock.now(), level="info", message="line", data=msgspec.Raw(b"{}"))
                code.say(Trace(key, 1, encode(cast(Any, entry))))
                executor.runs.running[key].trace.flush()
            case 7:
                code.say(Paused(key, subjects.waits_for("paid"), self.clock.now() + timedelta(seconds=60)))
            case _:
                executor.codes.die(code)

    def _advance(self) -> None:
        self.clock.set(self.clock.now() + timedelta(seconds=1 + self.byte() % 40))

    def _crash(self) -> None:
        """An actor ends between two of its effects; an executor is replaced by a new one."""
        names = [it.name for it in self.executors] + sorted({it.actor for it in self.broker.effects})
        self.crash(self._pick(names))

    def crash(self, name: str) -> None:
        self.broker.crash(name)
        if name.startswith("executor"):
            self.executors = [it for it in self.executors if it.name != name]
            self._start_executor()

    def submit(self) -> None:
        if self._asked >= 3:
            return
        self._asked += 1
        execution_id, kind = f"e{self._asked}", self.byte() % 4
        terms = ApprovalTerms(expires_at=self.clock.now() + timedelta(seconds=90), rule="r")
        submission = Submission(
            execution_id=execution_id,
            org=ORG,
            manifest=MANIFEST,
            parameters={},
            caller=Caller("caller"),
            trigger=Trigger(),
            run_at=self.clock.now() + timedelta(seconds=20) if kind == 2 else None,
            approval=terms if kind == 3 else None,
        )
        self._submissions[execution_id] = submission
        acceptor = Acceptor(cast(Any, ActorBus(self.broker, f"accept-{execution_id}")), SEALER, self.clock, "g")

        async def accept() -> None:
            await (acceptor.submit_once if kind == 1 else acceptor.submit)(submission)
            self.accepted.append(execution_id)

        self._spawn(accept())

    def cancel(self) -> None:
        record = self._some_record()
        if record is not None:
            bus = cast(Any, ActorBus(self.broker, f"cancel-{self._place}"))
            waiters = cast(Any, SimpleNamespace(ended=lambda *_: None))
            self._spawn(Canceller(bus, self.clock, waiters, "g").cancel(ORG, record, Caller("c"), "enough"))

    def approve(self) -> None:
        record = self._some_record()
        if record is not None:
            bus = cast(Any, ActorBus(self.broker, f"decide-{self._place}"))
            waiters = cast(Any, SimpleNamespace(ended=lambda *_: None))
            name = f"k{self.byte() % 2}"
            who = Principal(name, name, None, frozenset({ORG}), frozenset({"*"}))
            decider = Decider(bus, Directory(), SEALER, self.clock, waiters, "g")
            self._spawn(decider.decide(record, who, Verdict(approved=self.byte() % 3 > 0)))

    def signal(self) -> None:
        """An event from outside; the same one may be sent again."""
        record = self._some_record()
        if record is not None:
            bus = cast(Any, ActorBus(self.broker, f"signal-{self._place}"))
            given = Signal(name="paid", id=f"s{self.byte() % 2}", data={}, by=Caller("c"))
            self._spawn(Signaller(bus, SEALER, self.clock, "g").send(record, given))

    def again(self) -> None:
        """A caller who heard no answer asks again, while nobody has claimed what he asked for (`calls` checks that)."""
        record = self._some_record()
        submission = None if record is None else self._submissions[record.execution_id]
        if record is None or submission is None or record.state_sequence:
            return
        acceptor = Acceptor(cast(Any, ActorBus(self.broker, f"again-{self._place}")), SEALER, self.clock, "g")

        async def accept() -> None:
            await acceptor.submit_again(submission, record)
            self.accepted.append(record.execution_id)

        self._spawn(accept())

    def _some_record(self) -> Record | None:
        records = self.records()
        return cast(Record | None, self._pick([records[key] for key in sorted(records)]))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        async def caller() -> None:
            try:
                await work
            except RunlaneError:
                pass  # the caller was told that it did not work
            except Exception as problem:
                self._unexpected.append(problem)

        self._tasks.append(asyncio.get_running_loop().create_task(caller()))

    def _start_executor(self) -> None:
        self._executors_made += 1
        self.executors.append(ExecutorActor(self.broker, f"executor-{self._executors_made}"))

    # --- after the last fault ----------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        for _ in range(6):
            await asyncio.sleep(0)

    async def _drain(self) -> None:
        for _ in range(_DRAIN_STEPS):
            await self._settle()
            if not self._drain_step():
                return
        raise AssertionError("it never comes to rest")

    def _drain_step(self) -> bool:
        """The next thing that happens by itself in a world without faults; False when there is none."""
        if self.broker.effects:
            self.broker.effects.pop(0).happen("done")
            return True
        for work in list(self.broker.work.values()):
            if not any(it.name == work.holder and it.holds(work) for it in self.executors):
                self.executors[0].deliver(work)
                return True
        for executor in self.executors:
            for code in executor.codes.all:
                for key in code.running:
                    code.say(Returned(key, b'{"ok":true}'))
                    return True
        due = self.broker.next_due()
        if due is None:
            return False
        self.clock.set(max(due, self.clock.now()))
        for subject in self.broker.due():
            self.broker.fire(subject)
        return True

    # --- the oracle --------------------------------------------------------------------------------------------------

    def records(self) -> dict[str, Record]:
        return folded([(stored.sequence, stored.payload) for stored in self.broker.events])

    def check(self) -> None:
        """What holds at every moment: one line of states, one end and nothing after it, attempts that only grow."""
        assert not self._unexpected, self._unexpected
        ended, attempts, owners = self._ended, self._attempts, self._owners
        new, self._checked = self.broker.events[self._checked :], len(self.broker.events)
        for stored in new:
            event = decode_event(stored.payload)
            if ".state." not in stored.subject and not stored.subject.endswith(".trace"):
                continue
            key = cast(Any, event).subject
            assert key not in ended, f"{stored.subject} came after the end of {key}"
            attempt = cast(Any, event).attempt
            if type(event).__name__ not in ("Cancelled", "ApprovalExpired", "Rejected"):
                assert attempt >= attempts.get(key, 0), f"{stored.subject} goes back to attempt {attempt}"
                attempts[key] = attempt
            assert attempt <= MANIFEST.retry.max_attempts
            if isinstance(event, Started):
                before, request = owners.get(key, (0, "")), event.data.request
                assert event.data.losses == 0 or before[1] == request, f"{request} takes over what {before[1]} holds"
                owners[key] = (event.attempt, request)
            if isinstance(event, TerminalEvent):
                ended.add(key)

    def check_ended(self) -> None:
        """What was accepted has ended, no message is left, and the record is the same in whatever order it is told."""
        records = self.records()
        stuck = {key: records[key].status for key in self.accepted if not records[key].finished}
        assert not stuck, f"accepted, and never ended: {stuck}"
        left = [it.subject for it in self.broker.work.values()] + list(self.broker.delayed) + self.broker.dead
        assert not left, f"left over: {left}"
        events = [(stored.sequence, stored.payload) for stored in self.broker.events]
        shuffled = events + events[::2]
        random.Random(len(self._plan)).shuffle(shuffled)
        assert folded(shuffled) == records


def plans(share: int) -> settings:
    """One of `share` files' part of all examples (`RUNLANE_MODEL_EXAMPLES`, 10,000)."""
    examples = int(os.environ.get("RUNLANE_MODEL_EXAMPLES", "10000")) // share
    return settings(
        max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
    )


def folded(events: list[tuple[int, bytes]]) -> dict[str, Record]:
    """What the recorder makes of events that come in this order."""
    records: dict[str, Record] = {}
    for sequence, payload in events:
        event = decode_event(payload)
        key = cast(Any, event).subject
        folded_ = fold(records.get(key), sequence, event)
        assert folded_ is not None
        records[key] = folded_
    return records


def play(plan: bytes, prepare: Callable[[World], None] = lambda world: None) -> World:
    """Play a plan in a loop of its own."""

    async def played() -> World:
        world = World(plan)
        prepare(world)
        try:
            await world.play()
        finally:
            await world.close()
        return world

    return asyncio.run(played())
