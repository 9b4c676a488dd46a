"""A TCP proxy between one service and nats-server: cuts, delays, swallows everything, or swallows answers alone."""

import asyncio
from contextlib import suppress
from typing import Literal

Mode = Literal["through", "delay", "blackhole", "drop answers"]


class Proxy:
    """Listens on `port` and forwards to one of `targets`, by turns, as its mode says.

    What was swallowed is followed by a cut: a stream with a hole in it would be no fault that a network has.
    """

    def __init__(self, *targets: int, delay: float = 0.1, host: str = "127.0.0.1") -> None:
        self._targets, self._host, self._delay, self._turn = targets, host, delay, 0
        self._mode: Mode = "through"
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()

    def cut(self) -> None:
        """End every connection with a reset."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def behave(self, mode: Mode, seconds: float) -> None:
        """Be like that for a while."""
        self._mode = mode
        try:
            await asyncio.sleep(seconds)
        finally:
            self._mode = "through"
            if mode in ("blackhole", "drop answers"):
                self.cut()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        far = await self._reach()
        if far is None:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        far_reader, far_writer = far
        self._writers.add(far_writer)
        pumps = [
            asyncio.create_task(self._pump(reader, far_writer, answers=False)),
            asyncio.create_task(self._pump(far_reader, writer, answers=True)),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, far_writer):
            end.transport.abort()
            self._writers.discard(end)
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A connection to the next target that takes one."""
        for _ in self._targets:
            self._turn += 1
            with suppress(OSError):
                return await asyncio.open_connection(self._host, self._targets[self._turn % len(self._targets)])
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(256 * 1024):
                mode = self._mode
                if mode == "blackhole" or (mode == "drop answers" and answers):
                    continue
                if mode == "delay":
                    await asyncio.sleep(self._delay)
                writer.write(data)
                await writer.drain()
