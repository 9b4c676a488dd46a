"""A broker in memory whose every effect waits until the test lets it happen, fails it, or loses its answer.

`tests/model` steps the real services over it. It checks the expected sequence before it looks for duplicates, hands
work-queue messages out again and holds delayed ones, as nats-server does; repetition follows `nats.publisher`.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal, NoReturn, TypeAlias

from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.errors import BusUnavailable, StateConflict
from runlane.ports import Message, Stored

#: What becomes of an effect: it happens, it does not, or it happens and nobody is told.
Fate: TypeAlias = Literal["done", "refused", "unheard"]

_ATTEMPT_SECONDS = 2.0
_LONGEST_REPETITION = 3


class _NotNow(Exception):
    """No answer: the publisher tries again while its patience lasts."""


class Effect(Struct, eq=False):
    """One effect of one actor that has not happened yet."""

    actor: str
    act: Callable[[], object]
    answer: asyncio.Future[object]

    def happen(self, fate: Fate) -> None:
        if self.answer.done():
            return
        try:
            result = self.act() if fate != "refused" else None
        except Exception as problem:
            self.answer.set_exception(_NotNow() if fate == "unheard" else problem)
            return
        if fate == "done":
            self.answer.set_result(result)
        else:
            self.answer.set_exception(_NotNow())


class Work(Struct, eq=False):
    """A work-queue message. `holder` None: it waits for an executor."""

    stream: str
    subject: str
    sequence: int
    payload: bytes
    delivered: int = 0
    holder: str | None = None


class Broker:
    """The streams. `lose_ack` is asked at each acknowledgement whether it gets lost."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.effects: list[Effect] = []
        self.events: list[Stored] = []
        self.work: dict[tuple[str, int], Work] = {}
        self.delayed: dict[str, Message] = {}
        self.dead: list[Message] = []
        self.crashed: set[str] = set()
        #: What crashed actors wait for still: held, or the collector would find their tasks.
        self.buried: list[asyncio.Future[object]] = []
        self.lose_ack: Callable[[], bool] = lambda: False
        self.checks_expectations = True
        self._sequences = {subjects.EVENTS: 0, subjects.REQUESTS: 0, subjects.DELAYED: 0, subjects.DEAD: 0}
        self._last: dict[str, Stored] = {}
        self._ids: dict[tuple[str, str], int] = {}

    def crash(self, actor: str) -> None:
        """None of its effects happens any more."""
        self.crashed.add(actor)
        self.buried += [effect.answer for effect in self.effects if effect.actor == actor]
        self.effects = [effect for effect in self.effects if effect.actor != actor]

    def forget_ids(self) -> None:
        """The deduplication window is over."""
        self._ids.clear()

    def last(self, filter_: str) -> Stored | None:
        """The last message on a subject, or on a filter whose last token is `*`."""
        return self._last.get(filter_)

    def fire(self, subject: str) -> None:
        """The time of a delayed message has come."""
        message = self.delayed.pop(subject)
        assert message.deliver_to is not None
        self._queue(subjects.DELAYED, message.deliver_to, message.payload)

    def next_due(self) -> datetime | None:
        return min((message.deliver_at for message in self.delayed.values() if message.deliver_at), default=None)

    def due(self) -> list[str]:
        now = self.clock.now()
        return [subject for subject, it in self.delayed.items() if it.deliver_at is not None and it.deliver_at <= now]

    def store(self, message: Message) -> int:
        """What nats-server does with a publish."""
        stream = _stream_of(message.subject)
        if message.expect_last is not None and self.checks_expectations:
            last = self.last(message.expect_on or message.subject)
            if (0 if last is None else last.sequence) != message.expect_last:
                raise StateConflict(details={"stream": stream})
        known = self._ids.get((stream, message.id))
        if known is not None:
            return known
        if stream == subjects.EVENTS:
            sequence = self._next(stream)
            stored = Stored(message.subject, sequence, message.payload, self.clock.now(), message.id)
            self.events.append(stored)
            self._last[message.subject] = self._last[message.subject.rpartition(".")[0] + ".*"] = stored
        elif message.deliver_at is not None:
            sequence = self._next(stream)
            self.delayed[message.subject] = message
        elif stream == subjects.DEAD:
            sequence = self._next(stream)
            self.dead.append(message)
        else:
            sequence = self._queue(stream, message.subject, message.payload)
        self._ids[stream, message.id] = sequence
        return sequence

    def _queue(self, stream: str, subject: str, payload: bytes) -> int:
        sequence = self._next(stream)
        self.work[stream, sequence] = Work(stream, subject, sequence, payload)
        return sequence

    def _next(self, stream: str) -> int:
        self._sequences[stream] += 1
        return self._sequences[stream]


