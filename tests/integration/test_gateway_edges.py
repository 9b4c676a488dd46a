"""Callers who mean no good, or have lost their way: each is ended by a limit of ours, and the others are served."""

import asyncio
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from runlane_gateway import bodies, connection
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway

pytest_plugins = ["tests.support.gateway_fixtures"]

_MIB = 1024 * 1024


def head(*lines: str, key: str = "acme") -> bytes:
    start = ["POST /workflows/slow HTTP/1.1", "Host: a", f"Authorization: Bearer rl_{key}_secret-{key}"]
    return "\r\n".join([*start, "Content-Type: application/json", *lines, "", ""]).encode()


class Peer:
    """A connection that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def pour(self, piece: bytes, times: int) -> int:
        """Send a piece so often, or until nobody takes it any more; how many bytes went."""
        sent = 0
        try:
            for _ in range(times):
                self.writer.write(piece)
                async with asyncio.timeout(20):
                    await self.writer.drain()
                sent += len(piece)
        except ConnectionError:
            pass
        return sent

    async def rest(self) -> bytes:
        """All that comes until the other side hangs up."""
        try:
            async with asyncio.timeout(20):
                return await self.reader.read()
        except ConnectionError:
            return b""


@asynccontextmanager
async def connected(gateway: Gateway) -> AsyncIterator[Peer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.room.port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("key", ["acme", "nobody"])
@pytest.mark.parametrize("how", ["Transfer-Encoding: chunked", f"Content-Length: {300 * _MIB}"])
async def test_300_mib_are_neither_kept_nor_read_to_the_end(gateway: Gateway, key: str, how: str) -> None:
    before = _peak_mib()
    data = b"x" * (256 * 1024)
    piece = b"%x\r\n%s\r\n" % (len(data), data) if "chunked" in how else data
    async with connected(gateway) as peer:
        peer.writer.write(head(how, key=key))
        sent = await peer.pour(piece, 1200)
    assert sent < 32 * _MIB
    assert _peak_mib() - before < 64


async def test_what_is_refused_for_its_length_says_so(gateway: Gateway) -> None:
    async with connected(gateway) as peer:
        peer.writer.write(head(f"Content-Length: {300 * _MIB}"))
        assert (await peer.reader.readline()).startswith(b"HTTP/1.1 413")


async def test_a_body_that_never_ends_after_its_answer_is_not_waited_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SURPLUS_SECONDS", 0.3)
    async with connected(gateway) as peer:
        peer.writer.write(head("Content-Length: 1000", key="nobody") + b"{")
        assert (await peer.rest()).startswith(b"HTTP/1.1 401")


async def test_a_body_that_came_to_its_end_after_its_answer_leaves_the_connection_open(gateway: Gateway) -> None:
    async with connected(gateway) as peer:
        for _ in range(2):
            peer.writer.write(head("Content-Length: 10", key="nobody"))
            assert (await _answer(peer)).startswith(b"HTTP/1.1 401")
            peer.writer.write(b"0123456789")


async def _answer(peer: Peer) -> bytes:
    async with asyncio.timeout(20):
        top = await peer.reader.readuntil(b"\r\n\r\n")
        length = int(top.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return top + await peer.reader.readexactly(length)


async def test_slow_bodies_are_ended(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.3)
    monkeypatch.setattr(connection, "SURPLUS_SECONDS", 0.3)
    async with connected(gateway) as peer:
        peer.writer.write(head("Content-Length: 1000") + b"{")
        told = await peer.rest()
    assert told.startswith(b"HTTP/1.1 400")
    assert b"did not arrive in time" in told


async def test_slow_headers_are_ended_however_steadily_they_come(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    async with connected(gateway) as peer:
        reading = asyncio.create_task(peer.rest())
        trickle = iter(head("X: " + "a" * 60_000))
        while not reading.done():
            peer.writer.write(bytes([next(trickle)]))
            await asyncio.wait({reading}, timeout=0.01)
        assert reading.result().startswith(b"HTTP/1.1 408")


async def test_hundreds_who_say_nothing_are_sent_away_and_others_are_served(
    gateway: Gateway, client: httpx.AsyncClient, executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 1.0)
    idle = [await asyncio.open_connection("127.0.0.1", gateway.room.port) for _ in range(300)]
    try:
        assert (await client.post("/workflows/quick", json={})).status_code == 200
        told = await asyncio.wait_for(asyncio.gather(*(reader.read() for reader, _ in idle)), 30)
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in told)
        assert (await client.post("/workflows/quick", json={})).status_code == 200
    finally:
        for _, writer in idle:
            writer.transport.abort()


async def test_thousands_of_headers_are_refused(gateway: Gateway) -> None:
    async with connected(gateway) as peer:
        await peer.pour(head(*[f"X-{n}: {n}" for n in range(100_000)]), 1)
        told = await peer.rest()
        assert told == b"" or told.startswith(b"HTTP/1.1 431")  # it hangs up on what still comes
    async with connected(gateway) as peer:
        peer.writer.write(head("Connection: close", *[f"X-{n}: {n}" for n in range(9_000)]))
        assert (await peer.rest()).startswith(b"HTTP/1.1 431")


async def test_a_batch_of_millions_of_blank_lines_is_refused_before_it_is_taken_apart(
    client: httpx.AsyncClient,
) -> None:
    """One of 64 MiB took half a gigabyte, and several seconds in which nobody else was served."""
    before = _peak_mib()
    answer = await client.post(
        "/workflows/slow/batch", content=b"\n" * (32 * _MIB), headers={"Content-Type": "application/x-ndjson"}
    )
    assert (answer.status_code, answer.json()["error"]) == (413, "PayloadTooLarge")
    assert _peak_mib() - before < 200


@pytest.mark.parametrize(
    "body",
    [b"[" * 600_000, b'{"a":' * 100_000, b'{"a":' * 65 + b"1" + b"}" * 65, b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"],
    ids=["open", "objects", "just too deep", "lists"],
)
async def test_deep_json_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/workflows/slow", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert json.loads(answer.content)["error"] == "ValidationError"


async def test_nothing_of_it_is_left(gateway: Gateway) -> None:
    server = gateway.room._server
    async with connected(gateway) as peer:
        peer.writer.write(head("Content-Length: 1000", key="nobody"))
        await _answer(peer)
    await eventually(lambda: not server.server_state.connections, within=20)
