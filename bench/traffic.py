"""Calls at a steady pace whatever becomes of them, and what was answered. Used by `bench.recovery`."""

import asyncio
import time
from collections import Counter

import msgspec
from msgspec import Struct

from bench.load import Connection, post
from tests.support.engine import Engine

#: uvicorn ends connections that were idle for five seconds; one that is about to be ended is not used again.
_IDLE_SECONDS = 3.0


class Call(Struct, frozen=True):
    """One call; times by `time.monotonic`. `status` 0: the connection was refused or broke."""

    began: float
    ended: float
    status: int
    execution: str | None


class _Told(Struct):
    executionId: str | None = None  # as HTTP names it


class Traffic:
    """`rate` calls of a workflow per second, each begun when its time has come, however many are unanswered."""

    def __init__(self, engine: Engine, workflow: str, rate: float) -> None:
        self._engine, self._rate = engine, rate
        self._request = post(f"/workflows/{workflow}", engine.credentials()["org_key"])
        self._idle: list[tuple[Connection, float]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.calls: list[Call] = []

    async def __aenter__(self) -> "Traffic":
        self._running = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Begin no more calls and wait for those under way."""
        self._stopping.set()
        assert self._running is not None
        await self._running
        await asyncio.gather(*self._under_way)
        for connection, _since in self._idle:
            connection.close()

    def acknowledged(self, before: float = float("inf")) -> set[str]:
        """The executions whose calls were answered 2xx before then."""
        return {it.execution for it in self.calls if it.execution and it.status in (200, 202) and it.ended < before}

    def answers(self, after: float = 0.0, before: float = float("inf")) -> str:
        """How the calls begun in a span of time were answered, in words."""
        counted = Counter(it.status for it in self.calls if after <= it.began < before)
        return ", ".join(f"{count:,} × {status or 'no connection'}" for status, count in sorted(counted.items()))

    async def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            task = asyncio.create_task(self._call())
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
            due += 1 / self._rate

    async def _call(self) -> None:
        began, status, told = time.monotonic(), 0, _Told()
        try:
            connection = await self._connection()
            status, body = await connection.call(self._request)
            self._idle.append((connection, time.monotonic()))
            told = msgspec.json.decode(body, type=_Told)
        except (OSError, EOFError):
            pass  # nobody there, or no longer
        self.calls.append(Call(began, time.monotonic(), status, told.executionId))

    async def _connection(self) -> Connection:
        while self._idle:
            connection, since = self._idle.pop()
            if time.monotonic() - since < _IDLE_SECONDS:
                return connection
            connection.close()
        return await Connection.open(self._engine.port)
