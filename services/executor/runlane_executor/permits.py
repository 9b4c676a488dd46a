"""Keeps limits of what runs at once (ADR 18). Used by `intake` before a claim and after a run.

A limit is one message on PERMITS: who runs under it, changed by compare-and-set. Nothing is renewed: a permit holds as
long as its executor says that it is there, so one that died leaks none. Who gets none waits on WAITING, in order; who
gives one back calls the next from there, and keeps the place for it.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.permits import Limit, Permit, Permits, decode_permits, encode_permits
from runlane.contracts.requests import decode_request
from runlane.errors import BusUnavailable, StateConflict
from runlane.ports import Bus, Message, Stored
from runlane.telemetry import logger

from .execution import Lease
from .presences import Presences

_log = logger(__name__)

#: For so long a place is kept for who was called. Longer than lanes are; else it may have to wait once more.
_KEPT = timedelta(minutes=10)
_CALLED_AT_ONCE = 20
#: Who calls somebody has done so by then.
_CALL_TAKES = timedelta(seconds=5)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_ATTEMPTS = 100
_MOST_PAUSE_SECONDS = 0.02


class PermitDesk:
    """The permits of one executor's runs."""

    def __init__(self, bus: Bus, presences: Presences, clock: Clock, executor: str) -> None:
        self._bus, self._presences, self._clock, self._executor = bus, presences, clock, executor
        self._owed: list[tuple[str, str]] = []
        #: Changes of one limit by this executor take turns; those of others are found out by the compare-and-set.
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def admit(self, execution: str, lease: Lease, limits: list[Limit]) -> bool:
        """Whether it may run now, under all its limits: then they are in `lease.permits`, to be given back. Else its
        request waits for the first that refused it. Raises `BusUnavailable`."""
        for limit in limits:
            if await self._take(limit, execution, lease.message):
                lease.permits.append(limit)
                continue
            await self._wait(limit, execution, lease)
            return False
        return True

    async def give_back(self, lease: Lease) -> None:
        """Let the next ones run. What cannot be told now is told by `pay_back`."""
        for limit in reversed(lease.permits):
            try:
                await self._pass_on(limit.scope, lease.message)
            except BusUnavailable as problem:
                _log.warning("a permit could not be given back yet", request=lease.message, reason=problem.message)
                self._owed.append((limit.scope, lease.message))
        lease.permits.clear()

    async def pay_back(self) -> None:
        """Give back what could not be given back before. Raises `BusUnavailable`."""
        while self._owed:
            await self._pass_on(*self._owed[-1])
            self._owed.pop()

    async def call_waiting(self) -> None:
        """See whether anybody waits for what is free, or was called by one who died over it. Raises
        `BusUnavailable`."""
        waiting = await self._bus.counts(subjects.WAITING, subjects.ALL_WAITING)
        for scope in {subjects.scope_of(subject) for subject in waiting}:
            await self._call_again(scope)
            await self._pass_on(scope)

    async def _take(self, limit: Limit, execution: str, message: str) -> bool:
        mine = Permit(execution=execution, since=self._clock.now(), executor=self._executor, message=message)

        async def taken(permits: Permits) -> Permits | None:
            others = [one for one in permits.given if one.execution != execution or one.message not in ("", message)]
            has_one = len(others) < len(permits.given)
            may = has_one or len(others) < limit.most
            return Permits(limit.most, [*others, mine], permits.called) if may else None

        return await self._change(limit.scope, taken)

    async def _wait(self, limit: Limit, execution: str, lease: Lease) -> None:
        delivery = lease.delivery
        message = Message(
            subject=subjects.waiting(limit.scope, delivery.subject),
            payload=delivery.payload,
            id=f"{execution}:waits:{lease.message}",
        )
        await self._bus.publish(message)
        await self.give_back(lease)
        # The last who ran may have looked for the next one before this one was there.
        await self._pass_on(limit.scope)

    async def _pass_on(self, scope: str, leaving: str | None = None) -> None:
        """Give a permit back, and what is free to those who wait."""
        called: list[Stored] = []

        async def passed_on(permits: Permits) -> Permits:
            given = [one for one in permits.given if one.message != leaving]
            free = max(0, permits.most - len(given))
            called[:] = await self._waiting(scope, permits.called, min(free, _CALLED_AT_ONCE))
            given += [Permit(execution=_execution(stored), since=self._clock.now()) for stored in called]
            return Permits(permits.most, given, called[-1].sequence if called else permits.called)

        await self._change(scope, passed_on)
        for stored in called:
            await self._call(stored)

    async def _call_again(self, scope: str) -> None:
        """Those who were called a while ago and are still there: whoever called them may not have come to it."""
        _, permits = await self._known(scope)
        kept = {one.execution: one.since for one in permits.given if not one.executor}
        for stored in await self._waiting(scope, 0, _CALLED_AT_ONCE):
            if stored.sequence > permits.called:
                return
            since = kept.get(_execution(stored), _LONG_AGO)
            if self._clock.now() - since > _CALL_TAKES:
                await self._call(stored)

    async def _waiting(self, scope: str, after: int, limit: int) -> list[Stored]:
        filter_ = subjects.waiting_for(scope)
        return await self._bus.read(subjects.WAITING, filter_, after=after, limit=limit) if limit else []

    async def _call(self, stored: Stored) -> None:
        """Back to the queue. A second message for the same does no harm: its claim is refused."""
        subject = subjects.called(stored.subject)
        await self._bus.publish(Message(subject=subject, payload=stored.payload, id=f"called:{stored.sequence}"))
        await self._bus.remove(subjects.WAITING, stored.sequence)

    async def _known(self, scope: str) -> tuple[int, Permits]:
        """The permits that are not void, and where they are stored."""
        stored = await self._bus.last(subjects.PERMITS, subjects.permits(scope))
        if stored is None:
            return 0, Permits(1, [])
        known = decode_permits(stored.payload)
        return stored.sequence, Permits(known.most, [one for one in known.given if self._stands(one)], known.called)

    async def _change(self, scope: str, change: Callable[[Permits], Awaitable[Permits | None]]) -> bool:
        """Change who has permits; None changes nothing, and False is returned."""
        turn = self._turns.setdefault(scope, asyncio.Lock())
        async with turn:
            for _ in range(_ATTEMPTS):
                sequence, known = await self._known(scope)
                changed = await change(known)
                if changed is None:
                    return False
                if (changed == known and known.given) or await self._write(scope, sequence, changed):
                    return True
                await asyncio.sleep(random.random() * _MOST_PAUSE_SECONDS)  # nosec B311
        raise BusUnavailable("Too many change the permits of one limit at once.")

    async def _write(self, scope: str, sequence: int, permits: Permits) -> bool:
        """Whether nobody else was first."""
        if not permits.given and not await self._waiting(scope, 0, 1):
            # Keys come and go: nothing is left of them.
            return sequence == 0 or await self._bus.remove(subjects.PERMITS, sequence)
        message = Message(
            subject=subjects.permits(scope),
            payload=encode_permits(permits),
            id=uuid.uuid4().hex,
            expect_last=sequence,
        )
        try:
            await self._bus.publish(message)
        except StateConflict:
            return False
        return True

    def _stands(self, permit: Permit) -> bool:
        if permit.executor:
            return not self._presences.is_gone(permit.executor)
        return self._clock.now() - permit.since < _KEPT


def _execution(stored: Stored) -> str:
    return decode_request(stored.payload).execution_id
