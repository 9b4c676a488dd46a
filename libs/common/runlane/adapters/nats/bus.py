"""`ports.Bus` over one NATS connection."""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

import msgspec
import nats
from nats.aio.msg import Msg

from runlane.adapters.nats.connection import Connection
from runlane.adapters.nats.publisher import Publisher
from runlane.adapters.nats.puller import NatsDelivery, Puller
from runlane.adapters.nats.reader import Reader, stored_of
from runlane.adapters.nats.topology import consumer_config, ensure_consumer, ensure_durable
from runlane.contracts import subjects
from runlane.errors import BusUnavailable
from runlane.ports import ConsumerLag, Delivery, Durable, Message, Stored

_API_SECONDS = 5.0
_API_ATTEMPTS = 4
#: Error codes of nats-server: no such stream, no such consumer.
_NOT_THERE = frozenset({10059, 10014})

# A consumer of one process; the server forgets it some minutes after that process is gone.
_EPHEMERAL: dict[str, Any] = {
    "ack_policy": "none",
    "mem_storage": True,
    "num_replicas": 1,
    "inactive_threshold": 300 * 1_000_000_000,
}


class NatsSubscription:
    """A core subscription that can be stopped."""

    def __init__(self, subscription: Any) -> None:
        self._subscription = subscription

    async def stop(self) -> None:
        try:
            await self._subscription.unsubscribe()
        except nats.errors.Error:
            return  # the connection is gone, and with it the subscription


