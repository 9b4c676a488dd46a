"""The workflows of a chaos run. Each notes outside the engine what it does, in `code.jsonl` beside this directory."""

import asyncio
import base64
import json
import os
import time
import uuid
from pathlib import Path
from typing import Any

from runlane import Context, IntegrationError, workflow

_JOURNAL = Path(__file__).parents[1] / "code.jsonl"
#: What is slow, the machine or a fault, is no reason to fail.
_PATIENT: dict[str, Any] = {"timeout_seconds": 600, "max_duration_seconds": 3600}
_ASYNC: dict[str, Any] = {"execution_mode": "async", **_PATIENT}


class Run:
    """One call of a workflow function."""

    def __init__(self, context: Context) -> None:
        self._known = {"id": context.execution_id, "run": uuid.uuid4().hex, "attempt": context.attempt}
        self._context = context
        self.note("start", workflow=context.workflow_name, resumed=context.resumed)

    def note(self, did: str, **more: Any) -> None:
        line = json.dumps({"at": round(time.time(), 4), **self._known, "did": did, **more})
        handle = os.open(_JOURNAL, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, f"{line}\n".encode())
        os.close(handle)

    async def step(self, number: int) -> str:
        async def effect() -> str:
            token = uuid.uuid4().hex
            self.note("effect", step=number, token=token)
            return token

        token: str = await self._context.step(f"work-{number}", effect)
        self.note("stored", step=number, token=token)
        return token


@workflow(name="chaos_plain", description="Returns what it gets", **_ASYNC)
async def chaos_plain(context: Context, op: int, value: int = 0) -> dict[str, int]:
    Run(context)
    context.log("info", "here", {"op": op})
    return {"op": op, "value": value}


@workflow(name="chaos_sync", description="Returns what it gets to who waits", execution_mode="sync", **_PATIENT)
async def chaos_sync(context: Context, op: int, value: int = 0) -> dict[str, int]:
    Run(context)
    context.log("info", "one")
    await asyncio.sleep(0.01)
    context.log("info", "two")
    return {"op": op, "value": value}


# Under a limit: a permit that leaked would leave executions waiting for ever.
@workflow(name="chaos_steps", description="Five durable steps", max_concurrent=12, **_ASYNC)
async def chaos_steps(context: Context, op: int, pause: float = 0.0) -> dict[str, Any]:
    run = Run(context)
    tokens = []
    for number in range(5):
        tokens.append(await run.step(number))
        context.log("info", f"after {number}")
        await asyncio.sleep(pause)
    return {"op": op, "done": tokens}


@workflow(name="chaos_doze", description="Gives up its slot", **_ASYNC)
async def chaos_doze(context: Context, op: int) -> dict[str, Any]:
    run = Run(context)
    first = await run.step(0)
    await context.sleep(2.5)
    return {"op": op, "done": [first, await run.step(1)]}


@workflow(
    name="chaos_flaky",
    description="Fails at first",
    retry_policy={"max_attempts": 4, "backoff_multiplier": 1, "initial_delay_seconds": 0.3},
    **_ASYNC,
)
async def chaos_flaky(context: Context, op: int, fails: int = 1) -> dict[str, Any]:
    run = Run(context)
    token = await run.step(0)
    if context.attempt <= fails:
        raise IntegrationError("msgraph", "busy", 503)
    return {"op": op, "done": [token]}


@workflow(name="chaos_slow", description="Takes its time", **_ASYNC)
async def chaos_slow(context: Context, op: int, seconds: float = 1.0) -> dict[str, Any]:
    run = Run(context)
    token = await run.step(0)
    await asyncio.sleep(seconds)
    return {"op": op, "done": [token]}


@workflow(name="chaos_approval", description="Is approved first", requires_approval=True, **_ASYNC)
async def chaos_approval(context: Context, op: int) -> dict[str, Any]:
    run = Run(context)
    return {"op": op, "done": [await run.step(0)]}


@workflow(name="chaos_event", description="Waits for an event", **_ASYNC)
async def chaos_event(context: Context, op: int) -> dict[str, Any]:
    run = Run(context)
    token = await run.step(0)
    data = await context.wait_for_event("paid", timeout=1800)
    return {"op": op, "done": [token], "heard": data}


@workflow(name="chaos_big", description="Much in, much out", **_ASYNC)
async def chaos_big(context: Context, op: int, blob: str, size: int) -> dict[str, Any]:
    Run(context)
    return {"op": op, "received": len(blob), "blob": "x" * size}


@workflow(name="chaos_poison", description="Takes its process down once", **_ASYNC)
async def chaos_poison(context: Context, op: int) -> dict[str, Any]:
    run = Run(context)
    token = await run.step(0)
    if not context.resumed:
        os._exit(13)
    return {"op": op, "done": [token]}


@workflow(name="chaos_secret", description="Is careless with a secret", **_ASYNC)
async def chaos_secret(context: Context, op: int, leak: str = "result") -> dict[str, Any]:
    run = Run(context)
    secret = await context.get_secret("vendor_key")

    async def sign_in() -> dict[str, str]:
        return {"authorization": f"Bearer {secret}"}

    answered = await context.step("sign_in", sign_in)
    context.log("warning", f"signed in with {secret}", {"encoded": base64.b64encode(secret.encode()).decode()})
    context.set_variable("headers", answered)
    print(f"vendor says {secret}")
    token = await run.step(0)
    if leak == "error":
        raise IntegrationError("msgraph", f"the key {secret} has expired", 401)
    return {"op": op, "done": [token], "headers": answered}


@workflow(name="chaos_hook", description="Comes by webhook", webhook_enabled=True, **_ASYNC)
async def chaos_hook(context: Context, op: int) -> dict[str, Any]:
    Run(context)
    return {"op": op}


def _scheduled(name: str) -> Any:
    @workflow(name=name, description="Runs by the clock", execution_mode="scheduled", schedule="* * * * *", **_PATIENT)
    async def by_the_clock(context: Context) -> dict[str, Any]:
        Run(context)
        return {}

    return by_the_clock


# Workflows are found by the names of a module.
globals().update({f"chaos_cron_{number}": _scheduled(f"chaos_cron_{number}") for number in range(8)})
