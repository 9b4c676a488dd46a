"""The same groups in every client: each organisation's groups become what `group_rules` says, every night.

The rules are configured once, for the organisation `platform`; a client with rules of its own has those instead.
"""

from runlane import Context, workflow


@workflow(
    name="group_sync",
    description="Has each department's people in the department's group, and nobody else.",
    category="user_management",
    tags=["example", "msgraph"],
    execution_mode="async",
    schedule="0 2 * * *",
    schedule_time_zone="org",
    overlap_policy="skip",
    max_concurrent_per_org=1,
)
async def group_sync(context: Context, dry_run: bool = False) -> dict[str, dict[str, list[str]]]:
    graph = context.get_integration("msgraph")
    rules: dict[str, str] = context.get_config("group_rules", {})
    users = [user async for user in graph.users()]
    changes = {}
    for name, department in rules.items():
        group_id = await graph.get_group_by_name(name)
        there = {member["id"] async for member in graph.group_members(group_id)}
        wanted = {user["id"] for user in users if user.get("department") == department and user["accountEnabled"]}
        changes[name] = {"added": sorted(wanted - there), "removed": sorted(there - wanted)}
        if dry_run:
            continue
        for user_id in changes[name]["added"]:
            await context.step(f"add {user_id} to {name}", graph.add_user_to_group, user_id, group_id)
        for user_id in changes[name]["removed"]:
            await context.step(f"remove {user_id} from {name}", graph.remove_user_from_group, user_id, group_id)
    return changes