class NatsBus:
    """See `ports.Bus`."""

    def __init__(self, connection: Connection, *, clustered: bool = False) -> None:
        self.connection = connection
        self._reader = Reader(connection, clustered=clustered)
        self.publisher = Publisher(connection, self._reader)

    @property
    def connected(self) -> bool:
        return self.connection.connected

    async def publish(self, message: Message, *, timeout: float = 5.0) -> int:
        return await self.publisher.publish(message, timeout)

    def send(self, subject: str, payload: bytes) -> None:
        self.connection.post(subject, payload)

    async def listen(self, subject: str, heard: Callable[[str, bytes], None]) -> NatsSubscription:
        return NatsSubscription(await self.connection.subscribe(subject, lambda m: heard(m.subject, m.data)))

    async def listen_live(self, filter_: str, heard: Callable[[Stored], None]) -> NatsSubscription:
        def republished(message: Msg) -> None:
            if message.headers and "Nats-Sequence" in message.headers:
                heard(stored_of(message.headers, message.data))

        return NatsSubscription(await self.connection.subscribe(subjects.live(filter_), republished))

    async def last(self, stream: str, filter_: str) -> Stored | None:
        return await self._reader.last(stream, filter_)

    async def read(self, stream: str, filter_: str, *, after: int = 0, limit: int = 1000) -> list[Stored]:
        return await self._reader.read(stream, filter_, after, limit)

    async def remove(self, stream: str, sequence: int) -> bool:
        if not await self._reader.at(stream, sequence):
            return False
        try:
            await self.api(f"STREAM.MSG.DELETE.{stream}", {"seq": sequence, "no_erase": True})
        except BusUnavailable:
            if await self._reader.at(stream, sequence):
                raise
            return False  # somebody else was first
        return True

    async def newest(self, stream: str, filter_: str) -> list[Stored]:
        return await self._reader.newest(stream, filter_)

    async def last_of_each(self, stream: str, filter_: str) -> list[Stored]:
        # Through a consumer: the server answers a direct read of many subjects only up to 1024 of them.
        found: dict[str, Stored] = {}
        complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def heard(delivery: NatsDelivery) -> None:
            found[delivery.subject] = delivery.stored()
            if delivery.pending == 0 and not complete.done():
                complete.set_result(None)

        config = {"deliver_policy": "last_per_subject", "filter_subject": filter_, **_EPHEMERAL}
        puller, pending = await self._follow(stream, lambda: config, heard)
        if pending:
            await complete
        await puller.stop()
        return list(found.values())

    async def counts(self, stream: str, filter_: str) -> dict[str, int]:
        found: dict[str, int] = {}
        while True:
            info = await self.api(f"STREAM.INFO.{stream}", {"subjects_filter": filter_, "offset": len(found)})
            found |= info["state"].get("subjects") or {}
            if len(found) >= info.get("total", 0):
                return found

    async def consume(
        self, stream: str, consumer: str, deliver: Callable[[Delivery], None], room: Callable[[], int]
    ) -> Puller:
        async def ensure() -> str:
            await ensure_consumer(self, stream, consumer)
            return consumer

        group = consumer if "priority_groups" in consumer_config(stream, consumer) else None
        puller = Puller(self.connection, stream, ensure, deliver, room, group)
        await puller.start()
        return puller

    async def consume_durable(
        self, stream: str, consumer: str, durable: Durable, deliver: Callable[[Delivery], None], room: Callable[[], int]
    ) -> Puller:
        async def ensure() -> str:
            await ensure_durable(self, stream, consumer, durable)
            return consumer

        puller = Puller(self.connection, stream, ensure, deliver, room)
        await puller.start()
        return puller

    async def consumers(self, stream: str, prefix: str) -> list[str]:
        found: list[str] = []
        while True:
            page = await self.api(f"CONSUMER.NAMES.{stream}", {"offset": len(found)})
            found += page["consumers"] or []
            if len(found) >= page["total"] or not page["consumers"]:
                return [name for name in found if name.startswith(prefix)]

    async def remove_consumer(self, stream: str, consumer: str) -> None:
        if await self.ask(f"CONSUMER.INFO.{stream}.{consumer}") is not None:
            await self.api(f"CONSUMER.DELETE.{stream}.{consumer}", None)

    async def lag(self, stream: str, consumer: str) -> ConsumerLag:
        info = await self.api(f"CONSUMER.INFO.{stream}.{consumer}", None)
        return ConsumerLag(
            floor=info["ack_floor"]["stream_seq"],
            pending=info["num_pending"],
            unacknowledged=info["num_ack_pending"],
            delivered=info["delivered"]["stream_seq"],
        )

    async def follow(
        self, stream: str, config: Callable[[], dict[str, Any]], heard: Callable[[NatsDelivery], None]
    ) -> int:
        """Deliver everything that an ephemeral consumer of `config()` sees, for ever; returns how much there is now.

        `config` is asked again when the consumer was lost, so it can begin where the last message left off.
        """
        _, pending = await self._follow(stream, lambda: _EPHEMERAL | config(), heard)
        return pending

    async def _follow(
        self, stream: str, config: Callable[[], dict[str, Any]], heard: Callable[[NatsDelivery], None]
    ) -> tuple[Puller, int]:
        pending = 0

        async def ensure() -> str:
            nonlocal pending
            # Named, and with its filter in the subject: so a server can tell who may read what.
            name, wanted = secrets.token_hex(8), config()
            tail = f"{stream}.{name}.{wanted['filter_subject']}"
            body = {"stream_name": stream, "config": {"name": name, **wanted}}
            info = await self.api(f"CONSUMER.CREATE.{tail}", body)
            pending = info["num_pending"]
            return str(info["name"])

        puller = Puller(self.connection, stream, ensure, heard, lambda: 4096)
        await puller.start()
        return puller, pending

    async def api(self, subject: str, body: dict[str, Any] | None) -> dict[str, Any]:
        """A JetStream API request; raises `BusUnavailable` with the server's words when it is refused."""
        return _accepted(subject, await self._request(subject, body))

    async def ask(self, subject: str) -> dict[str, Any] | None:
        """What JetStream says of a stream or a consumer; None where there is no such thing. Raises as `api` does."""
        document = await self._request(subject, None)
        absent = document.get("error", {}).get("err_code") in _NOT_THERE
        return None if absent else _accepted(subject, document)

    async def _request(self, subject: str, body: dict[str, Any] | None) -> dict[str, Any]:
        payload = b"" if body is None else msgspec.json.encode(body)
        for attempt in range(_API_ATTEMPTS):
            try:
                answer = await self.connection.client.request(f"$JS.API.{subject}", payload, timeout=_API_SECONDS)
            except (nats.errors.Error, TimeoutError):
                if attempt == _API_ATTEMPTS - 1:
                    reason = "is it there, and may this NATS user ask for that?"
                    raise BusUnavailable(f"JetStream did not answer {subject}: {reason}") from None
                await asyncio.sleep(0.25 * 2**attempt)  # no leader yet, or just restarted
                continue
            document: dict[str, Any] = msgspec.json.decode(answer.data)
            return document
        raise AssertionError("unreachable")


def _accepted(subject: str, document: dict[str, Any]) -> dict[str, Any]:
    if "error" in document:
        raise BusUnavailable(f"JetStream refused {subject}: {document['error'].get('description')}.")
    return document
