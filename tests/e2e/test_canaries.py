"""200 secrets are planted wherever code can write, in every encoding; none may be in any byte that is kept or sent."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.canaries import ENCODINGS, WORKFLOWS, leaks, new_secret
from tests.support.engine import Engine

SECRETS = 200
#: How an execution is told to end, and what its record must then say: status, error, attempts.
ENDS: dict[str, tuple[str, str | None, int]] = {
    "result": ("Success", None, 1),
    "error": ("Failed", "InternalServerError", 2),
    "vendor_error": ("Failed", "IntegrationError", 2),
    "retry": ("Success", None, 2),
    "crash": ("Success", None, 1),
}


class Field:
    """The planted secrets, and every byte that came back over HTTP."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.engine, self.answers = engine, directory / "answers"
        self.answers.mkdir()
        self.directory = directory
        self.secrets = [new_secret(number) for number in range(SECRETS)]
        self.vault = {f"vendor_{number}": secret for number, secret in enumerate(self.secrets[:80])}
        self.configured = {f"{number}_password": secret for number, secret in enumerate(self.secrets[80:100])}
        self.parameters = self.secrets[100:190]
        self.headers = self.secrets[190:]
        self.webhook = new_secret(SECRETS).replace("é", "e")
        self.secrets.append(self.webhook)

    def keep(self, answer: httpx.Response) -> Any:
        """Keep all bytes of an answer, headers included."""
        path = self.answers / f"{len(list(self.answers.iterdir()))}"
        path.write_bytes(repr(answer.headers.raw).encode() + answer.content)
        return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else None

    async def plant(self, client: httpx.AsyncClient) -> None:
        for name, secret in self.vault.items():
            self.keep(await client.put(f"/orgs/demo/secrets/{name}", json={"value": secret}))
        self.keep(await client.put("/orgs/demo/config/leaky_api_url", json={"value": "http://127.0.0.1:9"}))
        self.keep(await client.put("/orgs/demo/config/vendors", json={"value": self.configured}))

    async def open_webhook(self, client: httpx.AsyncClient) -> None:
        settings = {"secret": self.webhook, "ratePerMinute": 600, "burst": 100}
        assert "error" not in self.keep(await client.put("/webhooks/demo/plant", json=settings))

    def body(self, turn: int) -> dict[str, Any]:
        """The parameters of one execution: a part of the secrets each, all of them after ten turns."""
        part = self.parameters[turn % 9 :: 9]
        return {
            "turn": turn,
            "vendors": list(self.vault)[turn % 8 :: 8],
            "credentials": {f"{number}_secret": secret for number, secret in enumerate(part)},
            "end": list(ENDS)[turn % len(ENDS)],
        }

    def noise(self, turn: int) -> dict[bytes, bytes]:
        """Headers that carry secrets of their own."""
        secret = self.headers[turn % len(self.headers)].encode()
        names = (b"X-Api-Key", b"Cookie", b"Proxy-Authorization", b"User-Agent", b"X-Webhook-Secret")
        return dict.fromkeys(names, secret)

    async def run(self, client: httpx.AsyncClient, turn: int, door: str, prefer: str) -> None:
        """One execution, with everything that can be read about it."""
        headers = {**self.noise(turn), b"Prefer": prefer.encode()}
        if door.startswith("/webhooks/"):
            headers[b"X-Webhook-Secret"] = self.webhook.encode()
        accepted = self.keep(await client.post(door, json=self.body(turn), headers=headers))
        assert "executionId" in accepted, accepted
        path = f"/executions/{accepted['executionId']}"
        record = self.keep(await client.get(path, params={"wait": 25}))
        expected = ENDS[self.body(turn)["end"]]
        assert (record["status"], record.get("error"), record["attempt"]) == expected, str(record)[-2000:]
        assert len(record["logs"]) > 100
        self.keep(await client.get(f"{path}/record"))
        self.keep(await client.get(f"{path}/events", headers={"Accept": "text/event-stream"}))

    def found(self) -> list[str]:
        return leaks(
            self.secrets,
            [self.engine.data, self.answers, *self.engine.data.parent.glob("*.log")],
            self.directory,
        )


@pytest.fixture
def field(tmp_path: Path) -> Iterator[Field]:
    engine = Engine(tmp_path / "data", WORKFLOWS)
    engine.start()
    yield Field(engine, tmp_path)
    engine.stop()


async def test_no_secret_is_in_any_byte_that_is_kept_or_sent(field: Field) -> None:
    assert len(ENCODINGS) >= 12
    async with field.engine.client(admin=True) as client:
        await field.plant(client)
        await field.open_webhook(client)
        for door, prefer in (
            ("/workflows/plant", "wait=20"),
            ("/workflows/plant", "respond-async"),
            ("/forms/plant/submit", "respond-async"),
            ("/webhooks/demo/plant", "respond-async"),
        ):
            await asyncio.gather(*(field.run(client, turn, door, prefer) for turn in range(10)))
        field.keep(await client.get("/executions"))
        for path in (
            "/orgs/demo/secrets",
            "/orgs/demo/config",
            "/workflows",
            "/forms/plant",
            "/audit",
            "/webhooks/demo/plant/deliveries",
            "/metrics",
        ):
            answer = await client.get(path)
            (field.answers / path.replace("/", "_")).write_bytes(answer.content)
        wrong = {**field.body(1), "turn": "no number", "unknown": field.parameters[0]}
        refused = await client.post("/workflows/plant", json=wrong)
        assert refused.status_code == 400
        field.keep(refused)
    field.engine.stop()
    found = field.found()
    assert not found, _told(found)


async def test_the_search_would_find_what_is_not_masked(field: Field) -> None:
    said = ENCODINGS["base64"](field.secrets[0])
    async with field.engine.client() as client:
        body = {"turn": 0, "vendors": [], "credentials": {}, "end": said}
        field.keep(await client.post("/workflows/plant", json=body, headers={"Prefer": "wait=20"}))
    field.engine.stop()
    found = field.found()
    assert any("jetstream" in line for line in found)
    assert any("records.db" in line for line in found)


def _told(found: list[str]) -> str:
    """Where secrets were found, how often, and the first of each place."""
    places: dict[str, list[str]] = {}
    for line in found:
        place, _, needle = line.partition(":")
        places.setdefault(place, []).append(needle)
    return "\n".join(f"{place}: {len(needles)}, as {sorted(set(needles))[:5]}" for place, needles in places.items())
