"""Answers that cost something are worked out once for all who ask at about the same time. Used by `overview`."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")

_MOST = 256


class SharedAnswers(Generic[_K, _V]):
    """Keeps the newest `_MOST` answers of `ask(key)` for so many seconds. Failures are told and not kept."""

    def __init__(self, ask: Callable[[_K], Coroutine[None, None, _V]], seconds: float) -> None:
        self._ask, self._seconds = ask, seconds
        self._known: dict[_K, tuple[asyncio.Task[_V], float | None]] = {}

    async def get(self, key: _K) -> _V:
        """The answer, at most so old; raises what `ask` raises."""
        task, ended_at = self._known.get(key, (None, None))
        if task is None or (ended_at is not None and asyncio.get_running_loop().time() - ended_at > self._seconds):
            task = asyncio.create_task(self._ask(key))
            self._known.pop(key, None)
            self._known[key] = task, None
            task.add_done_callback(lambda done: self._ended(key, done))
            while len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
        # Whoever asked first may hang up: others wait for it too.
        return await asyncio.shield(task)

    def _ended(self, key: _K, task: asyncio.Task[_V]) -> None:
        if self._known.get(key, (None, None))[0] is not task:
            return
        if task.cancelled() or task.exception() is not None:
            del self._known[key]
        else:
            self._known[key] = task, task.get_loop().time()
