"""Decides who runs an execution: one compare-and-set, and what to do when somebody else's came first."""

from datetime import datetime
from typing import TypeAlias

import msgspec
from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts.messages import (
    Failed,
    FailedData,
    Failure,
    Request,
    Retrying,
    Started,
    StartedData,
    Suspended,
    TerminalEvent,
    encode,
)
from runlane.errors import ExecutorLost, StateConflict
from runlane_executor.stateline import StateLine

#: So many executors may die under one execution before it is given up: it may be what kills them.
MAX_LOSSES = 10


class Claimed(Struct, frozen=True):
    """This executor runs it. `sequence` is the claim's place in the stream, and the fencing token of all it writes."""

    sequence: int
    first_started_at: datetime
    losses: int = 0
    resumed: bool = False


class Settled(Struct, frozen=True):
    """There is nothing to run. `terminal` is the event that ended it, as stored, where it has ended."""

    terminal: bytes | None = None


Verdict: TypeAlias = Claimed | Settled


class Claims:
    """Claims executions for one executor."""

    def __init__(self, line: StateLine, clock: Clock) -> None:
        self._line, self._clock = line, clock

    async def claim(self, request: Request, message: str, lane: str, version: str) -> Verdict:
        """Claim the execution that the work-queue message `message` asks for."""
        first = request.first_started_at or self._clock.now()
        resumed = request.last_state > 0
        started = self.started(request, message, first, version, resumed=resumed)
        try:
            sequence = await self._line.move(request, started, request.last_state)
            return Claimed(sequence, first, resumed=resumed)
        except StateConflict:
            return await self._resolve(request, message, lane, version)

    def started(
        self,
        request: Request,
        message: str,
        first: datetime,
        version: str,
        *,
        resumed: bool,
        losses: int = 0,
        reason: str | None = None,
    ) -> Started:
        """The event that takes possession."""
        now = self._clock.now()
        data = StartedData(
            executor=self._line.executor,
            request=message,
            first_started_at=first,
            resumed=resumed,
            losses=losses,
            workflow_version=version,
            reason=reason,
        )
        return Started(**self._line.envelope(request, now, f"started:{request.attempt}:{losses}"), data=data)

    async def _resolve(self, request: Request, message: str, lane: str, version: str) -> Verdict:
        """The state is not what the request expected: see what it is, and take over if its owner is gone."""
        while True:
            found = await self._line.last(request)
            if found is None:
                # The events have aged out of the stream; nobody else can own it.
                taken = self.started(request, message, self._clock.now(), version, resumed=False)
                expect, losses = 0, 0
            else:
                stored, state = found
                if isinstance(state, TerminalEvent):
                    return Settled(stored.payload)
                if isinstance(state, Retrying | Suspended) and request.last_state < stored.sequence:
                    # The owner may have died between saying so and asking for the next run: ask again for it.
                    await self.ask_again(request, state, stored.sequence, lane)
                    return Settled()
                if isinstance(state, Started) and state.data.request != message:
                    return Settled()  # another message holds the lease, and will be delivered again if its owner dies
                if not isinstance(state, Started):
                    raise AssertionError(f"unexpected state {type(state).__name__}")
                expect, losses = stored.sequence, state.data.losses + 1
                if losses > MAX_LOSSES:
                    return await self._give_up(request, expect)
                taken = self.started(
                    request,
                    message,
                    state.data.first_started_at,
                    version,
                    resumed=True,
                    losses=losses,
                    reason="executor lost",
                )
            try:
                sequence = await self._line.move(request, taken, expect)
            except StateConflict:
                continue
            return Claimed(sequence, taken.data.first_started_at, losses, resumed=taken.data.resumed)

    async def ask_again(self, request: Request, state: Retrying | Suspended, sequence: int, lane: str) -> None:
        """Put the request for the next run of a retrying or suspended execution on the queue, for its time."""
        at = state.data.next_attempt_at if isinstance(state, Retrying) else state.data.until
        following = msgspec.structs.replace(
            request,
            attempt=state.data.next_attempt if isinstance(state, Retrying) else request.attempt,
            last_state=sequence,
            first_started_at=state.data.first_started_at,
        )
        if at is not None:
            await self._line.request_later(following, lane, at)

    async def _give_up(self, request: Request, expect: int) -> Verdict:
        lost = ExecutorLost()
        failure = Failure(lost.code, lost.message, {"losses": MAX_LOSSES})
        envelope = self._line.envelope(request, self._clock.now(), "failed")
        failed = Failed(**envelope, data=FailedData(failure=failure, duration_ms=0))
        try:
            await self._line.move(request, failed, expect)
        except StateConflict:
            return Settled()
        return Settled(encode(failed))
