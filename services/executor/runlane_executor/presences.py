"""Which executors are there, as far as this one hears. Used by `permits`, to know whose are void."""

import time
from collections.abc import Callable

import msgspec

from runlane.contracts.presence import decode_presence

#: So long an executor may be silent about its work before others take it over.
_GONE_SECONDS = 5.0
#: Who has not heard even itself for so long is deaf, or was stopped: it judges nobody.
_DEAF_SECONDS = 3.0


class Presences:
    """Listens to what executors say of themselves, this one included."""

    def __init__(self, own: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._own, self._monotonic = own, monotonic
        self._heard: dict[str, float] = {}
        self._listening_since = float("inf")

    def heard(self, _: str, payload: bytes) -> None:
        """Somebody said that it is there."""
        try:
            executor = decode_presence(payload).executor
        except msgspec.DecodeError:
            return
        now = self._monotonic()
        if executor == self._own and self._is_deaf(now):
            self._listening_since = now
        self._heard[executor] = now

    def is_gone(self, executor: str) -> bool:
        """Whether an executor has been silent for longer than its leases last, all of which we listened."""
        now = self._monotonic()
        if executor == self._own or self._is_deaf(now):
            return False
        return now - max(self._heard.get(executor, 0.0), self._listening_since) > _GONE_SECONDS

    def is_first(self) -> bool:
        """Whether this one is the first by name of those that are there: what one alone need do falls to it."""
        self._heard = {name: at for name, at in self._heard.items() if not self.is_gone(name)}
        return self._own == min(self._heard, default=self._own)

    def _is_deaf(self, now: float) -> bool:
        return now - self._heard.get(self._own, float("-inf")) > _DEAF_SECONDS
