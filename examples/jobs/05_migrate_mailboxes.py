"""Many mailboxes, one after the other. Kill the process in the middle: it goes on with the next mailbox."""

import asyncio
import os
from typing import Any

from runlane import Context, workflow


async def copy_mailbox(user: str, seconds: float) -> dict[str, Any]:
    """Stands in for hours of copying."""
    await asyncio.sleep(seconds)
    return {"user": user, "process": os.getpid()}


@workflow(
    name="migrate_all_mailboxes",
    description="Copies mailboxes, and takes up where it was after a crash.",
    category="migration",
    tags=["example"],
    execution_mode="async",
    timeout_seconds=4 * 3600,
    max_duration_seconds=24 * 3600,
)
async def migrate_all_mailboxes(context: Context, users: list[str], seconds: float = 1) -> dict[str, Any]:
    context.log("info", f"begins in process {os.getpid()}")
    done: list[dict[str, Any]] = []
    for number, user in enumerate(users, start=1):
        # What is stored of a step is returned when the function is called again: nothing is copied twice.
        done.append(await context.step("copy", copy_mailbox, user, seconds))
        context.progress(100 * number / len(users), f"{number} of {len(users)}: {user}")
    return {"mailboxes": done, "resumed": context.resumed}
