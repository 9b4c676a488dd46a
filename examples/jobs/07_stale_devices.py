"""A report that people ask for: devices that nobody has used for long. The caller waits for the answer."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta

from runlane import Context, workflow


@workflow(
    name="stale_devices",
    description="Devices that nobody has signed in to for so many days.",
    category="reports",
    tags=["example", "msgraph"],
    timeout_seconds=60,
)
async def stale_devices(context: Context, days: Annotated[int, Meta(ge=1, le=3650)] = 90) -> dict[str, Any]:
    graph = context.get_integration("msgraph")
    before = datetime.now(UTC) - timedelta(days=days)
    stale = []
    # Page by page, as the loop goes: a tenant with 50,000 devices needs no more memory than one with ten.
    async for device in graph.pages("/v1.0/devices", {"$select": "displayName,approximateLastSignInDateTime"}):
        if datetime.fromisoformat(device["approximateLastSignInDateTime"]) < before:
            stale.append(device["displayName"])
    context.log("info", f"{len(stale)} stale device(s)")
    return {"days": days, "devices": sorted(stale)}
