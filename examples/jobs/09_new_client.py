"""A form for a new client, whose choices come from HaloPSA while it is filled in. The form is 09_new_client.json."""

from typing import Any

from runlane import Context, workflow


@workflow(name="parent_clients", description="The clients in HaloPSA, as choices.", data_provider=True)
async def parent_clients(context: Context) -> list[dict[str, str]]:
    halo = context.get_integration("halopsa")
    return [{"value": str(client["id"]), "label": client["name"]} async for client in halo.clients()]


@workflow(
    name="new_client",
    description="Makes a client in HaloPSA and its groups in Microsoft 365.",
    category="clients",
    tags=["example", "halopsa", "msgraph"],
    execution_mode="async",
)
async def new_client(context: Context, name: str, parent: str | None = None, departments: list[str] = []) -> Any:  # noqa: B006  # never changed
    halo, graph = context.get_integration("halopsa"), context.get_integration("msgraph")
    fields = {} if parent is None else {"toplevel_id": int(parent)}
    client = await context.step("client", halo.create_client, name, **fields)
    groups = []
    for department in departments:
        group = await context.step(f"group {department}", graph.create_group, f"{department}-Users")
        groups.append(group["displayName"])
    return {"client_id": client["id"], "groups": groups}
