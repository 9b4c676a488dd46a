"""Three schedulers that stop between any two effects while the clock jumps: each tick comes at most once, explained."""

import asyncio
import random
from collections import Counter
from datetime import timedelta
from typing import Any, cast

import msgspec

from runlane.clock import ManualClock
from runlane.contracts.directory import Entry, Org
from runlane.contracts.events import Queued, TickData, Ticked, decode_event
from runlane.cron import Schedule
from runlane.directory import Directory
from runlane.ports import Stored
from runlane_scheduler.scheduler import Scheduler
from tests.support.model_broker import ActorBus, Broker, Fate
from tests.support.scheduling import _key, at, manifest

TICKS = 10_000
START = at("2026-03-02T08:30")
_FIRING = {"fired", "late", "caught_up"}


class SchedulerBus(ActorBus):
    """What a scheduler needs beyond executors."""

    async def last_of_each(self, stream: str, filter_: str) -> list[Stored]:
        found = [it for it in self._broker.events if it.subject.startswith(filter_.removesuffix(">"))]
        return list({it.subject: it for it in found}.values())


class Race:
    """The schedulers, the clock, and a plan of what goes wrong."""

    def __init__(self, seed: int, checks: bool = True, policy: str = "all") -> None:
        self.random = random.Random(seed)
        self.clock = ManualClock(START)
        self.broker = Broker(self.clock)
        self.broker.checks_expectations = checks
        self.directory = Directory()
        entries: list[Entry] = [Org(id=f"org{n}", name=f"Org {n}") for n in range(5)]
        entries.append(manifest(schedule="*/5 * * * *", misfire_policy=policy))
        for revision, entry in enumerate(entries, 1):
            self.directory.apply(_key(entry), msgspec.json.encode(entry), revision)
        self.schedulers: list[Scheduler] = []
        self.rounds: list[asyncio.Task[None] | None] = []
        self.stopped = {0: 0, 1: 0, 2: 0}

    async def open(self) -> None:
        for n in range(3):
            bus = cast(Any, SchedulerBus(self.broker, f"s{n}"))
            self.schedulers.append(await Scheduler.open(bus, self.directory, self.clock, f"s{n}"))
            self.rounds.append(None)

    async def hour(self, faults: bool) -> None:
        """One step of the clock, and what the schedulers do then, in an order that the seed decides."""
        self.clock.set(self.clock.now() + self._step(faults))
        for _ in range(90):
            await self._turn(faults)
        if self.random.random() < 0.2:
            self.broker.forget_ids()

    def _step(self, faults: bool) -> timedelta:
        chance = self.random.random()
        if faults and chance < 0.05:
            return timedelta(hours=1)
        if faults and chance < 0.1:
            return timedelta(hours=-1)
        return timedelta(minutes=5, seconds=self.random.randrange(40))

    async def _turn(self, faults: bool) -> None:
        for n, scheduler in enumerate(self.schedulers):
            task = self.rounds[n]
            if task is None or task.done():
                if task is not None:
                    task.result()
                self.rounds[n] = asyncio.get_running_loop().create_task(scheduler.tick())
            if faults and self.random.random() < 0.01:
                self.stopped[n] = self.random.randrange(10, 400)  # SIGSTOP, wherever it stands
            self.stopped[n] = max(0, self.stopped[n] - 1) if faults else 0
        for _ in range(3):
            await asyncio.sleep(0)
        self._happen(faults)

    def _happen(self, faults: bool) -> None:
        ready = [effect for effect in self.broker.effects if not self.stopped[int(effect.actor[1:])]]
        self.random.shuffle(ready)
        for effect in ready[: self.random.randrange(1, 6)]:
            self.broker.effects.remove(effect)
            fates: list[Fate] = ["done"] * 30 + ["unheard", "refused"]
            effect.happen(self.random.choice(fates) if faults else "done")

    def ticks(self) -> list[tuple[str, TickData]]:
        events = [decode_event(it.payload) for it in self.broker.events if it.subject.startswith("runlane.tick.")]
        return [(event.organization, event.data) for event in events if isinstance(event, Ticked)]


async def raced(seed: int, ticks: int, checks: bool = True, policy: str = "all") -> Race:
    race = Race(seed, checks, policy)
    await race.open()
    while sum(it.subject.startswith("runlane.tick.") for it in race.broker.events) < ticks:
        await race.hour(faults=True)
    for _ in range(30):  # after the last fault: past the furthest that the clock has been
        await race.hour(faults=False)
    for task in race.rounds:
        assert task is not None
        task.cancel()
    await asyncio.gather(*[task for task in race.rounds if task is not None], return_exceptions=True)
    return race


def violations(race: Race) -> list[str]:
    """Ticks that came twice, without an explanation, without their execution; executions without a tick."""
    found: list[str] = []
    records = Counter((org, tick.scheduled_for) for org, tick in race.ticks())
    found += [f"recorded {count} times: {key}" for key, count in records.items() if count > 1]
    schedule = Schedule.parse("*/5 * * * *")
    for org in {org for org, _ in race.ticks()}:
        known = sorted(tick.scheduled_for for owner, tick in race.ticks() if owner == org)
        expected = list(schedule.between(START, known[-1]))
        found += [f"never decided: {org} {tick}" for tick in sorted(set(expected) - set(known))]
    fired = {tick.execution_id for _, tick in race.ticks() if tick.outcome in _FIRING}
    queued = [decode_event(it.payload) for it in race.broker.events if it.subject.endswith(".queued")]
    started = Counter(event.subject for event in queued if isinstance(event, Queued))
    found += [f"queued {count} times: {key}" for key, count in started.items() if count > 1]
    found += [f"fired, not queued: {key}" for key in fired - started.keys()]
    found += [f"queued without a tick: {key}" for key in started.keys() - fired]
    found += [f"no reason: {tick}" for _, tick in race.ticks() if tick.outcome != "fired" and not tick.reason]
    return found


async def test_ten_thousand_ticks_of_three_schedulers_come_once_each_and_are_explained() -> None:
    policies = ["all", "skip"]
    for seed in range(10):
        # Schedulers that skip come to different verdicts on one tick when the clock jumps between them.
        race = await raced(seed, TICKS // 10, policy=policies[seed % 2])
        assert violations(race) == [], f"seed {seed}"
        asked = {it.subject for it in race.broker.work.values()}
        assert all(subject.startswith("runlane.request.") for subject in asked)


async def test_without_the_compare_and_set_ticks_come_twice() -> None:
    """The negative control: this check can fail."""
    race = await raced(0, 300, checks=False)
    assert any("recorded" in problem for problem in violations(race))
