"""SPEC §3's onboarding: checkpoints, logs and variables, here with a directory in memory instead of Microsoft Graph."""

import hashlib

from runlane import Context, ValidationError, workflow


class Directory:
    """Stands in for a vendor's API."""

    async def create_user(self, email: str, first_name: str, last_name: str) -> dict[str, str]:
        return {"id": _id("user", email), "name": f"{first_name} {last_name}"}

    async def get_group_by_name(self, name: str) -> str:
        return _id("group", name)

    async def add_user_to_group(self, user_id: str, group_id: str) -> None:
        """The real one would answer 204."""


def _id(kind: str, name: str) -> str:
    return f"{kind}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


@workflow(
    name="complex_onboarding",
    description="Creates a user and assigns the groups of the department.",
    category="user_management",
    tags=["example", "user"],
    timeout_seconds=60,
)
async def onboard_user(
    context: Context, email: str, first_name: str, last_name: str, department: str = "Sales"
) -> dict[str, object]:
    if "@" not in email:
        raise ValidationError("Invalid email address", field="email")
    context.log("info", "Starting user provisioning", {"email": email, "department": department})
    context.save_checkpoint("create_user_start", {"email": email, "first_name": first_name, "last_name": last_name})

    directory = Directory()
    # A step runs once: after a crash its stored result is used instead of creating the user again.
    user = await context.step("create_user", directory.create_user, email, first_name, last_name)
    context.set_variable("user_id", user["id"])
    context.save_checkpoint("user_created", {"user_id": user["id"]})

    context.log("info", f"Assigning to department: {department}")
    group_id = await context.step("find_group", directory.get_group_by_name, f"{department}-Users")
    await context.step("assign_group", directory.add_user_to_group, user["id"], group_id)
    context.set_variable("group_id", group_id)
    context.save_checkpoint("group_assigned", {"group_id": group_id})

    return {"user_id": user["id"], "checkpoints_completed": 3}
