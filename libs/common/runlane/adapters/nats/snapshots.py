"""Streams as a whole: what they hold, copies with every message at its sequence, streams made of such copies again.

Used by `runlane backup`, `restore` and `verify`. The copy is the server's own (`$JS.API.STREAM.SNAPSHOT`): publishing
the messages anew would not do, the state line stands on their sequences.
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

import msgspec
import nats
from msgspec import Struct
from nats.aio.msg import Msg

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.topology import stream_configs
from runlane.errors import BusUnavailable
from runlane.inspection import Span
from runlane.ports import Position
from runlane.settings import Settings

_CHUNK_BYTES = 128 * 1024
#: The server may be silent so long: it checks and packs a block before it sends of it.
_SILENCE_SECONDS = 60.0
#: With the last chunk the server unpacks and reads everything.
_REBUILD_SECONDS = 1800.0

StreamState = dict[str, Any]


class _Answer(Struct):
    error: dict[str, Any] | None = None
    state: StreamState = {}


async def take_snapshot(bus: NatsBus, stream: str, write: Callable[[bytes], object]) -> StreamState:
    """Hand the copy of a stream to `write` in pieces; returns the state of the stream in that moment, as the server
    tells it. Consumers are not in it. Raises `BusUnavailable`."""
    chunks: asyncio.Queue[Msg] = asyncio.Queue()
    reply, token = bus.connection.expect(chunks.put_nowait)
    ask = {"deliver_subject": reply, "no_consumers": True, "chunk_size": _CHUNK_BYTES}
    try:
        begun = await bus.api(f"STREAM.SNAPSHOT.{stream}", ask)
        while (chunk := await _next(chunks, stream)).data:
            write(chunk.data)
            # The server sends on when it hears that it may: what is not written yet stays with it.
            bus.connection.post(chunk.reply)
    finally:
        bus.connection.forget(token)
    if (chunk.headers or {}).get("Status", "204") != "204":
        raise BusUnavailable(f"The copy of {stream} broke off: {(chunk.headers or {}).get('Description')}.")
    state: StreamState = begun["state"]
    return state


async def restore_snapshot(
    bus: NatsBus, settings: Settings, stream: str, state: StreamState, chunks: Iterable[bytes]
) -> StreamState:
    """Make a stream, which must not exist, from its copy; returns its state as it is then. Its configuration is that
    of `settings`. Raises `BusUnavailable` with the server's words."""
    config = next(config for config in stream_configs(settings) if config["name"] == stream)
    begun = await bus.api(f"STREAM.RESTORE.{stream}", {"config": config, "state": state})
    for chunk in chunks:
        await _send(bus, begun["deliver_subject"], chunk, _SILENCE_SECONDS)
    answer = await _send(bus, begun["deliver_subject"], b"", _REBUILD_SECONDS)
    return answer.state


async def existing_streams(bus: NatsBus, settings: Settings) -> list[str]:
    """Which of our streams are there."""
    names = [config["name"] for config in stream_configs(settings)]
    there = (await bus.api("STREAM.NAMES", {}))["streams"] or []
    return [name for name in names if name in there]


async def begin_after(bus: NatsBus, stream: str, consumer: str, sequence: int) -> None:
    """Let a durable consumer go on with the message after `sequence`."""
    await bus.api(f"CONSUMER.RESET.{stream}.{consumer}", {"seq": sequence + 1})


async def positions(bus: NatsBus, stream: str, prefix: str) -> list[Position]:
    """Where every durable consumer stands whose name begins so."""
    found = [await bus.ask(f"CONSUMER.INFO.{stream}.{name}") for name in await bus.consumers(stream, prefix)]
    return [Position(info["config"], info["ack_floor"]["stream_seq"]) for info in found if info is not None]


async def put_position(bus: NatsBus, stream: str, position: Position) -> None:
    """Make a consumer that goes on where it stood."""
    config = {name: value for name, value in position.config.items() if name != "opt_start_time"}
    config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": position.floor + 1}
    await bus.api(f"CONSUMER.CREATE.{stream}.{config['durable_name']}", {"stream_name": stream, "config": config})


async def kept_days(bus: NatsBus, stream: str) -> float:
    """How long a stream keeps its messages."""
    info = await bus.api(f"STREAM.INFO.{stream}", None)
    return float(info["config"]["max_age"]) / (86_400 * 1_000_000_000)


async def stream_span(bus: NatsBus, stream: str) -> Span:
    """Which messages a stream holds now."""
    state: StreamState = (await bus.api(f"STREAM.INFO.{stream}", None))["state"]
    oldest = datetime.fromisoformat(state["first_ts"]) if state["messages"] else None
    return Span(state["first_seq"], state["last_seq"], oldest)


def server_version(bus: NatsBus) -> tuple[int, int]:
    """Major and minor version of the server."""
    version = bus.connection.client.connected_server_version
    return version.major, version.minor


async def _next(chunks: asyncio.Queue[Msg], stream: str) -> Msg:
    try:
        return await asyncio.wait_for(chunks.get(), _SILENCE_SECONDS)
    except TimeoutError:
        raise BusUnavailable(f"The copy of {stream} broke off: the server sends nothing more.") from None


async def _send(bus: NatsBus, subject: str, chunk: bytes, seconds: float) -> _Answer:
    try:
        message = await bus.connection.client.request(subject, chunk, timeout=seconds)
    except (nats.errors.Error, TimeoutError):
        raise BusUnavailable("The server did not take a part of the copy.") from None
    answer = msgspec.json.decode(message.data, type=_Answer) if message.data else _Answer()
    if answer.error is not None:
        raise BusUnavailable(f"The server refused the copy: {answer.error.get('description')}.")
    return answer
