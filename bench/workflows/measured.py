"""The workflows that the benchmark runs."""

from runlane import Context, workflow


@workflow(name="noop_sync", description="Nothing, and the caller waits", execution_mode="sync")
async def noop_sync(context: Context) -> None:
    return None


@workflow(name="noop_async", description="Nothing, in the background", execution_mode="async")
async def noop_async(context: Context) -> None:
    return None


async def _step(n: int) -> str:
    return f"{n:0200}"


@workflow(name="five_steps", description="Five durable steps of 200 bytes each", execution_mode="async")
async def five_steps(context: Context) -> int:
    for n in range(5):
        await context.step("work", _step, n)
    return 5


@workflow(name="noop_hook", description="Nothing, by a webhook", execution_mode="async", webhook_enabled=True)
async def noop_hook(context: Context) -> None:
    return None
