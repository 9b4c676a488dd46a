"""The HTTP server inside the service: uvicorn on a socket of ours, without its signal handlers, drained in order."""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Mapping

import uvicorn

from runlane.errors import ConfigurationError
from runlane.settings import Settings

from .connection import Connection
from .gate import Gate

_BACKLOG = 2048
_KEEP_ALIVE_SECONDS = 75
_CLOSE_SECONDS = 2
_LAST_ANSWERS_SECONDS = 2


def listen(settings: Settings) -> socket.socket:
    """A listening socket, so that callers connect from the moment that the service says it is ready.

    Raises `ConfigurationError` when the address cannot be had.
    """
    host, port = settings.http_host, settings.http_port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as problem:
        raise ConfigurationError(f"Cannot listen on {host}:{port}: {problem}", "RUNLANE_HTTP_PORT") from None
    listener.setblocking(False)
    return listener


class _Uvicorn(uvicorn.Server):
    """The service handles signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def stop_listening(self) -> None:
        """Callers that have connected already are heard: the loop accepts them in a round before the socket goes."""
        await _one_round()
        for server in getattr(self, "servers", ()):
            server.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """What has come on connections that were kept is heard, too: closing one over it would reset it."""
        await _one_round()
        await super().shutdown(sockets)


async def _one_round() -> None:
    """Let the loop hear everything that has come: it may look only after the next thing that it has to do."""
    for _ in range(2):
        await asyncio.sleep(0)


class GatewayRoom:
    """See `runlane.service.Room`."""

    def __init__(  # each is a fact of its own
        self,
        gate: Gate,
        listener: socket.socket,
        problems: Callable[[], Mapping[str, str]],
        grace: float,
        delay: float = 0.0,
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        self._gate, self._listener, self._problems = gate, listener, problems
        self.port: int = listener.getsockname()[1]
        self._delay, self._let_go = delay, let_go
        self._grace = max(0.0, grace - delay - _LAST_ANSWERS_SECONDS - _CLOSE_SECONDS - 1)
        self._stopped = asyncio.Event()
        self._server = _Uvicorn(
            uvicorn.Config(
                gate,
                loop="none",
                http=Connection,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                proxy_headers=False,
                backlog=_BACKLOG,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_CLOSE_SECONDS,
            )
        )

    async def run(self) -> None:
        try:
            await self._server.serve(sockets=[self._listener])
        finally:
            self._listener.close()
            self._stopped.set()

    async def drain(self) -> None:
        """Be not ready for a while, so that callers go elsewhere; then take no new connections, let callers that wait
        have their outcome in the time there is, or else be told that it will come; then close."""
        self._gate.leave()
        await asyncio.sleep(self._delay)
        await self._server.stop_listening()
        if not await self._answered(self._grace):
            self._let_go()
            await self._answered(_LAST_ANSWERS_SECONDS)
        self._server.should_exit = True
        await self._stopped.wait()

    async def _answered(self, within: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._gate.close()
                return True
        return False

    def problems(self) -> Mapping[str, str]:
        return self._problems()
