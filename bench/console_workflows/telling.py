"""What `bench.console` runs: something with a row in the list, and something whose lines say when they were written."""

import asyncio
import time

from runlane import Context, workflow


@workflow(name="noop", description="Does nothing", execution_mode="async")
async def noop(context: Context) -> None:
    return None


@workflow(name="tells", description="Says when it said so", execution_mode="async", timeout_seconds=120)
async def tells(context: Context, lines: int = 300) -> None:
    await asyncio.sleep(3)  # until the page is there
    for _ in range(lines):
        context.log("info", f"at={time.time() * 1000:.1f}")
        await asyncio.sleep(0.03)
