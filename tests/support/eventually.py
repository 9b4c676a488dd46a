"""Waiting without sleeping blindly: look again until it is so, or fail saying what was seen last."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


async def eventually(look: Callable[[], T | Awaitable[T]], *, within: float = 30.0, every: float = 0.02) -> T:
    """Return the first truthy result of `look`; an AssertionError inside it counts as not yet."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    seen: Any = None
    while True:
        try:
            seen = look()
            if inspect.isawaitable(seen):
                seen = await seen
            if seen:
                return seen  # type: ignore[no-any-return]
        except AssertionError as problem:
            seen = problem
        if loop.time() > deadline:
            raise AssertionError(f"not within {within} s; last seen: {seen!r}")
        await asyncio.sleep(every)
