"""An asynchronous workflow: the caller gets an id at once and looks for progress; finished steps survive a crash."""

import asyncio

from runlane import Context, RetryPolicy, workflow


async def migrate_one(user_id: str) -> dict[str, object]:
    """Stands in for a vendor's API that takes its time."""
    await asyncio.sleep(0.2)
    return {"user_id": user_id, "items": 100 + len(user_id)}


@workflow(
    name="migrate_mailboxes",
    description="Migrates mailboxes one after the other.",
    category="migration",
    tags=["example", "exchange"],
    execution_mode="async",
    timeout_seconds=600,
    max_duration_seconds=3600,
    retry_policy=RetryPolicy(max_attempts=3, initial_delay_seconds=5),
)
async def migrate_mailboxes(context: Context, user_ids: list[str]) -> dict[str, int]:
    items = 0
    for number, user_id in enumerate(user_ids, start=1):
        migrated = await context.step("migrate", migrate_one, user_id)
        items += int(str(migrated["items"]))
        context.progress(100 * number / len(user_ids), f"{number} of {len(user_ids)} mailboxes")
    return {"migrated_count": len(user_ids), "items": items}
