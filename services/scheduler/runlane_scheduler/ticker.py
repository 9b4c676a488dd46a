"""Decides due ticks and carries them out, line by line. Called by `scheduler`.

The tick records of a line are its referee: each is stored only as the successor of the one this scheduler knows, so of
several schedulers one decides a tick, and the others adopt its decision. What a decision asks for is carried out after
it was stored; whoever finds one that was not carried out (its scheduler died) does so in its place.
"""

import msgspec

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import TickData, Ticked, decode_event
from runlane.errors import BusUnavailable, StateConflict
from runlane.ports import Bus, Message, Stored
from runlane.telemetry import logger

from .agenda import Line, Tally
from .executions import Executions, execution_of, iso
from .metrics import LATENESS, TICKS
from .plans import Plan
from .timetable import ticks_between
from .verdicts import FIRING, Verdict, judge, still_wanted

_log = logger(__name__)


class Ticker:
    """One scheduler's hand on the ticks. `name` tells it from the other schedulers."""

    def __init__(self, bus: Bus, clock: Clock, name: str) -> None:
        self._bus, self._clock = bus, clock
        self._name, self._source = name, f"/runlane/scheduler/{name}"
        self._executions = Executions(bus, clock, self._source)

    async def history(self) -> list[Tally]:
        """The last tick record of every line."""
        return [_tally(stored) for stored in await self._bus.last_of_each(subjects.EVENTS, subjects.ALL_TICKS)]

    async def settle(self, line: Line) -> None:
        """Decide every tick that is due on a line, oldest first, and carry out each before the next.

        Raises `BusUnavailable`; then the line stands where it got to and the rest is due still.
        """
        plan = line.plan
        while plan is not None:
            await self._finish(line, plan)
            now = self._clock.now()
            span = ticks_between(*plan.timing, line.base, now)
            if not span.ticks or await self._decide_all(line, plan, judge(span, now, plan.manifest)):
                return

    async def _decide_all(self, line: Line, plan: Plan, verdicts: list[Verdict]) -> bool:
        """False as soon as another scheduler turns out to have been there: then look again."""
        for verdict in verdicts:
            record = await self._record(line, plan, verdict)
            try:
                sequence = await self._bus.publish(self._message(plan, record, line.sequence))
            except StateConflict:
                await self._catch_up(line)
                return False
            line.adopt(sequence, record)
            self._measure(record)
            if record.outcome in FIRING:
                await self._carry_out(plan, record)
                line.unfinished = None
        return True

    async def _record(self, line: Line, plan: Plan, verdict: Verdict) -> TickData:
        """What is to be recorded of a tick: the clock's verdict, unless the overlap policy objects."""
        outcome, reason, policy = verdict.outcome, verdict.reason, plan.manifest.overlap_policy
        if outcome in FIRING and policy != "allow" and line.previous is not None:
            standing = await self._executions.standing(plan, line.previous)
            if standing.unfinished:
                outcome = "skipped" if policy == "skip" else outcome
                overlap = f"execution {line.previous} is still {standing.phase}; overlap_policy is {policy}"
                reason = overlap if reason is None else f"{reason}; {overlap}"
        return TickData(
            scheduled_for=verdict.scheduled_for,
            outcome=outcome,
            reason=reason,
            execution_id=execution_of(plan, verdict.scheduled_for) if outcome in FIRING else None,
            previous_execution_id=line.previous,
            schedule=plan.expression,
            time_zone=plan.zone,
        )

    def _message(self, plan: Plan, record: TickData, after: int) -> Message:
        event = Ticked(
            id=f"tick:{execution_of(plan, record.scheduled_for)}",
            source=self._source,
            subject=f"{plan.workflow}/{iso(record.scheduled_for)}",
            time=self._clock.now(),
            organization=plan.org,
            workflow=plan.workflow,
            data=record,
        )
        # The sequence keeps a second record out. The id is this scheduler's own: if its acknowledgement is lost,
        # another scheduler's record of the same tick must not pass for this one.
        return Message(
            subject=subjects.tick(plan.org, plan.workflow),
            payload=encode(event),
            id=f"{event.id}:{self._name}",
            expect_last=after,
        )

    async def _catch_up(self, line: Line) -> None:
        """Adopt what another scheduler recorded on the line."""
        stored = await self._bus.last(subjects.EVENTS, subjects.tick(line.org, line.workflow))
        known = line.sequence
        if stored is None:
            line.sequence = 0  # the last record has aged out of the stream
        else:
            tally = _tally(stored)
            line.sequence = tally.sequence
            if tally.record is not None:
                line.adopt(tally.sequence, tally.record)
        if line.sequence == known:
            raise BusUnavailable("The last tick record cannot be read yet.")  # from a replica that lags

    async def _finish(self, line: Line, plan: Plan) -> None:
        """Carry out the last decision if whoever made it did not."""
        record = line.unfinished
        if record is None:
            return
        standing = await self._executions.standing(plan, execution_of(plan, record.scheduled_for))
        wanted = still_wanted(record.scheduled_for, self._clock.now(), plan.manifest)
        if standing.phase == "queued" or (standing.phase == "absent" and wanted):
            await self._carry_out(plan, record)
        elif standing.phase == "absent":
            # Cancelled, so that the tick is explained, and cannot be started by a scheduler that only stood still.
            policy = plan.manifest.misfire_policy
            reason = f"Its scheduler ended before it could start it; now it is too late (misfire_policy is {policy})"
            await self._executions.withdraw(plan, record.scheduled_for, reason)
            _log.error(reason, org=plan.org, workflow=plan.workflow, scheduled_for=iso(record.scheduled_for))
        line.unfinished = None

    async def _carry_out(self, plan: Plan, record: TickData) -> None:
        if plan.manifest.overlap_policy == "cancel_previous" and record.previous_execution_id is not None:
            reason = f"The tick of {iso(record.scheduled_for)} takes its place (overlap_policy is cancel_previous)"
            await self._executions.cancel(plan, record.previous_execution_id, reason)
        await self._executions.start(plan, record.scheduled_for)

    def _measure(self, record: TickData) -> None:
        TICKS[record.outcome].inc()
        if record.outcome in FIRING:
            LATENESS.observe(max(0.0, (self._clock.now() - record.scheduled_for).total_seconds()))


def _tally(stored: Stored) -> Tally:
    org, workflow = subjects.parse_tick(stored.subject)
    record: TickData | None = None
    try:
        event = decode_event(stored.payload)
        record = event.data if isinstance(event, Ticked) else None
    except msgspec.DecodeError as problem:
        _log.error("unreadable tick record", subject=stored.subject, sequence=stored.sequence, reason=str(problem))
    return Tally(org, workflow, stored.sequence, record)