class ActorBus:
    """The broker as one process sees it (`ports.Bus`); nothing that process does after its crash has an effect."""

    connected = True

    def __init__(self, broker: Broker, actor: str) -> None:
        self._broker, self._actor = broker, actor

    async def publish(self, message: Message, *, timeout: float = 5.0) -> int:
        repeated = False
        for _ in range(1 if timeout < _ATTEMPT_SECONDS else _LONGEST_REPETITION):
            try:
                sequence = await self._effect(lambda: self._broker.store(message))
                assert isinstance(sequence, int)
                return sequence
            except _NotNow:
                repeated = True
            except StateConflict:
                mine = await self._mine(message) if repeated else None
                if mine is None:
                    raise
                return mine
        raise BusUnavailable

    async def _mine(self, message: Message) -> int | None:
        found = await self.read(subjects.EVENTS, message.expect_on or message.subject, after=message.expect_last or 0)
        return found[0].sequence if found and found[0].id == message.id else None

    async def last(self, stream: str, filter_: str) -> Stored | None:
        assert stream == subjects.EVENTS
        found = await self._read(lambda: self._broker.last(filter_))
        assert found is None or isinstance(found, Stored)
        return found

    async def read(self, stream: str, filter_: str, *, after: int = 0, limit: int = 1000) -> list[Stored]:
        assert stream == subjects.EVENTS
        pattern = filter_.removesuffix(">") + "*" if filter_.endswith(">") else filter_

        def matching() -> list[Stored]:
            events = self._broker.events
            return [it for it in events if it.sequence > after and fnmatchcase(it.subject, pattern)][:limit]

        found = await self._read(matching)
        assert isinstance(found, list)
        return found

    async def newest(self, stream: str, filter_: str) -> list[Stored]:
        return list({it.subject: it for it in await self.read(stream, filter_)}.values())

    def send(self, subject: str, payload: bytes) -> None:
        """Core messages may be lost: here they always are."""

    async def _read(self, act: Callable[[], object]) -> object:
        try:
            return await self._effect(act)
        except _NotNow:
            raise BusUnavailable from None

    async def _effect(self, act: Callable[[], object]) -> object:
        answer: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        if self._actor not in self._broker.crashed:
            self._broker.effects.append(Effect(self._actor, act, answer))
        else:
            self._broker.buried.append(answer)
        return await answer


class WorkDelivery:
    """One delivery of a work-queue message (`ports.Delivery`)."""

    def __init__(self, broker: Broker, work: Work, actor: str) -> None:
        self._broker, self._work, self._actor = broker, work, actor
        self.subject, self.payload, self.sequence = work.subject, work.payload, work.sequence
        self.delivered, self.time, self.pending = work.delivered, broker.clock.now(), 0

    def ack(self) -> None:
        if self._actor not in self._broker.crashed and not self._broker.lose_ack():
            self._broker.work.pop((self._work.stream, self.sequence), None)

    def term(self, reason: str) -> None:
        if self._actor not in self._broker.crashed:
            self._broker.work.pop((self._work.stream, self.sequence), None)

    def nak(self) -> None:
        if self._actor not in self._broker.crashed and self._work.holder == self._actor:
            self._work.holder = None

    def in_progress(self) -> NoReturn:
        raise AssertionError("the model decides when a lease ends")


def _stream_of(subject: str) -> str:
    kind = subject.split(".")[1]
    kinds = {"request": subjects.REQUESTS, "delayed": subjects.DELAYED, "dead": subjects.DEAD}
    return kinds.get(kind, subjects.EVENTS)
