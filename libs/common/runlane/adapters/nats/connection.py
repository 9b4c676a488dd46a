"""One NATS connection per process, and `open_bus`, which every composition root calls.

Guards against what nats-py leaves to its caller: a client that closed for good ends the process (its supervisor starts
it again), headers count towards the size limit, and everything written in one turn of the loop goes out together.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from runlane.adapters.nats.wire import Headers, publication
from runlane.errors import BusUnavailable
from runlane.settings import Settings
from runlane.telemetry import logger

if TYPE_CHECKING:
    from runlane.adapters.nats.bus import NatsBus

_log = logger(__name__)

#: Payload and headers together; the server's own limit is 1 MiB and it hangs up on whoever exceeds it.
MAX_MESSAGE_BYTES = 900 * 1024

Heard = Callable[[Msg], None]
#: Subject, payload, where to answer, headers.
Outgoing = tuple[str, bytes, str, Headers | None]


class Connection:
    """A NATS client whose writes never wait and whose answers come to one inbox."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._inbox = client.new_inbox()
        self._awaiting: dict[str, Heard] = {}
        self._next_token = 0
        self._outbox: list[Outgoing] = []
        self._flushing: asyncio.Task[None] | None = None
        self._reconnected: list[Callable[[], None]] = []

    @property
    def connected(self) -> bool:
        return bool(self.client.is_connected)

    async def open(self) -> None:
        await self.subscribe(f"{self._inbox}.*", self._answered)

    async def subscribe(self, subject: str, heard: Heard) -> Any:
        """A core subscription; `heard` runs in the reader's turn and must not block."""

        async def callback(message: Msg) -> None:
            heard(message)

        return await self.client.subscribe(
            subject, cb=callback, pending_msgs_limit=1_000_000, pending_bytes_limit=512 * 1024 * 1024
        )

    def post(self, subject: str, payload: bytes = b"", reply: str = "", headers: Headers | None = None) -> None:
        """Write a message with the next flush; lost if the connection is."""
        self._outbox.append((subject, payload, reply, headers))
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush())

    def expect(self, heard: Heard) -> tuple[str, str]:
        """A fresh reply subject whose messages go to `heard`, and the token that `forget` takes."""
        self._next_token += 1
        token = f"{self._next_token:x}"
        self._awaiting[token] = heard
        return f"{self._inbox}.{token}", token

    def forget(self, token: str) -> None:
        """Expect no more messages under this token."""
        self._awaiting.pop(token, None)

    def on_reconnect(self, again: Callable[[], None]) -> None:
        """Call `again` whenever the connection came back."""
        self._reconnected.append(again)

    async def came_back(self) -> None:
        _log.info("reconnected to NATS", server=str(self.client.connected_url and self.client.connected_url.hostname))
        for again in self._reconnected:
            again()

    def _answered(self, message: Msg) -> None:
        heard = self._awaiting.get(message.subject.rpartition(".")[2])
        if heard is not None:
            heard(message)

    async def _flush(self) -> None:
        try:
            while self._outbox:
                batch, self._outbox = self._outbox, []
                await self._write_all(batch)
        finally:
            self._flushing = None

    async def _write_all(self, batch: list[Outgoing]) -> None:
        commands: list[bytes] = []
        for message in batch:
            command = publication(*message) if self.connected else None
            if command is None:  # nats-py knows what to do with it; what came before it goes first
                await self._send(commands)
                commands = []
                await self._write(*message)
            else:
                commands.append(command)
        await self._send(commands)

    async def _send(self, commands: list[bytes]) -> None:
        """What nats-py's own publish ends in; it has no door for several at once."""
        if commands:
            self.client.stats["out_msgs"] += len(commands)
            await self.client._send_command(b"".join(commands))
            await self.client._flush_pending()

    async def _write(self, subject: str, payload: bytes, reply: str, headers: Headers | None) -> None:
        try:
            await self.client.publish(subject, payload, reply=reply, headers=headers)
        except nats.errors.Error as problem:
            # Whoever needs to know that it arrived waits for an acknowledgement, and does not get one.
            _log.warning("not sent", subject=subject, reason=type(problem).__name__)


@asynccontextmanager
async def open_bus(
    settings: Settings, name: str, within: float = 10.0, *, shape: bool = True
) -> "AsyncIterator[NatsBus]":
    """Connect, make sure that streams and consumers are as they should be, and yield the `Bus`.

    Raises `BusUnavailable` when no server answers `within` so many seconds. Without `shape`, streams are left as they
    are: for a visitor who does not know their settings.
    """
    from runlane.adapters.nats.bus import NatsBus
    from runlane.adapters.nats.topology import ensure_topology

    client = Client()
    connection: Connection | None = None
    closing = False

    async def closed() -> None:
        if not closing:
            _log.critical("the NATS client closed for good; this process ends so that it is started anew")
            os._exit(1)

    async def reconnected() -> None:
        if connection is not None:
            await connection.came_back()

    async def disconnected() -> None:
        if not closing:
            _log.warning("disconnected from NATS")

    try:
        await _connect(
            client, settings, name, within, closed_cb=closed, reconnected_cb=reconnected, disconnected_cb=disconnected
        )
    except BaseException:
        closing = True
        await client.close()  # nats-py leaves open what it was in the middle of
        raise
    connection = Connection(client)
    try:
        await connection.open()
        bus = NatsBus(connection, clustered=settings.stream_replicas > 1)
        if shape:
            await ensure_topology(bus, settings)
        yield bus
    finally:
        closing = True
        try:
            await asyncio.wait_for(client.flush(1), 2)
        except (nats.errors.Error, TimeoutError, OSError):
            _log.warning("closed without a last flush")
        await client.close()


async def _connect(client: Client, settings: Settings, name: str, within: float, **callbacks: Any) -> None:
    async def failed(problem: Exception) -> None:
        _log.warning("NATS", problem=type(problem).__name__, reason=str(problem)[:200])

    connecting = client.connect(
        servers=settings.nats_url.split(","),
        name=name,
        user=settings.nats_user,
        password=settings.nats_password,
        # Of its own, so that a server can keep one user from reading the answers to another.
        inbox_prefix=b"_INBOX" if settings.nats_user is None else f"_INBOX.{settings.nats_user}".encode(),
        error_cb=failed,
        **callbacks,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.2,  # type: ignore[arg-type]  # seconds; annotated int, used as a float
        # Who is cut off, not killed, answers none: after two of them, within nine seconds, another server is tried.
        ping_interval=3,
        max_outstanding_pings=2,
        pending_size=64 * 1024 * 1024,
        flusher_queue_size=4096,
    )
    try:
        await asyncio.wait_for(connecting, within)
    except (nats.errors.Error, TimeoutError, OSError) as problem:
        raise BusUnavailable(
            f"No NATS server answers at {_without_credentials(settings.nats_url)} ({type(problem).__name__}): "
            "start one, with `runlane up` for one, or name another with RUNLANE_NATS_URL."
        ) from None


def _without_credentials(url: str) -> str:
    return ",".join(part.rpartition("@")[2] for part in url.split(","))
