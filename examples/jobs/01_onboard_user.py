"""A new colleague: a Microsoft 365 user with a licence and a group, and a ticket in HaloPSA for what people have to do.

`context.get_integration` gives clients that are signed in already; each organisation needs their settings.
"""

from typing import Any

from runlane import Context, IntegrationError, ValidationError, workflow


@workflow(
    name="onboard_with_vendors",
    description="Creates a Microsoft 365 user with a licence and groups, and a ticket for what people have to do.",
    category="user_management",
    tags=["example", "msgraph", "halopsa"],
    execution_mode="async",
    timeout_seconds=300,
    retry_policy={"max_attempts": 3, "initial_delay_seconds": 30},
)
async def onboard_with_vendors(
    context: Context,
    email: str,
    first_name: str,
    last_name: str,
    department: str = "Sales",
    licence: str = "ENTERPRISEPACK",
) -> dict[str, Any]:
    if "@" not in email:
        raise ValidationError("Invalid email address", field="email")
    graph = context.get_integration("msgraph")
    halo = context.get_integration("halopsa")

    # A step runs once: a retry goes on after it instead of creating the user again.
    location = context.get_config("default_usage_location", "US")
    user = await context.step("create_user", graph.create_user, email, first_name, last_name, usageLocation=location)
    context.set_variable("user_id", user["id"])
    context.save_checkpoint("user_created", {"user_id": user["id"]})

    sku_id = await free_licence(graph, licence)
    if sku_id is None:
        context.log("warning", f"No {licence} licence is left")
    else:
        await context.step("assign_licence", graph.assign_license, user["id"], sku_id)

    try:
        group_id = await graph.get_group_by_name(f"{department}-Users")
        await context.step("add_to_group", graph.add_user_to_group, user["id"], group_id)
    except IntegrationError as problem:
        if problem.status_code != 404:
            raise
        context.log("warning", f"The department {department} has no group")

    ticket = await context.step(
        "create_ticket",
        halo.create_ticket,
        f"Onboarding: {first_name} {last_name}",
        f"{email} has an account. Order a laptop" + ("." if sku_id else f", and a {licence} licence."),
    )
    return {"user_id": user["id"], "ticket_id": ticket["id"], "licensed": sku_id is not None}


async def free_licence(graph: Any, name: str) -> str | None:
    """The id of a licence of that name of which one is left."""
    for sku in await graph.get_subscribed_skus():
        if sku["skuPartNumber"] == name and sku["prepaidUnits"]["enabled"] > sku["consumedUnits"]:
            return str(sku["skuId"])
    return None
