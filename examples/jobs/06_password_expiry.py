"""Each working day at eight of the client's own zone: a ticket for everybody whose password is about to expire."""

from datetime import UTC, datetime, timedelta
from typing import Any

from runlane import Context, workflow


@workflow(
    name="password_expiry",
    description="Makes a ticket for each password that expires soon.",
    category="helpdesk",
    tags=["example", "msgraph", "halopsa"],
    execution_mode="async",
    schedule="0 8 * * mon-fri",
    schedule_time_zone="org",
    overlap_policy="skip",
    misfire_policy="once",
)
async def password_expiry(context: Context, notice_days: int = 14) -> dict[str, Any]:
    graph, halo = context.get_integration("msgraph"), context.get_integration("halopsa")
    days = context.get_config("password_days", 90)
    soon: dict[str, int] = {}
    async for user in graph.users(select=["userPrincipalName", "accountEnabled", "lastPasswordChangeDateTime"]):
        changed = datetime.fromisoformat(user["lastPasswordChangeDateTime"])
        left = (changed + timedelta(days=days) - datetime.now(UTC)).days
        if user["accountEnabled"] and 0 <= left <= notice_days:
            soon[user["userPrincipalName"]] = left
    for email, left in soon.items():
        summary = f"The password of {email} expires in {left} day(s)"
        await context.step(f"notice {email}", halo.create_ticket, summary, "Help with a new one.")
    return {"noticed": soon}
