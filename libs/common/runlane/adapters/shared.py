"""What several processes share, or each keeps for itself: limits and tokens. Opened by composition roots."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from msgspec import Struct

from runlane.clock import Clock
from runlane.ports import Limiter, TokenStore
from runlane.settings import Settings

from .memory_limiter import MemoryLimiter
from .memory_tokens import MemoryTokens

if TYPE_CHECKING:
    from .redis.link import RedisLink


#: So many seconds anybody waits for an answer of Redis before going on without.
PATIENCE = 0.1


class Shared(Struct, frozen=True):
    """`link` None: there is no Redis, and all of it is this process's own."""

    limiter: Limiter
    tokens: TokenStore
    link: "RedisLink | None" = None

    def degraded(self) -> Mapping[str, str]:
        """What /readyz says while Redis is away: no reason to be not ready."""
        problem = None if self.link is None else self.link.problem
        return {} if problem is None else {"redis": f"{problem}; limits and tokens are this process's own"}


@asynccontextmanager
async def open_shared(settings: Settings, clock: Clock, patience: float = PATIENCE) -> AsyncIterator[Shared]:
    """Limits and tokens in the Redis of the settings, or in memory. Raises `ConfigurationError` for an unusable URL."""
    limiter, tokens = MemoryLimiter(clock), MemoryTokens(clock)
    if settings.redis_url is None:
        yield Shared(limiter, tokens)
        return
    from .redis.limiter import RedisLimiter  # who has no Redis does not pay for its client
    from .redis.link import open_link
    from .redis.tokens import RedisTokens

    async with open_link(settings.redis_url, patience) as link:
        yield Shared(RedisLimiter(link, limiter), RedisTokens(link, tokens), link)
