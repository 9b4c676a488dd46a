"""`ports.Limiter` in memory: token buckets of one process."""

from runlane.clock import Clock
from runlane.ports import Allowance, Budget

#: Beyond so many buckets those that are full again are forgotten: a full one and none are the same.
_MANY = 10_000
#: Seconds by which sums of steps may be off.
_ROUNDING = 1e-6


class MemoryLimiter:
    """Keeps for each bucket the moment at which it will be full again (the generic cell rate algorithm)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[str, float] = {}

    async def reserve(self, key: str, budget: Budget, within: float, count: int = 1) -> float | None:
        wait = self._reserve(key, budget, within, count)
        return wait if wait <= within + _ROUNDING else None

    async def take(self, key: str, budget: Budget, count: int = 1) -> Allowance:
        wait = self._reserve(key, budget, 0.0, count)
        full_in = max(0.0, self._full_at.get(key, 0.0) - self._clock.monotonic())
        return allowance(budget, full_in, 0.0 if wait <= _ROUNDING else wait)

    def _reserve(self, key: str, budget: Budget, within: float, count: int) -> float:
        """The wait; when it is longer than `within`, nothing was taken."""
        now, step = self._clock.monotonic(), 60 / budget.per_minute
        full_at = max(self._full_at.get(key, now), now) + step * count
        # More at once than the bucket holds have to wait for a full one, not for ever.
        wait = max(0.0, full_at - now - step * max(budget.burst, count))
        if wait <= within + _ROUNDING:
            self._full_at[key] = full_at
            if len(self._full_at) > _MANY:
                self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        return wait


def allowance(budget: Budget, full_in: float, wait: float) -> Allowance:
    """What is left of a bucket that will be full in so many seconds. Also what the limiter in Redis answers with."""
    left = budget.burst - full_in * budget.per_minute / 60
    return Allowance(wait, max(0, int(left + _ROUNDING)), full_in)
