"""One execution while this executor runs it: its trace on the way out, its end, and what to do when its child dies."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from runlane.contracts.directory import Manifest
from runlane.contracts.permits import Limit
from runlane.contracts.requests import Request
from runlane.contracts.trace import TraceEntry, trace_context
from runlane.errors import MessageTooLarge, StateConflict
from runlane.ports import Delivery
from runlane.sealing import Sealer
from runlane.telemetry import logger
from runlane.tracing import trace_id_of
from runlane_executor.children import Child
from runlane_executor.claim import Claimed
from runlane_executor.frames import Kept, Trace
from runlane_executor.observation import Observation
from runlane_executor.stateline import StateLine

_log = logger(__name__)

#: Entries wait this long for others before they are stored; whoever awaits one does not wait.
_LINGER_SECONDS = 0.025
#: What one trace event carries at most, well below what the broker takes.
_BATCH_BYTES = 256 * 1024

_entry_decoder: msgspec.json.Decoder[TraceEntry] = msgspec.json.Decoder(TraceEntry)


class Lease:
    """A work-queue message that this executor holds on to. Delivered again to us, it is still ours."""

    def __init__(self, stream: str, delivery: Delivery) -> None:
        self.key = (stream, delivery.sequence)
        self.delivery = delivery
        #: What it runs under, as far as that is not given back.
        self.permits: list[Limit] = []

    @property
    def message(self) -> str:
        """What names the message in the state line: a sequence alone would mean two messages of two streams."""
        return f"{self.key[0]}:{self.key[1]}"

    @property
    def lane(self) -> str:
        return self.delivery.subject.split(".")[2]


class Execution:
    """An execution in flight. `asked_at`: the monotonic time at which its claim was asked for."""

    def __init__(
        self,
        request: Request,
        lease: Lease,
        manifest: Manifest,
        claimed: Claimed,
        observation: Observation,
        asked_at: float,
    ) -> None:
        self.request, self.lease = request, lease
        self.manifest, self.claimed, self.asked_at = manifest, claimed, asked_at
        self.observation = observation
        self.child: Child | None = None
        self.crashes = claimed.crashes
        self.stop_reason: str | None = None
        self.timeout: asyncio.TimerHandle | None = None
        self.limit = manifest.timeout_seconds
        self.over = asyncio.Event()
        self.trace: TraceBuffer

    @property
    def id(self) -> str:
        return self.request.execution_id

    @property
    def names(self) -> dict[str, str]:
        """What log lines about it are found by."""
        trace_id = trace_id_of(self.request.traceparent, self.id)
        return {"execution_id": self.id, "trace_id": trace_id, "org": self.request.org}

    def seconds_spent(self, now: datetime) -> float:
        """Since its first start, without the time in which it was suspended."""
        return (now - self.claimed.first_started_at).total_seconds() - self.claimed.waited_seconds

    def end_timer(self) -> None:
        if self.timeout is not None:
            self.timeout.cancel()
            self.timeout = None


class TraceBuffer:
    """Trace entries of one run on their way to the stream, in order, a few per message."""

    def __init__(
        self, line: StateLine, sealer: Sealer, request: Request, claim: int, fenced: Callable[[], None]
    ) -> None:
        self._line, self._sealer, self._request = line, sealer, request
        self._claim, self._fenced = claim, fenced
        self._entries: list[bytes] = []
        self._last = 0
        self._events = 0
        self._waiting: list[tuple[int, Child]] = []
        self._linger: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self.broken = False

    def add(self, frame: Trace) -> None:
        """Queue an entry."""
        entry = frame.entry if frame.true_value is None else self._sealed(frame.entry, frame.true_value)
        self._entries.append(entry)
        self._last = frame.number
        if self._flushing is None and self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(_LINGER_SECONDS, self.flush)

    def awaited(self, number: int, child: Child) -> None:
        """Somebody waits until entry `number` is stored."""
        self._waiting.append((number, child))
        self.flush()

    def flush(self) -> None:
        """Store what is queued now."""
        self._end_linger()
        if self._flushing is None and not self.broken:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    async def rest(self, room: int = _BATCH_BYTES) -> list[bytes]:
        """Wait for what is being stored and hand over what is left, at most `room` bytes, to travel with the end."""
        self._end_linger()
        while self._flushing is not None:
            await asyncio.wait({self._flushing})
        if sum(map(len, self._entries)) > min(room, _BATCH_BYTES):
            await self._flush()
        rest, self._entries = self._entries, []
        return rest

    async def _flush(self) -> None:
        try:
            while self._entries and not self.broken:
                batch, number = self._next_batch()
                await self._store(batch)
                self._tell(number)
            self._tell(self._last)
        except StateConflict:
            self.broken = True
            self._fenced()
        finally:
            self._flushing = None

    async def _store(self, batch: list[bytes]) -> None:
        self._events += 1
        try:
            await self._line.trace(self._request, self._claim, self._events, datetime.now(UTC), batch)
        except MessageTooLarge:
            # One entry alone is too large: the rest of the trace is worth more than this entry.
            _log.error("a trace entry was too large", execution_id=self._request.execution_id, bytes=len(batch[0]))

    def _next_batch(self) -> tuple[list[bytes], int]:
        size, count = 0, 0
        for entry in self._entries:
            size += len(entry)
            if count and size > _BATCH_BYTES:
                break
            count += 1
        batch, self._entries = self._entries[:count], self._entries[count:]
        return batch, self._last - len(self._entries)

    def _tell(self, number: int) -> None:
        waiting, self._waiting = self._waiting, []
        for wanted, child in waiting:
            if wanted > number:
                self._waiting.append((wanted, child))
            elif child.alive:
                child.pipe.send(Kept(self._request.execution_id, number))

    def _sealed(self, entry: bytes, true_value: bytes) -> bytes:
        context = trace_context(self._request.org, self._request.execution_id)
        sealed = self._sealer.seal(true_value, context)
        return msgspec.json.encode(msgspec.structs.replace(_entry_decoder.decode(entry), sealed=sealed))

    def _end_linger(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
