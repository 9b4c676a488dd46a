"""`ports.TokenStore` in memory: the tokens of one process."""

from runlane.clock import Clock

_MANY = 10_000


class MemoryTokens:
    """A dictionary that forgets."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, tuple[bytes, float]] = {}

    async def get(self, key: str) -> bytes | None:
        kept = self._kept.get(key)
        if kept is None or kept[1] <= self._clock.monotonic():
            return None
        return kept[0]

    async def put(self, key: str, sealed: bytes, seconds: float) -> None:
        now = self._clock.monotonic()
        self._kept[key] = (sealed, now + seconds)
        if len(self._kept) > _MANY:
            self._kept = {key: kept for key, kept in self._kept.items() if kept[1] > now}

    async def drop(self, key: str, sealed: bytes) -> None:
        if self._kept.get(key, (None, 0.0))[0] == sealed:
            del self._kept[key]
