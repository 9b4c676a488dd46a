"""`ports.Runtime` in a child: everything goes over the pipe to the intake."""

import asyncio
from collections.abc import Awaitable, Generator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from runlane.contracts.approvals import ApprovalAsk
from runlane.contracts.trace import TraceEntry
from runlane.errors import ConfigurationError, IntegrationError
from runlane.ports import Suspend, Vendors
from runlane_executor.frames import Awaited, Pipe, SecretAnswer, SecretAsked, Trace
from runlane_executor.prints import known_secrets
from runlane_executor.vendor_calls import PipeVendors, VendorCalls

#: Shorter sleeps are waited out in the slot: giving it up and coming back would cost more.
_SHORT_SLEEP_SECONDS = 2.0

_encode = msgspec.json.Encoder().encode


class Secrets:
    """Questions about secrets that the intake has not answered yet."""

    def __init__(self) -> None:
        self._asked: dict[int, asyncio.Future[str | None]] = {}
        self._calls = 0

    def ask(self, pipe: Pipe, execution_id: str, name: str) -> "asyncio.Future[str | None]":
        self._calls += 1
        future: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._asked[self._calls] = future
        pipe.send(SecretAsked(self._calls, execution_id, name))
        return future

    def answered(self, frame: SecretAnswer) -> None:
        future = self._asked.pop(frame.call, None)
        if future is None or future.done():
            return
        if frame.value is not None:
            known_secrets.learn(frame.value)
        if frame.problem is None:
            future.set_result(frame.value)
        elif frame.again:
            future.set_exception(IntegrationError("secrets", frame.problem))
        else:
            future.set_exception(ConfigurationError(frame.problem))


class PipeRuntime:
    """What one execution in this child can ask of the engine."""

    def __init__(
        self, execution_id: str, pipe: Pipe, secrets: Secrets, config: Mapping[str, Any], vendor_calls: VendorCalls
    ) -> None:
        self._execution_id, self._pipe = execution_id, pipe
        self._secrets, self._config, self._vendor_calls = secrets, config, vendor_calls
        self._number = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.stopping = False
        self.over = False
        self.suspended: Suspend | None = None

    def trace(self, entry: TraceEntry, true_value: bytes | None = None) -> Awaitable[None]:
        if self.over:
            return _Ignored()  # a task that the workflow left behind: its record is closed, and may be another run's
        self._number += 1
        self._pipe.send(Trace(self._execution_id, self._number, _encode(entry), true_value))
        return _Kept(self, self._number)

    def until_kept(self, number: int) -> "asyncio.Future[None]":
        """Done when the intake says that everything up to this entry is stored."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((number, future))
        self._pipe.send(Awaited(self._execution_id, number))
        return future

    def kept(self, number: int) -> None:
        waiting, self._waiting = self._waiting, []
        for wanted, future in waiting:
            if wanted > number:
                self._waiting.append((wanted, future))
            elif not future.done():
                future.set_result(None)

    async def secret(self, name: str) -> str | None:
        return await self._secrets.ask(self._pipe, self._execution_id, name)

    def config(self) -> Mapping[str, Any]:
        return self._config

    async def sleep(self, until: datetime) -> None:
        seconds = (until - datetime.now(UTC)).total_seconds()
        if seconds > _SHORT_SLEEP_SECONDS:
            self.suspended = Suspend("sleep", until)
            raise self.suspended
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def wait(self, reason: str, until: datetime, approval: ApprovalAsk | None = None) -> None:
        if until > datetime.now(UTC):
            self.suspended = Suspend(reason, until, approval)
            raise self.suspended

    def vendors(self) -> Vendors:
        return PipeVendors(self._execution_id, self._pipe, self._vendor_calls)


class _Kept:
    """What `trace` returns: costs nothing unless it is awaited."""

    __slots__ = ("_number", "_runtime")

    def __init__(self, runtime: PipeRuntime, number: int) -> None:
        self._runtime, self._number = runtime, number

    def __await__(self) -> Generator[Any, None, None]:
        return self._runtime.until_kept(self._number).__await__()


class _Ignored:
    def __await__(self) -> Generator[Any, None, None]:
        yield from ()
