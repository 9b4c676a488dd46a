"""What an administrator does before a run begins: a webhook, a secret to look for afterwards, and a stranger."""

import asyncio
import hashlib
from typing import Any

import httpx

from tests.chaos.clients import WEBHOOK_SECRET

#: Where the canary is kept. What `chaos_secret` does with it is in the workflows.
SECRET = "vendor_key"
#: An organisation that has no business with the executions of the run.
STRANGERS = "strangers"


def canary(seed: int) -> str:
    """The secret of a run: found nowhere but where it was set."""
    return f"canary{hashlib.sha256(str(seed).encode()).hexdigest()[:26]}"


async def prepare(boss: httpx.AsyncClient, seed: int) -> str:
    """Wait until the workflows are known and make what the clients need; the strangers' key."""
    await _workflows_are_known(boss)
    await _put(boss, "/webhooks/demo/chaos_hook", {"scheme": "standard", "secret": WEBHOOK_SECRET})
    await _put(boss, f"/orgs/demo/secrets/{SECRET}", {"value": canary(seed)})
    await _put(boss, f"/orgs/{STRANGERS}", {"name": "Strangers"})
    key = {"name": "stranger", "permissions": ["*"], "orgs": [STRANGERS]}
    made = await boss.post("/keys", json=key, headers={"X-Organization-Id": STRANGERS})
    made.raise_for_status()
    found: str = made.json()["key"]
    return found


async def _workflows_are_known(boss: httpx.AsyncClient) -> None:
    listed: dict[str, Any] = {}
    for _ in range(600):
        listed = (await boss.get("/workflows")).json()
        if len(listed["workflows"]) + len(listed["failures"]) > 0:
            break
        await asyncio.sleep(0.1)
    assert not listed["failures"], listed["failures"]


async def _put(boss: httpx.AsyncClient, path: str, body: dict[str, Any]) -> None:
    answer = await boss.put(path, json=body)
    assert answer.status_code < 300, f"PUT {path}: {answer.status_code} {answer.text}"
