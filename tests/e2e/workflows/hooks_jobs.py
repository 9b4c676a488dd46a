"""Workflows that webhooks run. `journal` names a file in which they note what ran."""

from typing import Any

from jobs import note

from runlane import Context, workflow


@workflow(
    name="noted_hook", description="Notes it", webhook_enabled=True, execution_mode="async", expose_in_forms=False
)
async def noted_hook(context: Context, journal: str, number: int) -> int:
    note(journal, f"{number} {context.execution_id}")
    return number


@workflow(name="event_hook", description="Takes what comes", webhook_enabled=True, execution_mode="async")
async def event_hook(context: Context, event: Any, about: dict[str, str]) -> dict[str, Any]:
    return {"event": event, "about": about, "by": context.executed_by}
