"""The workflows that the tests of the console run. `gate` names a file that lets one of them go on."""

import asyncio
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta

from runlane import Context, IntegrationError, workflow

EVIL = '<img src=x onerror="window.pwned=1;alert(1)"><script>window.pwned=1;alert(2)</script>'
GROUPS = {"Sales": ["emea", "apac"], "IT": ["ops"]}


async def _open(gate: str) -> None:
    while gate and not Path(gate).exists():
        await asyncio.sleep(0.02)


@workflow(name="onboard", description="Makes a user.", category="users", tags=["desk"], execution_mode="async")
async def onboard(
    context: Context,
    email: Annotated[str, Meta(pattern="^[^@ ]+@[^@ ]+$")],
    department: Literal["Sales", "IT"] = "Sales",
    group: str | None = None,
    licences: int = 1,
    password: str = "",
    gate: str = "",
) -> dict[str, Any]:
    """Makes a user.

    Args:
        email: Where the user can be reached.
    """

    async def create() -> dict[str, str]:
        return {"id": "user-123"}

    context.log("info", f"creating {email}", {"department": department})
    user = await context.step("create_user", create)
    context._track_integration_call("msgraph", "POST", "/v1.0/users", 201, 12, None)
    await context.save_checkpoint("user_created", user)
    context.set_variable("user_id", user["id"])
    context.progress(40, "the user is there")
    await _open(gate)
    context.log("warning", "no manager was given")
    return {"user": user["id"], "email": email, "group": group}


@workflow(name="groups_of", description="The groups of a department.", data_provider=True)
async def groups_of(context: Context, department: str) -> list[dict[str, str]]:
    return [{"value": name, "label": f"Group {name}"} for name in GROUPS[department]]


@workflow(name="talks", description="Says one line after the other", execution_mode="async", timeout_seconds=120)
async def talks(context: Context, gate: str, lines: int = 3, end: str = "") -> int:
    for number in range(lines):
        context.log("info", f"before {number}")
    await _open(gate)
    for number in range(lines):
        context.log("info", f"after {number}")
    context.progress(50, "half of it")
    await _open(end)
    return lines


@workflow(name="fails", description="Its vendor is away", execution_mode="async")
async def fails(context: Context) -> None:
    context._track_integration_call("halopsa", "GET", "/api/tickets", 503, 812, "503 Service Unavailable")
    raise IntegrationError("halopsa", "HaloPSA answered 503", 503)


@workflow(name="close_account", description="Closes an account.", requires_approval=True, execution_mode="async")
async def close_account(context: Context, email: str) -> str:
    return f"{email} is closed"


@workflow(name="spiteful", description=f"Says {EVIL}", category="evil", tags=[EVIL], execution_mode="async")
async def spiteful(context: Context, text: str = EVIL, fail: bool = False) -> dict[str, str]:
    async def step() -> str:
        return EVIL

    context.log("info", EVIL, {EVIL: EVIL})
    context.set_variable(EVIL, EVIL)
    context.progress(50, EVIL)
    await context.save_checkpoint("spite", {EVIL: EVIL})
    await context.step("spite", step)
    if fail:
        raise IntegrationError(EVIL, EVIL, 500)
    return {EVIL: EVIL, "address": "javascript:alert(3)"}


@workflow(name="small", description="Does nothing", execution_mode="async")
async def small(context: Context, number: int = 0) -> int:
    return number


@workflow(name="rests", description="Waits for half a second", execution_mode="async")
async def rests(context: Context) -> None:
    await context.sleep(0.5)
