"""What reaches the gateway's socket before it is a request: heads too long, too slow, no HTTP, too many at once."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send

from runlane.settings import Settings
from runlane_gateway import connection
from runlane_gateway.answers import answer
from runlane_gateway.gate import Gate
from runlane_gateway.server import GatewayRoom, listen


class Application:
    """Answers 200 to everything."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer({"path": scope["path"]})(scope, receive, send)

    def leave(self) -> None: ...

    async def close(self) -> None: ...


@asynccontextmanager
async def serving() -> AsyncIterator[int]:
    room = GatewayRoom(cast(Gate, Application()), listen(Settings(http_port=0)), lambda: {}, 5)
    running = asyncio.create_task(room.run())
    yield room.port
    await room.drain()
    await running


async def asked(port: int, *pieces: bytes) -> tuple[int, dict[str, Any]]:
    """The status and the body of the answer to these bytes; (0, {}) where the server hung up on what still came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(20):
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        except ConnectionError:
            return 0, {}
        finally:
            writer.close()
    return int(head.split()[1]), json.loads(body)


async def test_a_request_passes() -> None:
    async with serving() as port:
        asked_for = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + b"a" * 60_000 + b"\r\n\r\n"
        assert await asked(port, asked_for) == (200, {"path": "/x"})


async def test_a_head_that_is_too_long_is_refused() -> None:
    async with serving() as port:
        status, body = await asked(port, b"GET /x HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n")
        assert (status, body["error"]) == (431, "HeadersTooLarge")
        status, body = await asked(port, b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n")
        assert (status, body["error"]) == (400, "BadRequest")  # the parser takes no such URL


async def test_a_head_that_never_ends_is_refused_while_it_comes() -> None:
    async with serving() as port:
        status, body = await asked(port, b"GET /x HTTP/1.1\r\n", *[b"X: " + b"a" * 100_000 + b"\r\n"] * 20)
        assert (status, body.get("error")) in {(431, "HeadersTooLarge"), (0, None)}


async def test_a_head_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    async with serving() as port:
        status, body = await asked(port, b"GET /x HTTP/1.1\r\nHost:")
        assert (status, body["error"]) == (408, "RequestTimeout")
        status, body = await asked(port)
        assert (status, body["error"]) == (408, "RequestTimeout")


async def test_what_is_no_http_gets_the_envelope() -> None:
    async with serving() as port:
        status, body = await asked(port, b"FOO /x HTTP/1.1\r\n\r\n")
        assert (status, body["error"], body["status"]) == (400, "BadRequest", "Failed")


async def test_too_many_at_once_get_the_envelope_and_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 1)
    async with serving() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"}")

        other, other_writer = await asyncio.open_connection("127.0.0.1", port)
        other_writer.write(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
        told = await other.read()

        assert told.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in told
        assert json.loads(told.partition(b"\r\n\r\n")[2])["error"] == "InfrastructureError"
        writer.close()
        other_writer.close()
