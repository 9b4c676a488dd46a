"""The workflows that `bench.recovery` runs while it does bad things to the engine."""

import asyncio
import os
import time

from runlane import Context, workflow


@workflow(name="attempts", description="Notes when and where each run of it began", execution_mode="async")
async def attempts(context: Context, journal: str) -> None:
    handle = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, f"{context.execution_id} {os.getpid()} {time.monotonic()}\n".encode())
    os.close(handle)
    if not context.resumed:
        await asyncio.sleep(3600)


@workflow(name="noop_sync", description="Nothing, and the caller waits", execution_mode="sync")
async def noop_sync(context: Context) -> None:
    return None


@workflow(name="noop_async", description="Nothing, in the background", execution_mode="async")
async def noop_async(context: Context) -> None:
    return None


@workflow(name="each_minute", description="Nothing", execution_mode="scheduled", schedule="* * * * *")
async def each_minute(context: Context) -> None:
    return None
