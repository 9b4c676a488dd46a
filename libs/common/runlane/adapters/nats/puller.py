"""A continuous pull on a JetStream consumer: overlapping requests, watched by heartbeats, asked anew after a reconnect.

nats-py's own `fetch` hangs until its timeout across a server restart and asks for one batch at a time.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
from nats.aio.msg import Msg

from runlane.adapters.nats.connection import Connection
from runlane.errors import BusUnavailable
from runlane.ports import Stored
from runlane.telemetry import logger

_log = logger(__name__)

_SECOND = 1_000_000_000
_EXPIRES_SECONDS = 30
_HEARTBEAT_SECONDS = 2
_SILENCE_SECONDS = 2 * _HEARTBEAT_SECONDS + 0.5
#: A consumer with a group gives everything to one who pulls, and to another when that one has not asked for a while
#: (`topology.HANDOVER_SECONDS`): so it asks more often, three times within that.
_GROUP_EXPIRES_SECONDS = 1

#: Makes sure that the consumer exists and returns its name; called at the start and whenever it seems to be gone.
Ensure = Callable[[], Awaitable[str]]


class NatsDelivery:
    """A delivered message (`ports.Delivery`). Its reply subject tells where it stands in stream and consumer."""

    __slots__ = ("_connection", "_reply", "_stamp", "delivered", "headers", "payload", "pending", "sequence", "subject")

    def __init__(self, connection: Connection, message: Msg) -> None:
        # $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer sequence>.<time>.<pending>, with domain and
        # account before the stream and a random token at the end where the server has a domain.
        tokens = message.reply.split(".")
        first = 4 if len(tokens) == 9 else 6
        self._connection = connection
        self._reply = message.reply
        self.subject = message.subject
        self.payload = message.data
        self.headers = message.headers
        self.delivered = int(tokens[first])
        self.sequence = int(tokens[first + 1])
        self.pending = int(tokens[first + 4])
        self._stamp = tokens[first + 3]

    @property
    def id(self) -> str:
        return (self.headers or {}).get("Nats-Msg-Id", "")

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(int(self._stamp) / 1e9, UTC)

    def stored(self) -> Stored:
        """The message as the stream keeps it."""
        return Stored(self.subject, self.sequence, self.payload, self.time)

    def ack(self) -> None:
        self._connection.post(self._reply, b"+ACK")

    def nak(self, delay: float = 0) -> None:
        wait = b' {"delay": %d}' % int(delay * _SECOND) if delay else b""
        self._connection.post(self._reply, b"-NAK" + wait)

    def in_progress(self) -> None:
        self._connection.post(self._reply, b"+WPI")

    def term(self, reason: str) -> None:
        self._connection.post(self._reply, b"+TERM " + reason.encode()[:200])


class Puller:
    """Keeps as many messages asked for as there is room (`ports.Consumption`)."""

    def __init__(
        self,
        connection: Connection,
        stream: str,
        ensure: Ensure,
        deliver: Callable[[NatsDelivery], None],
        room: Callable[[], int],
        group: str | None = None,
    ) -> None:
        self._connection = connection
        self._group, self._pin = group, ""
        self._stream, self._ensure = stream, ensure
        self._deliver, self._room = deliver, room
        self._consumer = ""
        self._asked = 0
        self._subscription: Any = None
        self._inbox = ""
        self._heard_at = 0.0
        self._stopped = False
        self._watching: asyncio.Task[None] | None = None
        self._renew = asyncio.Event()
        connection.on_reconnect(self._renew.set)

    async def start(self) -> None:
        self._consumer = await self._ensure()
        if self._group is not None:
            self._unpin()
        await self._begin()
        self._watching = asyncio.create_task(self._watch(), name=f"pull {self._stream}/{self._consumer}")

    def pull(self) -> None:
        """Ask for more when at least half of what there is room for has not been asked for."""
        if self._stopped or not self._connection.connected:
            return
        wanted = self._room() - self._asked
        if wanted <= 0 or wanted < self._asked:
            return
        self._asked += wanted
        expires = _EXPIRES_SECONDS if self._group is None else _GROUP_EXPIRES_SECONDS
        request: dict[str, int | str] = {
            "batch": wanted,
            "expires": expires * _SECOND,
            # The server takes no pause that is longer than half of the request.
            "idle_heartbeat": min(_HEARTBEAT_SECONDS * _SECOND, expires * _SECOND // 2),
        }
        if self._group is not None:
            request |= {"group": self._group} | ({"id": self._pin} if self._pin else {})
        self._connection.post(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}", msgspec.json.encode(request), self._inbox
        )

    async def stop(self) -> None:
        self._stopped = True
        if self._watching is not None:
            self._watching.cancel()
        if self._pin:
            self._unpin()
        await self._unsubscribe()

    async def _begin(self) -> None:
        """Start over on a fresh inbox, so that nothing meant for an earlier request is counted."""
        await self._unsubscribe()
        if self._pin:
            self._unpin()
        self._inbox = self._connection.client.new_inbox()
        self._subscription = await self._connection.subscribe(self._inbox, self._heard)
        self._asked = 0
        self._heard_at = asyncio.get_running_loop().time()
        self.pull()

    def _unpin(self) -> None:
        """Have the server give the consumer to whoever asks next, without waiting for our silence. A process that
        begins does so too: it may follow one that died."""
        body = msgspec.json.encode({"group": self._group})
        self._connection.post(f"$JS.API.CONSUMER.UNPIN.{self._stream}.{self._consumer}", body)
        self._pin = ""

    async def _unsubscribe(self) -> None:
        if self._subscription is not None:
            subscription, self._subscription = self._subscription, None
            with contextlib.suppress(Exception):  # the connection may be gone, and with it the subscription
                await subscription.unsubscribe()

    def _heard(self, message: Msg) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        if message.reply.startswith("$JS.ACK."):
            self._asked -= 1
            if self._group is not None and message.headers:
                self._pin = message.headers.get("Nats-Pin-Id", self._pin)
            self._deliver(NatsDelivery(self._connection, message))
            self.pull()
            return
        headers = message.headers or {}
        status = headers.get("Status")
        if status == "100":
            self.pull()
            return
        self._asked = max(0, self._asked - int(headers.get("Nats-Pending-Messages", "0")))
        if status == "408" or "Batch Completed" in headers.get("Description", ""):
            self.pull()
        elif status == "423":
            # Another was given our place: wait for it as everybody does, and take it from nobody.
            self._pin = ""
            self._renew.set()
        elif status in ("409", "503"):
            _log.warning("pull ended", stream=self._stream, status=status, reason=headers.get("Description"))
            self._renew.set()

    async def _watch(self) -> None:
        """Start over when the server has been silent for too long, said that the consumer is gone, or was away."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._renew.wait(), 1.0)
            asked_to, now = self._renew.is_set(), asyncio.get_running_loop().time()
            self._renew.clear()
            silent = self._asked > 0 and now - self._heard_at > _SILENCE_SECONDS
            if not self._connection.connected:
                continue
            if asked_to or silent:
                await self._start_over()
            else:
                self.pull()

    async def _start_over(self) -> None:
        try:
            self._consumer = await self._ensure()
            await self._begin()
        except BusUnavailable as problem:
            _log.warning("cannot pull yet", stream=self._stream, reason=problem.message)
            await asyncio.sleep(0.5)
            self._renew.set()
