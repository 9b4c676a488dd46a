"""When what is due: a line for each schedule, and a heap of their next ticks that follows the directory.

Used by `scheduler` only. No lookup here leaves the process.
"""

import heapq
import itertools
from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts.events import TickData
from runlane.directory import ALL_WORKFLOWS, Directory

from .plans import Plan, orgs_of, plan_of
from .timetable import next_tick
from .verdicts import FIRING

_NEVER = datetime.min.replace(tzinfo=UTC)

#: The directory entries that make schedules.
_KINDS = ("workflows.", "orgs.", "schedules.", "approvals.")


class Line(Struct, kw_only=True, eq=False):
    """One workflow's schedule in one organisation, and how far it got.

    `base`: every tick up to here is decided (or came before the schedule). `sequence`: of its last tick record.
    `previous`: the execution of the last tick that fired. `unfinished`: a record that says so, but may not have been
    acted on. `plan` None: it has no schedule now; its history is kept in case it gets one again.
    """

    org: str
    workflow: str
    plan: Plan | None = None
    timing: tuple[str, str] | None = None
    base: datetime = _NEVER
    sequence: int = 0
    previous: str | None = None
    unfinished: TickData | None = None
    due: datetime | None = None

    def adopt(self, sequence: int, record: TickData) -> None:
        """Take over what was recorded of a tick, here or by another scheduler."""
        self.sequence = sequence
        self.base = max(self.base, record.scheduled_for)
        fires = record.outcome in FIRING
        self.previous = record.execution_id if fires else record.previous_execution_id
        self.unfinished = record if fires else None

    def follow(self, plan: Plan | None, at: datetime) -> None:
        """Take over a plan that holds since `at`. What the clock passed before that is no tick of it."""
        self.plan = plan
        timing = None if plan is None else plan.timing
        if plan is not None:
            if timing != self.timing:
                self.base = max(self.base, at)
            if plan.changed_at is not None:
                self.base = max(self.base, min(plan.changed_at, at))
        self.timing = timing


class Tally(Struct, frozen=True):
    """The last tick record of a line, as the stream has it."""

    org: str
    workflow: str
    sequence: int
    record: TickData | None


class Agenda:
    """All lines, and which of them are due."""

    def __init__(self, directory: Directory, clock: Clock, history: Iterable[Tally]) -> None:
        self._directory, self._clock = directory, clock
        self._lines: dict[tuple[str, str], Line] = {}
        self._scheduled: set[str] = set()
        self._heap: list[tuple[datetime, int, Line]] = []
        self._order = itertools.count()
        self._changed: dict[str, datetime] = {}
        self.size = 0
        for tally in history:
            self._remember(tally)
        self._begin()
        directory.on_change(self._note)

    def refresh(self) -> None:
        """Take over what changed in the directory since the last time."""
        changed, self._changed = self._changed, {}
        for key, at in changed.items():
            kind, _, rest = key.partition(".")
            if kind == "workflows":
                self._replan_workflow(rest, at)
            elif kind == "orgs":
                for workflow in self._scheduled:
                    self._replan(rest, workflow, at)
            else:
                org, _, workflow = rest.partition(".")
                for name in self._scheduled if workflow == ALL_WORKFLOWS else [workflow]:
                    self._replan(org, name, at)
        if changed:
            self._count()

    def take_due(self, now: datetime) -> list[Line]:
        """The lines with something to do by now, the most overdue first; give each back with `give_back`."""
        due: list[Line] = []
        while self._heap and self._heap[0][0] <= now:
            at, _, line = heapq.heappop(self._heap)
            if line.due == at:
                line.due = None
                due.append(line)
        return due

    def give_back(self, line: Line, not_before: datetime | None = None) -> None:
        """Wait for the line's next tick; one that was not decided is due still."""
        if line.plan is None:
            line.due = None
            return
        at = self._clock.now() if line.unfinished is not None else next_tick(*line.plan.timing, line.base)
        line.due = at if not_before is None else max(at, not_before)
        heapq.heappush(self._heap, (line.due, next(self._order), line))

    def next_due(self) -> datetime | None:
        """When there is something to do next."""
        while self._heap and self._heap[0][2].due != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _note(self, key: str) -> None:
        if key.startswith(_KINDS):
            self._changed.setdefault(key, self._clock.now())

    def _remember(self, tally: Tally) -> None:
        line = self._lines[tally.org, tally.workflow] = Line(org=tally.org, workflow=tally.workflow)
        line.sequence = tally.sequence
        if tally.record is not None:
            line.adopt(tally.sequence, tally.record)
            line.timing = tally.record.schedule, tally.record.time_zone

    def _begin(self) -> None:
        now = self._clock.now()
        for manifest in self._directory.workflows():
            self._replan_workflow(manifest.name, now)
        for line in self._lines.values():
            if line.plan is None:
                line.timing = None  # when it gets a schedule again, that one begins then
        self._count()

    def _replan_workflow(self, workflow: str, at: datetime) -> None:
        manifest = self._directory.workflow(workflow)
        if manifest is not None and manifest.schedule is not None:
            self._scheduled.add(workflow)
        elif workflow not in self._scheduled:
            return
        for org in orgs_of(self._directory):
            self._replan(org, workflow, at)

    def _replan(self, org: str, workflow: str, at: datetime) -> None:
        plan = plan_of(self._directory, org, workflow)
        line = self._lines.get((org, workflow))
        if line is None:
            if plan is None:
                return
            line = self._lines[org, workflow] = Line(org=org, workflow=workflow)
        timing, base = line.timing, line.base
        line.follow(plan, at)
        if plan is None or line.due is None or (timing, base) != (line.timing, line.base):
            self.give_back(line)

    def _count(self) -> None:
        self.size = sum(line.plan is not None for line in self._lines.values())
