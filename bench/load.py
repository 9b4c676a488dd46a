"""A small HTTP/1.1 load generator: keep-alive connections, one request at a time on each, little work."""

import asyncio
import time
from collections.abc import Callable


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    async def call(self, request: bytes) -> tuple[int, bytes]:
        """Send a whole request; the status and body of its answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        start = head.lower().index(b"content-length:") + 15
        length = int(head[start : head.index(b"\r", start)])
        body = await self._reader.readexactly(length) if length else b""
        return int(head[9:12]), body

    def close(self) -> None:
        self._writer.close()


def post(path: str, key: str, body: bytes = b"{}") -> bytes:
    """The bytes of a POST request."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


async def drive(port: int, request: bytes, callers: int, total: int, expect: int) -> tuple[float, list[float]]:
    """`total` requests from `callers` at once; the seconds it took and each request's milliseconds.

    Raises `RuntimeError` at the first answer that is not `expect`.
    """
    remaining = total
    took: list[float] = []

    async def caller() -> None:
        nonlocal remaining
        connection = await Connection.open(port)
        while remaining > 0:
            remaining -= 1
            began = time.perf_counter()
            status, body = await connection.call(request)
            took.append((time.perf_counter() - began) * 1000)
            if status != expect:
                raise RuntimeError(f"HTTP {status} instead of {expect}: {body[:300]!r}")
        connection.close()

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return time.perf_counter() - began, took


async def until(done: Callable[[], bool], within: float, every: float = 0.01) -> float:
    """The seconds until `done()`; raises `TimeoutError`."""
    began = time.perf_counter()
    while not done():
        if time.perf_counter() - began > within:
            raise TimeoutError("the work was not done in time")
        await asyncio.sleep(every)
    return time.perf_counter() - began
