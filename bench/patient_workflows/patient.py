"""What `bench.false_redelivery` runs: executions that outlast the lease that their executor has to renew."""

import asyncio

from runlane import Context, workflow


@workflow(name="patient", description="Longer than a lease, doing nothing", execution_mode="async")
async def patient(context: Context, seconds: float) -> None:
    await asyncio.sleep(seconds)
