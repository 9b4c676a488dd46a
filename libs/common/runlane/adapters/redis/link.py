"""One Redis as the adapters beside this use it: it has little time for an answer, and while it is away nobody asks.

Whoever gets `RedisAway` goes on with what this process knows. A look at it from time to time finds it again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

from prometheus_client import Counter, Gauge
from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from runlane.errors import ConfigurationError
from runlane.telemetry import logger

_log = logger(__name__)
_T = TypeVar("_T")

#: Everything of ours begins so: a Redis may have other users.
PREFIX = "runlane:"

_LOOK_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 0.5
#: Few: an answer takes a fraction of a millisecond, and a connection some of them to make.
_CONNECTIONS = 8

_away = Gauge("runlane_redis_away", "1 while this process goes on without the Redis that it was given.")
_alone = Counter("runlane_redis_fallbacks", "What was decided by this process alone, as Redis did not answer.")

#: The nearest to the top counts: some are kinds of others further down.
_REASONS: dict[type[Exception], str] = {
    exceptions.AuthenticationError: "it refuses our user or password",
    exceptions.NoPermissionError: "our user lacks a permission",
    exceptions.BusyLoadingError: "it is starting",
    exceptions.MaxConnectionsError: "all connections to it are taken",
    exceptions.ReadOnlyError: "it is a read-only replica",
    exceptions.OutOfMemoryError: "its memory is full",
    exceptions.TimeoutError: "it does not answer",
    TimeoutError: "it does not answer",
    exceptions.ConnectionError: "it cannot be reached",
    OSError: "it cannot be reached",
}


class RedisAway(Exception):
    """No answer, or none in time. Whether it was done is unknown."""


class RedisLink:
    """`problem` is why it is away, None while it answers. Nobody waits longer than `patience` seconds for it."""

    def __init__(self, client: Redis, patience: float) -> None:
        self.client, self._patience = client, patience
        self.problem: str | None = "not asked yet"
        self._told: str | None = None
        self._lost = asyncio.Event()

    async def ask(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """What `call`, a command of `client`, answers. Raises `RedisAway`, at once where that is known."""
        if self.problem is None:
            try:
                async with asyncio.timeout(self._patience):
                    return await call()
            except (exceptions.RedisError, OSError, TimeoutError) as problem:
                self.problem = _reason(problem)
                self._lost.set()
        _alone.inc()
        raise RedisAway

    async def look(self) -> None:
        """Find out whether it takes what we write, and say so where that has changed."""
        try:
            async with asyncio.timeout(self._patience):
                await self.client.set(f"{PREFIX}look", b"", px=1000)
            self.problem = None
        except (exceptions.RedisError, OSError, TimeoutError) as problem:
            self.problem = _reason(problem)
        _away.set(self.problem is not None)
        if (self.problem is None) != (self._told is None):
            if self.problem is None:
                _log.info("Redis is back: limits and tokens are shared again")
            else:
                _log.warning("Redis is away: limits and tokens are this process's own", reason=self.problem)
        self._told = self.problem

    async def keep(self) -> None:
        """Look after it; ends only by being cancelled."""
        while True:
            self._lost.clear()
            pause = _LOOK_SECONDS if self.problem is None else _LOOK_AGAIN_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._lost.wait()
            await self.look()


@asynccontextmanager
async def open_link(url: str, patience: float) -> AsyncIterator[RedisLink]:
    """A link to the Redis at `url`, which may be away. Raises `ConfigurationError` for a URL that is none."""
    try:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=patience,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            retry=Retry(NoBackoff(), 0),
        )
    except (ValueError, TypeError):
        raise ConfigurationError("RUNLANE_REDIS_URL is not a Redis URL.", "RUNLANE_REDIS_URL") from None
    link = RedisLink(Redis.from_pool(pool), patience)
    await link.look()
    keeping = asyncio.create_task(link.keep(), name="redis")
    try:
        yield link
    finally:
        keeping.cancel()
        await asyncio.wait({keeping})
        with suppress(exceptions.RedisError, OSError):
            await link.client.aclose()


def _reason(problem: Exception) -> str:
    known = (told for type_, told in _REASONS.items() if isinstance(problem, type_))
    return next(known, type(problem).__name__)
