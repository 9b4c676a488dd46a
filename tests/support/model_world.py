"""Gateways and executors of the real code over `model_broker`, stepped by a plan: each byte chooses what happens next.

A plan is played, faults and all; then the faults stop and the world is drained: nothing accepted may be left over.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import msgspec
from hypothesis import HealthCheck, settings

from runlane.clock import ManualClock
from runlane.contracts import subjects
from runlane.contracts.approvals import ApprovalAsk
from runlane.contracts.encoding import encode
from runlane.contracts.events import Failure
from runlane.contracts.trace import LogEntry
from runlane_executor.frames import Paused, Raised, Returned, Trace
from tests.support.memory_bus import START
from tests.support.model_actors import ExecutorActor
from tests.support.model_broker import Broker, Effect, Fate, Work
from tests.support.model_callers import Callers
from tests.support.model_oracle import Oracle

#: A drained world has nothing more to do long before this.
_DRAIN_STEPS = 3000


class World:
    """Everything, and the choices that there are at each moment."""

    def __init__(self, plan: bytes, executors: int = 2) -> None:
        self.clock = ManualClock(START)
        self.broker = Broker(self.clock)
        self.broker.lose_ack = lambda: self.faulty and self.byte() % 8 == 0
        self._plan, self._place, self.faulty = plan, 0, True
        self.oracle = Oracle(self.broker)
        self.callers = Callers(self.broker, self.byte, self.oracle.records)
        self._fates: dict[str, list[Fate]] = {}
        self._executors_made = 0
        self.executors: list[ExecutorActor] = []
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
        self.callers.submit()
        await self._settle()
        while not self.over:
            self._choose()
            await self._settle()
            self._check()
        self.faulty, calm_since = False, self.clock.now()
        await self._drain()
        self._check()
        self.oracle.check_ended(self.callers.accepted, list(self._refused_in_good_order()), calm_since)

    def _check(self) -> None:
        assert not self.callers.unexpected, self.callers.unexpected
        self.oracle.check()

    def _refused_in_good_order(self) -> Iterator[str]:
        """What was refused because one effect alone was refused: nothing kept its gateway from withdrawing it."""
        for execution in self.callers.refused:
            actor = f"accept-{execution}"
            if actor not in self.broker.crashed and self._fates.get(actor) == ["refused"]:
                yield execution

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
                self.callers.submit, self.callers.cancel, self.callers.approve, self._advance, self._crash,
                self._lease_ends, self.callers.again, self.callers.signal,
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
            if fate != "done":
                self._fates.setdefault(effect.actor, []).append(fate)
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
                self.oracle.died(list(code.running))
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

    def _start_executor(self) -> None:
        self._executors_made += 1
        self.executors.append(ExecutorActor(self.broker, f"executor-{self._executors_made}", self.oracle.called))

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


def plans(share: int) -> settings:
    """One of `share` files' part of all examples: 10,000, always the same ones, so that what passes once passes again.

    `RUNLANE_MODEL_EXAMPLES` asks for so many others, new ones at each run: to search, not to check.
    """
    asked = os.environ.get("RUNLANE_MODEL_EXAMPLES")
    return settings(
        max_examples=int(asked or 10_000) // share,
        derandomize=asked is None,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )


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
