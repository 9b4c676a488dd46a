"""Ends what outlives its request when the credentials behind it end: a stream must not go on for a revoked key.

Used by `live`.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from runlane.clock import Clock
from runlane.directory import Directory

from .principals import Principal

_KEYS = "keys."
_LONGEST_SECONDS = 86_400.0  # then a client may come again


class Lifetimes:
    """Knows which callers have something open."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory, self._clock = directory, clock
        self._open: dict[str, set[asyncio.Event]] = {}
        directory.on_change(self._changed)

    @contextmanager
    def of(self, principal: Principal) -> Iterator[asyncio.Event]:
        """An event that is set when the caller's key changes or goes, or when its time is over."""
        ended = asyncio.Event()
        if principal.kind == "key" and self._directory.api_key(principal.key_id) is None:
            ended.set()  # it went while the request was on its way here
        self._open.setdefault(principal.key_id, set()).add(ended)
        timer = asyncio.get_running_loop().call_later(self._seconds_left(principal), ended.set)
        try:
            yield ended
        finally:
            timer.cancel()
            events = self._open[principal.key_id]
            events.discard(ended)
            if not events:
                del self._open[principal.key_id]

    def _seconds_left(self, principal: Principal) -> float:
        if principal.expires_at is None:
            return _LONGEST_SECONDS
        return min(_LONGEST_SECONDS, max(0.0, (principal.expires_at - self._clock.now()).total_seconds()))

    def _changed(self, key: str) -> None:
        if key.startswith(_KEYS):
            for ended in self._open.get(key.removeprefix(_KEYS), ()):
                ended.set()
