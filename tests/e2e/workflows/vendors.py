"""Workflows that call vendors' APIs; the test has stand-ins for those."""

import asyncio
from typing import Any

from runlane import Context, workflow


@workflow(name="new_employee", description="Graph, Halo and ConnectWise in one", execution_mode="async")
async def new_employee(context: Context, email: str, spill: bool = False) -> dict[str, Any]:
    graph, halo = context.get_integration("msgraph"), context.get_integration("halopsa")
    user = await context.step("create user", graph.create_user, email, "Ada", "Lovelace", usageLocation="AT")
    skus = await graph.get_subscribed_skus()
    await graph.assign_license(user["id"], skus[0]["skuId"])
    await graph.add_user_to_group(user["id"], await graph.get_group_by_name("Sales-Users"))
    ticket = await halo.create_ticket(f"Welcome {email}", "A laptop, please")
    cw = context.get_integration("connectwise")
    other = await cw.create_ticket(f"Welcome {email}", "Also here")
    if spill:
        for integration in (graph, halo, cw):
            context.log(
                "info", f"token {integration._token}", {"headers": integration.auth_headers(integration._token)}
            )
    return {"user": user["id"], "halo": ticket["id"], "cw": other["id"], "url": other["url"]}


@workflow(
    name="impatient", description="Waits for Graph until its time is over", execution_mode="async", timeout_seconds=1
)
async def impatient(context: Context) -> None:
    await context.get_integration("msgraph").get_subscribed_skus()


@workflow(name="count_skus", description="Asks Graph a few times", execution_mode="async")
async def count_skus(context: Context, times: int = 1) -> int:
    graph = context.get_integration("msgraph")
    found = await asyncio.gather(*(graph.get_subscribed_skus() for _ in range(times)))
    return len(found)
