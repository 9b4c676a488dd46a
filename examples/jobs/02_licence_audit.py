"""Licences that are paid for and help nobody, each first of the month at seven in the morning of the client's zone."""

from typing import Any

from runlane import Context, workflow


@workflow(
    name="licence_audit",
    description="Finds licences that nobody has, and those of people whose account is off.",
    category="licences",
    tags=["example", "msgraph"],
    execution_mode="async",
    schedule="0 7 1 * *",
    schedule_time_zone="org",
    retry_policy={"max_attempts": 3, "initial_delay_seconds": 60},
)
async def licence_audit(context: Context) -> dict[str, Any]:
    graph = context.get_integration("msgraph")
    skus = await graph.get_subscribed_skus()
    spare = {sku["skuPartNumber"]: sku["prepaidUnits"]["enabled"] - sku["consumedUnits"] for sku in skus}
    asleep = []
    async for user in graph.users(select=["id", "userPrincipalName", "accountEnabled"]):
        if not user["accountEnabled"] and await graph.get_user_licenses(user["id"]):
            asleep.append(user["userPrincipalName"])
    if asleep:
        context.log("warning", f"{len(asleep)} account(s) that are off have licences", {"users": asleep})
    return {"spare": spare, "licensed_but_off": asleep}
