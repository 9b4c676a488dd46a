"""What every end-to-end test does with executions: submit, wait, read the note file."""

import uuid
from pathlib import Path
from typing import Any

import httpx

from tests.support.eventually import eventually


async def submit(client: httpx.AsyncClient, workflow: str, parameters: dict[str, Any], **options: Any) -> str:
    """Submit asynchronously and return the execution id. As a client should: under a key, and again after a 503."""
    headers = {"Prefer": "respond-async", "Idempotency-Key": uuid.uuid4().hex, **options.pop("headers", {})}

    async def accepted() -> httpx.Response | None:
        given = await client.post(f"/workflows/{workflow}", json=parameters, headers=headers, **options)
        return None if given.status_code == 503 else given

    answer = await eventually(accepted)
    assert answer.status_code == 202, answer.text
    execution_id: str = answer.json()["executionId"]
    return execution_id


async def finished(client: httpx.AsyncClient, execution_id: str, *, within: float = 30) -> dict[str, Any]:
    """The record once the execution is over."""

    async def look() -> dict[str, Any] | None:
        try:
            answer = await client.get(f"/executions/{execution_id}", params={"wait": 5})
        except httpx.TransportError:
            return None
        document: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return document if document.get("status") in ("Success", "Failed", "Cancelled") else None

    found = await eventually(look, within=within)
    assert found is not None
    return found


def notes(journal: Path) -> list[str]:
    """The lines that workflow code noted outside the engine."""
    return journal.read_text().splitlines() if journal.exists() else []
