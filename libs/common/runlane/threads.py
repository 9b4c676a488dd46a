"""Runs authors' plain functions in threads, so that the loop stays free. Used by `context` and by the executor."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")


async def in_thread(function: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    """Call a plain function in a thread and return what it returns."""
    return await asyncio.to_thread(_without_stop_iteration, function, args, kwargs)


def _without_stop_iteration(function: Callable[..., _T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _T:
    try:
        return function(*args, **kwargs)
    except StopIteration as stop:
        # A future cannot hold one: whoever waits for the function would wait for ever.
        raise RuntimeError(f"{getattr(function, '__name__', 'the function')} raised StopIteration") from stop
