"""`ports.Limiter` in memory: token buckets of one process."""

from runlane.clock import Clock
from runlane.ports import Budget

#: Beyond so many buckets those that are full again are forgotten: a full one and none are the same.
_MANY = 10_000


class MemoryLimiter:
    """Keeps for each bucket the moment at which it will be full again (the generic cell rate algorithm)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    async def reserve(self, key: str, budget: Budget, within: float, count: int = 1) -> float | None:
        now = self._clock.monotonic()
        step = 60 / budget.per_minute
        full_at = max(self._full_at.get(key, now), now) + step * count
        # More at once than the bucket holds have to wait for a full one, not for ever.
        wait = max(0.0, full_at - now - step * max(budget.burst, count))
        if wait > within:
            return None
        self._full_at[key] = full_at
        if len(self._full_at) > _MANY:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        return wait
