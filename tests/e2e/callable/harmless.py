"""Workflows that anything may be thrown at: none of them fails with a status that the engine could be blamed for."""

from typing import Any, Literal

from runlane import Context, workflow


@workflow(name="echo", description="Returns what it gets")
async def echo(context: Context, value: Any = None) -> Any:
    return value


@workflow(name="later", description="Takes some parameters", execution_mode="async")
async def later(context: Context, count: int, mode: Literal["fast", "slow"] = "fast") -> int:
    return count
