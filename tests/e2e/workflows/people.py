"""Workflows that wait for people or for events from outside."""

import os
from typing import Any

from runlane import Context, TimeoutError, workflow


def note(journal: str, line: str) -> None:
    """Append a line in one write."""
    handle = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


@workflow(name="delete_organization", description="SPEC §6", requires_approval=True)
async def delete_organization(context: Context, name: str = "", password: str = "", journal: str = "") -> str:
    if journal:
        note(journal, f"deleted {name}")
    return f"deleted {name}{', resumed' if context.resumed else ''}"


@workflow(name="asks", description="Asks in the middle", execution_mode="async", max_duration_seconds=120)
async def asks(
    context: Context, journal: str, timeout: float = 3600, count: int = 1, approvers: list[str] | None = None
) -> dict[str, Any]:
    async def once() -> None:
        note(journal, "before")

    await context.step("before", once)
    try:
        decision = await context.wait_for_approval(
            "Delete 40 mailboxes?", timeout=timeout, count=count, approvers=approvers or []
        )
    except TimeoutError as late:
        return {"late": late.message}
    note(journal, "after")
    return {"approved": decision.approved, "by": decision.by.id, "reason": decision.reason}


@workflow(name="listens", description="Waits for events", execution_mode="async", max_duration_seconds=120)
async def listens(context: Context, names: list[str], timeout: float = 3600) -> list[Any]:
    heard: list[Any] = []
    for name in names:
        try:
            heard.append(await context.wait_for_event(name, timeout=timeout))
        except TimeoutError:
            heard.append("late")
    return heard


@workflow(name="works_then_listens", description="Is busy when the event comes", execution_mode="async")
async def works_then_listens(context: Context, journal: str, seconds: float) -> Any:
    import asyncio

    note(journal, "busy")
    await asyncio.sleep(seconds)
    data = await context.wait_for_event("paid", timeout=60)
    context.log("info", f"the password is {data.get('password')}")
    return data


@workflow(name="asks_then_works", description="Is busy after its approval", execution_mode="async")
async def asks_then_works(context: Context, journal: str, gate: str) -> str:
    import asyncio
    from pathlib import Path

    decision = await context.wait_for_approval("Go on?")
    note(journal, "approved" if decision.approved else "refused")
    while not Path(gate).exists():
        await asyncio.sleep(0.02)
    return "done"
