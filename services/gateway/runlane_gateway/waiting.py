"""Synchronous callers and the outcomes they wait for. One subscription hears all replies to this gateway."""

import asyncio

import msgspec
from msgspec import Raw, Struct

from runlane.contracts import subjects
from runlane.contracts.events import (
    STATE_TAILS,
    TERMINAL,
    ApprovalExpired,
    Cancelled,
    Decision,
    Failure,
    Rejected,
    Succeeded,
)
from runlane.contracts.records import EXPIRED, rejection
from runlane.errors import BusUnavailable
from runlane.ports import Bus, Stored

#: A reply is sent once and stored nowhere; this often whoever waits looks at the stream as well.
_RECHECK_SECONDS = 5.0

#: Instead of an outcome, for those who wait when the gateway ends.
_STILL_TO_COME = b""

_TERMINAL_TAILS = tuple(f".{STATE_TAILS[kind]}" for kind in TERMINAL)
_STATUS_OF_TAIL = {
    "started": "Running",
    "retrying": "Retrying",
    "suspended": "Suspended",
    "succeeded": "Success",
    "failed": "Failed",
    "pending_approval": "PendingApproval",
    "approved": "Queued",
    "declined": "Queued",
    "cancelled": "Cancelled",
    "rejected": "Cancelled",
    "approval_expired": "Cancelled",
}
_SUCCEEDED = Succeeded.__struct_config__.tag
_CANCELLED = Cancelled.__struct_config__.tag
_REJECTED = Rejected.__struct_config__.tag
_EXPIRED = ApprovalExpired.__struct_config__.tag


class _Data(Struct):
    result: Raw = Raw(b"null")
    failure: Failure | None = None
    reason: str | None = None
    decisions: list[Decision] = []


class _Terminal(Struct):
    type: str
    data: _Data


_decode = msgspec.json.Decoder(_Terminal).decode


class Outcome(Struct, frozen=True):
    """How an execution ended: `failure` None means that it succeeded with `result`."""

    result: Raw
    failure: Failure | None


def read_outcome(payload: bytes) -> Outcome:
    """The outcome in a terminal event. Its trace, which may be long, is skipped rather than decoded."""
    event = _decode(payload)
    if event.type == _SUCCEEDED:
        return Outcome(event.data.result, None)
    if event.type == _CANCELLED:
        return Outcome(event.data.result, Failure("Cancelled", event.data.reason or "Cancelled on request"))
    if event.type == _REJECTED:
        return Outcome(event.data.result, rejection(event.data.decisions[-1]))
    if event.type == _EXPIRED:
        return Outcome(event.data.result, EXPIRED)
    return Outcome(event.data.result, event.data.failure or Failure("InternalServerError", "It failed."))


def is_terminal(stored: Stored) -> bool:
    """Whether it is the event that ends an execution."""
    return stored.subject.endswith(_TERMINAL_TAILS)


def status_of(stored: Stored | None) -> str:
    """The status that a last state stands for."""
    return "Queued" if stored is None else _STATUS_OF_TAIL.get(stored.subject.rpartition(".")[2], "Running")


class Waiters:
    """Who waits here for which execution."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus, self._name = bus, name
        self._waiting: dict[str, list[asyncio.Future[bytes]]] = {}
        self._leaving = False

    async def open(self) -> None:
        """Hear replies from now on, until the bus is closed."""
        await self._bus.listen(subjects.replies(self._name), self._heard)

    def reply_subject(self, execution_id: str) -> str:
        return subjects.reply(self._name, execution_id)

    def expect(self, execution_id: str) -> "asyncio.Future[bytes]":
        """A future of the terminal event's JSON; to be made before anything is published, and forgotten at the end."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(execution_id, []).append(future)
        if self._leaving:
            future.set_result(_STILL_TO_COME)
        return future

    def forget(self, execution_id: str, future: "asyncio.Future[bytes]") -> None:
        waiting = self._waiting.get(execution_id)
        if waiting is not None and future in waiting:
            waiting.remove(future)
            if not waiting:
                del self._waiting[execution_id]

    def ended(self, execution_id: str, payload: bytes) -> None:
        """Tell all who wait here for it how it ended."""
        for future in self._waiting.pop(execution_id, ()):
            if not future.done():
                future.set_result(payload)

    def let_go(self) -> None:
        """The gateway is ending: whoever waits is told that the outcome will come."""
        self._leaving = True
        for execution_id in list(self._waiting):
            self.ended(execution_id, _STILL_TO_COME)

    async def outcome(
        self, future: "asyncio.Future[bytes]", state_line: str, seconds: float
    ) -> tuple[Outcome | None, str]:
        """The outcome if it comes in time, else None; and the last status that is known."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            remaining = deadline - loop.time()
            try:
                async with asyncio.timeout(max(0.0, min(remaining, _RECHECK_SECONDS))):
                    await asyncio.shield(future)
            except TimeoutError:
                last = await self._last(state_line)
                if last is not None and is_terminal(last):
                    return read_outcome(last.payload), status_of(last)
                if loop.time() >= deadline:
                    return None, status_of(last)
            else:
                if future.result() == _STILL_TO_COME:
                    return None, status_of(await self._last(state_line))
                return read_outcome(future.result()), ""

    async def _last(self, state_line: str) -> Stored | None:
        try:
            return await self._bus.last(subjects.EVENTS, state_line)
        except BusUnavailable:
            return None  # the reply may still come, and the next look may succeed

    def _heard(self, subject: str, payload: bytes) -> None:
        self.ended(subject.rpartition(".")[2], payload)
