"""A workflow that takes a while and no processor: what `bench.fairness` floods the engine with."""

import asyncio

from runlane import Context, workflow


@workflow(name="nap", description="50 ms of nothing", execution_mode="async")
async def nap(context: Context) -> None:
    await asyncio.sleep(0.05)
