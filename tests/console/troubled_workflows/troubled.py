"""Workflows in trouble, for the pages that say what the engine does about it."""

import asyncio
import os
from pathlib import Path

from runlane import Context, RetryPolicy, workflow


def _suffer(antidote: str) -> None:
    if not Path(antidote).exists():
        os._exit(7)


@workflow(
    name="poison", description="Ends its process", execution_mode="async", retry_policy=RetryPolicy(max_attempts=1)
)
async def poison(context: Context, antidote: str) -> str:
    _suffer(antidote)
    return "well"


@workflow(
    name="overlaps",
    description="Takes longer than a minute",
    schedule="* * * * *",
    overlap_policy="skip",
    timeout_seconds=600,
)
async def overlaps(context: Context) -> None:
    await asyncio.sleep(500)


@workflow(name="small", description="Does nothing", execution_mode="async")
async def small(context: Context) -> int:
    return 1
