"""An engine in this process for tests of approvals and events: a gateway, an executor, keys of several people."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts import subjects
from runlane.contracts.directory import Entry, Org
from runlane.directory import api_key_key, org_key
from runlane.ports import Message
from runlane.service import end_task
from runlane.settings import Settings
from runlane_executor.app import open_room
from tests.support.eventually import eventually
from tests.support.gateway_bus import Gateway, api_key, serving

WORKFLOWS = Path(__file__).parents[1] / "e2e" / "workflows"
_WORKER = ("canExecuteWorkflows", "canViewExecutions", "canManageExecutions", "canManageConfig")
_APPROVER = ("canViewExecutions", "canApproveExecutions")


class House:
    """One gateway over a real bus. `asker` may run workflows, `ann`, `bob` and `cyd` may approve; all of `acme`."""

    def __init__(self, gateway: Gateway, bus: NatsBus, settings: Settings) -> None:
        self.gateway, self.bus, self.settings = gateway, bus, settings

    def client(self, key: str) -> httpx.AsyncClient:
        return self.gateway.client(key)

    async def call(self, key: str, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        async with self.client(key) as client:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, json=body, headers=given)

    async def submit(self, workflow: str, **parameters: Any) -> str:
        answer = await self.call("asker", "POST", f"/workflows/{workflow}", parameters, Prefer="respond-async")
        assert answer.status_code == 202, answer.text
        execution_id: str = answer.json()["executionId"]
        return execution_id

    async def show(self, execution_id: str) -> dict[str, Any]:
        shown: dict[str, Any] = (await self.call("asker", "GET", f"/executions/{execution_id}")).json()
        return shown

    async def in_status(self, execution_id: str, *statuses: str, within: float = 30) -> dict[str, Any]:
        """The execution once it is in one of these."""

        async def look() -> dict[str, Any] | None:
            shown = await self.show(execution_id)
            assert shown.get("status") in statuses, shown
            return shown

        found = await eventually(look, within=within, every=0.1)
        assert found is not None
        return found

    async def record(self) -> None:
        """What the recorder does."""
        await self.gateway.records.apply(await self.bus.read(subjects.EVENTS, "runlane.event.>"))

    @asynccontextmanager
    async def executor(self, **changed: Any) -> AsyncIterator[None]:
        """An executor, for a while."""
        async with open_room(msgspec.structs.replace(self.settings, **changed)) as room:
            running = asyncio.create_task(room.run())
            try:
                yield
            finally:
                await end_task(running)


class Dying:
    """A bus whose gateway dies when it has stored something on such a subject: everything after that is lost."""

    def __init__(self, bus: NatsBus, after: str) -> None:
        self._bus, self.after, self.dead = bus, after, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, message: Message, *, timeout: float = 5.0) -> int:
        if self.dead:
            raise RuntimeError("killed")
        sequence = await self._bus.publish(message, timeout=timeout)
        self.dead = self.after in message.subject
        return sequence


@asynccontextmanager
async def open_house(settings: Settings, bus: NatsBus, gateway_bus: Any = None) -> AsyncIterator[House]:
    """A gateway; `gateway_bus` may stand between it and the real bus."""
    store = NatsDirectoryStore(bus)
    keys = [
        api_key("asker", "acme", *_WORKER, email="asker@msp.com"),
        api_key("boss", "acme", *_WORKER, *_APPROVER, email="boss@msp.com"),
        api_key("ann", "acme", *_APPROVER, email="ann@msp.com"),
        api_key("bob", "acme", *_APPROVER, email="bob@msp.com"),
        api_key("cyd", "acme", *_APPROVER, "finance", email="cyd@msp.com"),
        api_key("mallory", "globex", *_WORKER, *_APPROVER),
        api_key("root", None, "*", email="root@msp.com"),
    ]
    entries: dict[str, Entry] = {api_key_key(key.id): key for key in keys}
    entries[org_key("acme")] = Org(id="acme", name="Acme", time_zone="Europe/Vienna")
    entries[org_key("globex")] = Org(id="globex", name="Globex")
    for key, entry in entries.items():
        await store.put(key, msgspec.json.encode(entry))
    async with serving(settings, gateway_bus or bus, store) as gateway:
        yield House(gateway, bus, settings)
