"""The workflows that the end-to-end tests of forms run."""

from typing import Any, Literal

from runlane import Context, workflow

GROUPS = {"Sales": ["emea", "apac"], "IT": ["ops"]}


@workflow(name="new_user", description="Makes a user.", execution_mode="async")
async def new_user(
    context: Context,
    email: str,
    department: Literal["Sales", "IT"] = "Sales",
    group: str | None = None,
    extension: int = 0,
    door_code: str = "",
) -> dict[str, Any]:
    """Makes a user.

    Args:
        email: Where the user can be reached.
    """
    digits = sum(map(int, door_code))
    context.log("info", f"the code is {door_code}", {"code": door_code})
    context.set_variable("code", door_code)
    context.save_checkpoint("made", {"email": email, "code": door_code})
    return {"email": email, "group": group, "by": context.trigger.reference, "code": door_code, "digits": digits}


@workflow(name="greeting", description="Greets.")
async def greeting(context: Context, name: str, loud: bool) -> str:
    return f"HELLO {name}" if loud else f"hello {name}"


@workflow(name="groups_of", description="The groups of a department.", data_provider=True)
async def groups_of(context: Context, department: str) -> list[dict[str, str]]:
    if department not in GROUPS:
        raise RuntimeError("no such department")
    return [{"value": name, "label": f"{name} of {context.org_id}"} for name in GROUPS[department]]


@workflow(name="backstage", description="Not for forms.", expose_in_forms=False)
async def backstage(context: Context) -> None: ...
