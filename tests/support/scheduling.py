"""A directory, a clock and schedulers over one bus: what the scheduler's tests are made of."""

from datetime import datetime

import msgspec
from msgspec import Raw, Struct

from runlane.clock import ManualClock
from runlane.contracts.directory import ApprovalRule, Entry, Manifest, Org, ScheduleSetting
from runlane.directory import Directory, approval_key, org_key, schedule_key, workflow_key
from runlane.ports import Bus
from runlane_scheduler.scheduler import Scheduler
from tests.support.scheduler_bus import SchedulerBus


def at(text: str) -> datetime:
    """`2026-03-02T09:00` in UTC."""
    return datetime.fromisoformat(f"{text}+00:00")


def manifest(name: str = "audit", schedule: str | None = "0 9 * * *", **more: object) -> Manifest:
    fields = {"name": name, "description": name, "parameters": Raw(b"{}"), "schedule": schedule, **more}
    return msgspec.convert(fields, Manifest)


class World(Struct, eq=False):
    """One directory and one clock. `world.open()` starts another scheduler; `at` moves the clock and ticks them all."""

    clock: ManualClock
    bus: Bus
    directory: Directory
    schedulers: list[Scheduler]

    @classmethod
    def starting(cls, now: str, bus: Bus | None = None) -> "World":
        return cls(ManualClock(at(now)), bus or SchedulerBus(), Directory(), [])

    def put(self, *entries: Entry) -> None:
        for entry in entries:
            self.directory.apply(_key(entry), msgspec.json.encode(entry), self.directory.revision + 1)

    def remove(self, key: str) -> None:
        self.directory.apply(key, None, self.directory.revision + 1)

    async def open(self, name: str = "one") -> Scheduler:
        scheduler = await Scheduler.open(self.bus, self.directory, self.clock, name)
        self.schedulers.append(scheduler)
        return scheduler

    async def restart(self) -> Scheduler:
        """The schedulers died; another one starts now."""
        self.schedulers.clear()
        return await self.open("next")

    async def at(self, now: str) -> None:
        self.clock.set(at(now))
        for scheduler in self.schedulers:
            await scheduler.tick()


def _key(entry: Entry) -> str:
    match entry:
        case Org(id=org):
            return org_key(org)
        case Manifest(name=name):
            return workflow_key(name)
        case ScheduleSetting(org=org, workflow=workflow):
            return schedule_key(org, workflow)
        case ApprovalRule(org=org, workflow=workflow):
            return approval_key(org, workflow)
        case _:
            raise TypeError(type(entry))
