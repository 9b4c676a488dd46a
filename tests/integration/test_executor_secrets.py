"""Where a workflow's secrets come from: the store that the settings choose, always of its own organisation."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import AnyEvent, Failed, Succeeded, decode_event
from runlane.contracts.requests import Caller, Request, parameters_context
from runlane.errors import ConfigurationError
from runlane.ids import new_execution_id
from runlane.ports import Message
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from runlane_executor.app import open_room
from tests.support.eventually import eventually

WORKFLOW = """
import os
from runlane import Context, workflow


@workflow(name="reads", description="Reads a secret")
async def reads(context: Context, name: str) -> dict:
    value = await context.get_secret(name, None)
    hidden = [n for n in os.environ if n.startswith(("RUNLANE_", "AZURE_", "IDENTITY_"))]
    return {"length": None if value is None else len(value), "seen": hidden}
"""


@pytest.fixture
def own(settings: Settings, tmp_path: Path) -> Settings:
    workflows = tmp_path / "workflows"
    workflows.mkdir()
    (workflows / "reads.py").write_text(WORKFLOW)
    return msgspec.structs.replace(settings, workflows=workflows, master_key=generate_master_key(), executor_children=1)


@asynccontextmanager
async def executing(settings: Settings) -> AsyncIterator[None]:
    async with open_room(settings) as room:
        running = asyncio.create_task(room.run())
        yield
        running.cancel()


async def ended(bus: NatsBus, own: Settings, org: str, name: str) -> AnyEvent:
    execution_id = new_execution_id()
    sealed = own.sealer().seal(msgspec.json.encode({"name": name}), parameters_context(org, execution_id))
    request = Request(
        execution_id=execution_id,
        org=org,
        workflow="reads",
        caller=Caller("tester"),
        accepted_at=datetime.now(UTC),
        sealed_parameters=sealed,
    )
    await bus.publish(Message(subject=subjects.request("0", org, "reads"), payload=encode(request), id=execution_id))

    async def look() -> AnyEvent | None:
        stored = await bus.read(subjects.EVENTS, subjects.all_events(org, execution_id))
        events = [decode_event(one.payload) for one in stored]
        return next((event for event in events if isinstance(event, Succeeded | Failed)), None)

    found = await eventually(look, within=30)
    assert found is not None
    return found


def result(event: AnyEvent) -> dict[str, Any]:
    assert isinstance(event, Succeeded), event
    found: dict[str, Any] = msgspec.json.decode(event.data.result)
    return found


async def test_secrets_from_files_reach_their_organisation_alone(bus: NatsBus, own: Settings, tmp_path: Path) -> None:
    directory = tmp_path / "mounted"
    directory.mkdir()
    (directory / "acme--token").write_text("0123456789\n")
    given = msgspec.structs.replace(own, secrets_provider="files", secrets_directory=directory)
    async with executing(given):
        assert result(await ended(bus, own, "acme", "token"))["length"] == 10
        for org, name in (("globex", "token"), ("acme", "../mounted/acme--token"), ("acme", "other")):
            assert result(await ended(bus, own, org, name))["length"] is None
        (directory / "acme--token").unlink()
        (directory / "acme--token").mkdir()
        failed = await ended(bus, own, "acme", "token")
        assert isinstance(failed, Failed)
        assert failed.data.failure.error == "IntegrationError"


async def test_children_inherit_neither_secrets_nor_credentials(
    bus: NatsBus, own: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNLANE_SECRET__ACME__TOKEN", "AZURE_CLIENT_SECRET", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, "0123456789")
    given = msgspec.structs.replace(own, secrets_provider="environment")
    async with executing(given):
        assert "AZURE_CLIENT_SECRET" not in os.environ
        found = result(await ended(bus, own, "acme", "token"))
    assert found == {"length": 10, "seen": []}


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"secrets_provider": "files"}, "RUNLANE_SECRETS_DIRECTORY"),
        ({"secrets_provider": "files", "secrets_directory": Path("/nowhere")}, "RUNLANE_SECRETS_DIRECTORY"),
        ({"secrets_provider": "azure"}, "RUNLANE_AZURE_VAULT_URL"),
        ({"secrets_provider": "azure", "azure_vault_url": "http://vault.test"}, "RUNLANE_AZURE_VAULT_URL"),
    ],
)
async def test_a_store_that_is_not_told_where_it_is_stops_the_start(
    bus: NatsBus, own: Settings, given: dict[str, Any], variable: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        async with open_room(msgspec.structs.replace(own, **given)):
            pass
    assert refused.value.config_key == variable
