"""A workflow that says every secret it can lay its hands on, in every encoding, through everything it can write to."""

import os
from typing import Any

import httpx
from ways_to_write import ENCODINGS

from runlane import BaseIntegration, Context, IntegrationError, workflow


class Leaky(BaseIntegration):
    """A vendor client that puts secrets where they do not belong: into the URL and its own errors."""

    integration_name = "leaky"

    async def authenticate(self) -> str:
        return await self.get_secret("vendor_0")

    async def call(self, said: str) -> None:
        """A call that fails: nobody listens on port 9."""
        self.context._track_integration_call("leaky", "GET", f"/v1/{said}?token={said}", 500, 1, f"rejected {said}")
        try:
            await self.request("GET", f"http://127.0.0.1:9/v1/{said}")
        except (httpx.HTTPError, IntegrationError) as problem:
            self.context.log("error", f"call failed: {problem} {said}")


async def _secrets(context: Context, names: list[str], given: dict[str, str]) -> list[str]:
    values = [await context.get_secret(name) for name in names]
    values += [value for key, value in context.get_config("vendors", {}).items() if key.endswith("_password")]
    return [*values, *given.values()]


async def _say(context: Context, said: str, number: int) -> None:
    """One encoded secret through one of the channels in turn; all channels see all encodings in the end."""
    match number % 9:
        case 0:
            context.log("info", f"before {said} after", {"data": said, "nested": [{"x": said}], said: 1})
        case 1:
            context.save_checkpoint(f"checkpoint_{number}", {"value": said, "list": [said, f"--{said}--"]})
        case 2:
            context.set_variable(f"variable_{number}", f"value {said}")
        case 3:
            await context.step(f"step_{number}", _give_back, {"value": said})
        case 4:
            context.progress(number % 100, f"now at {said}")
        case 5:
            await context.get_integration("leaky").call(said)
        case 6:
            context.log("error", f'Authorization: Bearer {said}\nx-api-key: "{said}"')
        case 7:
            context.save_checkpoint(said, "a name that is a secret")
        case _:
            context.log("warning", "an error", {"error": repr(ValueError(said))})


async def _give_back(value: Any) -> Any:
    return value


@workflow(
    name="plant",
    description="Says secrets",
    execution_mode="async",
    timeout_seconds=120,
    max_duration_seconds=240,
    webhook_enabled=True,
    retry_policy={"max_attempts": 2, "initial_delay_seconds": 0.1},
)
async def plant(context: Context, turn: int, vendors: list[str], credentials: dict[str, str], end: str) -> Any:
    """`end`: how it ends, `result`, `error`, `vendor_error`, `retry` or `crash`."""
    remembered = await context.step("fetch", _secrets, context, vendors, credentials)
    encodings = list(ENCODINGS.values())
    for index, secret in enumerate(remembered):
        for at, encode in enumerate(encodings):
            await _say(context, encode(secret), turn + index + at * (1 + turn % 2))
    everything = [encode(secret) for secret in remembered for encode in encodings]
    if end == "crash" and not context.resumed:
        await context.save_checkpoint("before the crash", everything[:50])
        os.kill(os.getpid(), 9)
    if end == "error" or (end == "retry" and context.attempt == 1):
        raise RuntimeError(" ".join(everything[:200]))
    if end == "vendor_error":
        raise IntegrationError("leaky", f"said {everything[3]} {everything[7]}", 401)
    return {"said": everything, "pairs": dict.fromkeys(everything[:30], everything[0])}
