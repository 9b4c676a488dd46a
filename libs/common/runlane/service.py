"""One shape for every service process: settings → open → ready → run → drain on SIGTERM, with health and metrics.

A room's `app.py` calls `serve(name, open_room)`. Exit codes: 0 drained, 1 could not go on (a supervisor starts it
again), 2 its settings cannot work.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol, runtime_checkable

import msgspec
import prometheus_client
import uvloop

from runlane.errors import ConfigurationError, InfrastructureError, RunlaneError
from runlane.settings import Settings, read_settings
from runlane.telemetry import configure_logging, logger

_log = logger(__name__)

#: More would keep what an unlucky call left in a cycle, a body of 700 KiB say, from being freed for too long.
_OBJECTS_BETWEEN_COLLECTIONS = 10_000


class Room(Protocol):
    """What a service is to its process."""

    async def run(self) -> None:
        """Work; return only when there is nothing more to do. An exception ends the process with 1."""
        ...

    async def drain(self) -> None:
        """Take no new work and finish or hand back what there is. Called once, before `run` is cancelled."""
        ...

    def problems(self) -> Mapping[str, str]:
        """What keeps it from serving now: part → reason. Empty when ready."""
        ...


@runtime_checkable
class LimpingRoom(Room, Protocol):
    """A room that may go on without some part."""

    def degraded(self) -> Mapping[str, str]:
        """What it serves without, for now: part → reason."""
        ...


OpenRoom = Callable[[Settings], AbstractAsyncContextManager[Room]]


def serve(name: str, open_room: OpenRoom) -> None:
    """Run a service until SIGTERM or SIGINT, then exit the process."""
    ready = os.environ.pop("RUNLANE_READY_FD", None)
    try:
        settings = read_settings()
    except ConfigurationError as problem:
        print(f"runlane {name}: {problem.message}", file=sys.stderr)
        raise SystemExit(2) from None
    configure_logging(name, settings, for_good=True)
    try:
        uvloop.run(_serve(name, open_room, settings, ready))
    except ConfigurationError as problem:
        _log.error("cannot start", reason=problem.message)
        raise SystemExit(2) from None
    except RunlaneError as problem:
        _log.error("cannot go on", error=problem.code, reason=problem.message)
        raise SystemExit(1) from None


async def _serve(name: str, open_room: OpenRoom, settings: Settings, ready: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_room(settings) as room:
        running = asyncio.create_task(room.run(), name=f"{name}.run")
        async with _health(room, settings, stop):
            _collect_seldom()
            _announce_ready(ready)
            _log.info("ready")
            await _until_stopped(running, stop, room, settings.drain_grace)
    _log.info("stopped")


def _collect_seldom() -> None:
    """Have Python look for cycles of garbage less often, and never among what a service begins with.

    A call makes hundreds of objects, nearly all of which are gone when it is over: to look for cycles among them every
    700 objects, and every 70,000 among all modules and the directory too, took a fifth of a gateway's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])


async def _until_stopped(running: asyncio.Task[None], stop: asyncio.Event, room: Room, grace: float) -> None:
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            _log.info("draining", grace_seconds=grace)
            with suppress(asyncio.TimeoutError, InfrastructureError):
                await asyncio.wait_for(room.drain(), grace)
    finally:
        stopping.cancel()
        await end_task(running)
    if not running.cancelled():
        running.result()


async def end_task(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for its end.

    Asks again until it is over: `asyncio.wait_for` of Python 3.11 loses a cancellation that comes in the moment in
    which what it waits for is done (CPython issue 86296).
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=1.0)


def _announce_ready(descriptor: str | None) -> None:
    """Tell the supervisor: a line on the file descriptor that it named in RUNLANE_READY_FD."""
    if descriptor is not None:
        with suppress(OSError), os.fdopen(int(descriptor), "wb") as pipe:
            pipe.write(b"ready\n")


class _health:
    """The small HTTP server of a service that has no other: GET /healthz, /readyz, /metrics."""

    def __init__(self, room: Room, settings: Settings, stop: asyncio.Event) -> None:
        self._room, self._settings, self._stop = room, settings, stop
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> None:
        if self._settings.health_port:
            self._server = await asyncio.start_server(
                self._answer, self._settings.http_host, self._settings.health_port, limit=8192
            )

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), timeout=5)
            method, path, _ = head.split(b" ", 2)
            status, kind, body = self._page(path.partition(b"?")[0])
            writer.write(
                b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
                % (status, kind, len(body), b"" if method == b"HEAD" else body)
            )
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, ConnectionError):
            pass  # not HTTP, too slow or gone: there is nobody to answer
        finally:
            writer.close()

    def _page(self, path: bytes) -> tuple[bytes, bytes, bytes]:
        if path == b"/metrics":
            return b"200 OK", prometheus_client.CONTENT_TYPE_LATEST.encode(), prometheus_client.generate_latest()
        if path == b"/healthz":
            return b"200 OK", b"application/json", b'{"status":"ok"}'
        if path == b"/readyz":
            problems = dict(self._room.problems())
            if self._stop.is_set():
                problems["service"] = "shutting down"
            told: dict[str, object] = {"status": "not ready" if problems else "ready", "problems": problems}
            if isinstance(self._room, LimpingRoom):
                told["degraded"] = self._room.degraded()
            body = msgspec.json.encode(told)
            return (b"503 Service Unavailable" if problems else b"200 OK"), b"application/json", body
        return b"404 Not Found", b"application/json", b'{"error":"NotFound"}'
