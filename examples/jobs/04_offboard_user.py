"""Somebody leaves: the account is locked at once, and what cannot be undone waits until a person has agreed to it."""

from typing import Any

from runlane import Context, workflow

DAY = 86_400


@workflow(
    name="offboard_user",
    description="Locks an account; takes its licences and groups once somebody has agreed.",
    category="user_management",
    tags=["example", "msgraph", "connectwise"],
    execution_mode="async",
    timeout_seconds=300,
)
async def offboard_user(context: Context, email: str) -> dict[str, Any]:
    graph, connectwise = context.get_integration("msgraph"), context.get_integration("connectwise")
    user = await graph.get_user(email)
    await context.step("lock", graph.update_user, user["id"], accountEnabled=False)
    await context.step("sign_out", graph.revoke_sign_in_sessions, user["id"])

    decision = await context.wait_for_approval(f"Take licences and groups of {email}?", timeout=3 * DAY)
    if not decision.approved:
        context.log("warning", f"{email} is locked and keeps the rest", {"reason": decision.reason})
        return {"locked": True, "licences": 0, "groups": 0}

    licences = await context.step("licences", graph.get_user_licenses, user["id"])
    for licence in licences:
        await context.step("remove_licence", graph.remove_license, user["id"], licence["skuId"])
    groups = [group async for group in graph.user_groups(user["id"])]
    for group in groups:
        await context.step("leave_group", graph.remove_user_from_group, user["id"], group["id"])
    summary = f"{email} has left"
    ticket = await context.step("ticket", connectwise.create_ticket, summary, "Fetch laptop and badge.")
    return {"locked": True, "licences": len(licences), "groups": len(groups), "ticket_id": ticket["id"]}
