"""Token buckets of this process: how often something may happen. Used by the webhook door."""

from collections.abc import Hashable

from runlane.clock import Clock

#: Beyond so many buckets those that are full again are forgotten: a full one and none are the same.
_MANY = 10_000


class Buckets:
    """Buckets by key. Each keeps the moment at which it will be full again."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: dict[Hashable, float] = {}

    def take(self, key: Hashable, per_minute: float, burst: float) -> float:
        """Take one; 0 when it was there, else nothing is taken and it will be there in so many seconds."""
        now, step = self._clock.monotonic(), 60 / per_minute
        full_at = max(self._full_at.get(key, now), now) + step
        wait = full_at - now - step * burst
        if wait > 1e-9:
            return wait
        self._full_at[key] = full_at
        if len(self._full_at) > _MANY:
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
        return 0.0
