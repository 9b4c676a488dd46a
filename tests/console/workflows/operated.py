"""Workflows that are scheduled and called by webhooks, for the operator's pages."""

from runlane import Context, workflow


@workflow(
    name="nightly",
    description="At nine in Berlin",
    schedule="0 9 * * *",
    schedule_time_zone="Europe/Berlin",
)
async def nightly(context: Context) -> str:
    return "done"


@workflow(name="ticket", description="Takes a ticket", webhook_enabled=True, execution_mode="async")
async def ticket(context: Context, subject: str = "") -> str:
    return subject
