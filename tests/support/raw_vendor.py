"""A server that says exactly what a test wants said, byte for byte: for answers that no vendor should give."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

Answer = tuple[int, dict[str, str], bytes]


HANG_UP, SILENCE = 0, 1


class Vendor:
    """A vendor's API on loopback. `answers` maps `METHOD target` to what it says; everything else is 404.

    Two answers are none: HANG_UP closes the connection, SILENCE says nothing until the client has gone.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer | Callable[[Mapping[str, str]], Answer]] = {}
        self.seen: list[tuple[str, Mapping[str, str], bytes]] = []
        self.url = ""
        self._server: asyncio.Server | None = None
        self._serving: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.called = asyncio.Event()

    def answer(self, call: str, status: int = 200, body: object = None, **headers: str) -> None:
        self.answers[call] = (status, headers, msgspec.json.encode(body))

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._serving.values():
            writer.close()
        await asyncio.gather(*self._serving)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving[task] = writer
        try:
            while True:
                await self._one(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        call = first.rpartition(" ")[0]
        self.seen.append((call, headers, body))
        self.called.set()
        answer = self.answers.get(call, (404, {}, b"{}"))
        status, more, content = answer(headers) if callable(answer) else answer
        if status in (HANG_UP, SILENCE):
            await reader.read(status)
            raise ConnectionError
        head = "".join(f"{name}: {value}\r\n" for name, value in more.items())
        writer.write(f"HTTP/1.1 {status} Said\r\nContent-Length: {len(content)}\r\n{head}\r\n".encode() + content)
        await writer.drain()
