"""The workflows that the end-to-end tests run. `journal` names a file in which they note what ran."""

import asyncio
import os
import time
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any, Literal

from runlane import ConfigurationError, Context, IntegrationError, ValidationError, workflow


def note(journal: str, line: str) -> None:
    """Append a line in one write, so that lines of several processes never mix."""
    handle = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


class Plan(Enum):
    basic = "basic"
    premium = "premium"


@workflow(name="echo", description="Returns what it gets", execution_mode="sync", timeout_seconds=30)
async def echo(context: Context, value: Any = None) -> Any:
    return value


@workflow(name="typed", description="Takes all sorts of parameters")
async def typed(
    context: Context, email: str, plan: Plan, since: datetime, count: int = 1, mode: Literal["a", "b"] = "a"
) -> dict[str, Any]:
    return {"email": email, "plan": plan.value, "year": since.year, "count": count + 1, "mode": mode}


@workflow(name="complex_onboarding", description="SPEC §3", execution_mode="async")
async def complex_onboarding(context: Context, email: str, department: str, password: str = "") -> dict[str, Any]:
    context.log("info", "Starting user provisioning", {"email": email, "department": department})
    context.save_checkpoint("create_user_start", {"email": email})
    context._track_integration_call("msgraph", "POST", "/v1.0/users", 201, 12, None)
    context.set_variable("user_id", "user-123")
    context.save_checkpoint("user_created", {"user_id": "user-123"})
    context.progress(50, "half way")
    context.log("info", f"the password is {password}")
    return {"user_id": context.get_variable("user_id"), "org": context.org_id, "by": context.executed_by}


@workflow(name="plain", description="A plain function")
def plain(context: Context, name: str) -> str:
    context.log("info", "from a thread")
    return f"hello {name}"


@workflow(name="fails", description="Raises the error asked for")
async def fails(context: Context, kind: str) -> None:
    if kind == "validation":
        raise ValidationError("Invalid email address", field="email")
    if kind == "integration":
        raise IntegrationError("msgraph", "Failed to create user: 401 Unauthorized", status_code=401)
    if kind == "configuration":
        raise ConfigurationError("Microsoft Graph not configured", config_key="msgraph_client_id")
    raise RuntimeError("the database password is hunter2")


@workflow(
    name="flaky",
    description="Fails until its third attempt",
    execution_mode="async",
    retry_policy={"max_attempts": 3, "backoff_multiplier": 1, "initial_delay_seconds": 0.2},
)
async def flaky(context: Context, journal: str) -> int:
    note(journal, f"attempt {context.attempt}")
    if context.attempt < 3:
        raise IntegrationError("msgraph", "busy", 503)
    return context.attempt


@workflow(name="stubborn", description="Does not end when asked", execution_mode="async", timeout_seconds=1)
async def stubborn(context: Context, how: str) -> None:
    if how == "busy":
        while True:
            pass
    if how == "blocked":
        time.sleep(3600)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            context.log("info", "not now")


@workflow(
    name="blocked_thread", description="A plain function that never ends", execution_mode="async", timeout_seconds=1
)
def blocked_thread(context: Context) -> None:
    time.sleep(3600)


@workflow(name="waits", description="Sleeps in its slot", execution_mode="async", timeout_seconds=60)
async def waits(context: Context, journal: str, seconds: float = 3600) -> str:
    note(journal, "begun")
    context.log("info", "waiting")
    await asyncio.sleep(seconds)
    note(journal, "ended")
    return "done"


@workflow(name="steps", description="Five durable steps", execution_mode="async", timeout_seconds=120)
async def steps(context: Context, journal: str, gate: str) -> dict[str, Any]:
    async def step(n: int) -> dict[str, Any]:
        note(journal, f"{context.execution_id} step {n}")
        return {"n": n, "password": f"true-value-{n}"}

    done = [await context.step("work", step, n) for n in range(1, 4)]
    context.set_variable("reached", 3)
    await context.save_checkpoint("before the gate", {"token": "abcdefgh-token"})
    note(journal, f"{context.execution_id} gate")
    while not Path(gate).exists():
        await asyncio.sleep(0.02)
    done += [await context.step("work", step, n) for n in range(4, 6)]
    return {
        "values": [result["n"] for result in done],
        "secret_kept": done[0]["password"] == "true-value-1",
        "reached": context.get_variable("reached"),
        "checkpoint_kept": context.get_checkpoint("before the gate") == {"token": "abcdefgh-token"},
        "resumed": context.resumed,
    }


@workflow(name="secretive", description="Spills a secret everywhere it can")
async def secretive(context: Context) -> dict[str, Any]:
    secret = await context.get_secret("api_key")
    context.log("info", f"got {secret}", {"value": secret, "nested": [{"x": f"Bearer {secret}"}]})
    context.save_checkpoint("spill", {"anything": secret})
    context.set_variable("spilled", secret)
    return {"config": context.get_config("region", "nowhere"), "spilled": secret, "length": len(secret)}


@workflow(name="unserializable", description="Returns what JSON cannot hold")
async def unserializable(context: Context) -> Any:
    return {"users": [{"home": object()}]}


@workflow(name="huge", description="Returns more than a message can hold")
async def huge(context: Context, size: int) -> str:
    for _ in range(200):
        context.log("info", "much", {"data": "y" * 900})
    return "x" * size


@workflow(name="chatty", description="Logs a lot")
async def chatty(context: Context, lines: int) -> None:
    for n in range(lines):
        context.log("info", f"line {n}")


@workflow(name="long_sleep", description="Gives up its slot while it sleeps", execution_mode="async")
async def long_sleep(context: Context, journal: str, seconds: float) -> bool:
    async def once() -> str:
        note(journal, "once")
        return "once"

    await context.step("once", once)
    note(journal, "before")
    await context.sleep(seconds)
    return context.resumed


@workflow(name="audit", description="Runs by the clock", execution_mode="scheduled", schedule="* * * * *")
async def audit(context: Context) -> str:
    return f"audited {context.org_id}"


@workflow(name="kills_its_process", description="Poison", execution_mode="async")
async def kills_its_process(context: Context, journal: str) -> None:
    note(journal, "begun")
    await asyncio.sleep(0.1)
    os._exit(13)


@workflow(
    name="kills_its_process_thrice",
    description="Poison with three attempts",
    execution_mode="async",
    retry_policy={"max_attempts": 3, "initial_delay_seconds": 0},
)
async def kills_its_process_thrice(context: Context, journal: str) -> None:
    note(journal, "begun")
    await asyncio.sleep(0.1)
    os._exit(13)


@workflow(
    name="oversleeps",
    description="Sleeps for longer than its limit over all attempts",
    execution_mode="async",
    timeout_seconds=1,
    max_duration_seconds=3,
)
async def oversleeps(context: Context) -> None:
    await context.sleep(4)


@workflow(
    name="slow_each_time",
    description="Times out in each attempt",
    execution_mode="async",
    timeout_seconds=1,
    max_duration_seconds=1.5,
    retry_policy={"max_attempts": 10, "initial_delay_seconds": 0},
)
async def slow_each_time(context: Context) -> None:
    await asyncio.sleep(60)


@workflow(name="blocks", description="Blocks its process for a minute", execution_mode="async", timeout_seconds=120)
async def blocks(context: Context, journal: str) -> None:
    note(journal, "blocked")
    time.sleep(60)
