"""The first entries of a fresh directory, over a real nats-server."""

import hashlib
from typing import Any

import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts.directory import Org
from runlane.directory import Directory, api_key_key, org_key
from runlane.settings import Settings
from runlane_cli.datadir import Credentials, new_api_key
from runlane_cli.offline import bootstrap

CREDENTIALS = Credentials(org="demo", admin_key=new_api_key(), org_key=new_api_key())


def parts(key: str) -> tuple[str, str]:
    _, key_id, secret = key.split("_")
    return key_id, hashlib.sha256(secret.encode()).hexdigest()


async def directory(bus: NatsBus) -> Directory:
    return await Directory().follow(NatsDirectoryStore(bus))


async def test_a_fresh_directory_gets_an_organisation_and_two_keys(bus: NatsBus, settings: Settings) -> None:
    await bootstrap(settings, CREDENTIALS)

    found = await directory(bus)
    assert [(org.id, org.name) for org in found.orgs()] == [("demo", "Demo organisation")]
    known: dict[str, Any] = {key.id: (key.secret_sha256, key.org, key.permissions) for key in found.api_keys()}
    admin_id, admin_digest = parts(CREDENTIALS.admin_key)
    org_id, org_digest = parts(CREDENTIALS.org_key)
    assert known[admin_id] == (admin_digest, None, ["*"])
    assert known[org_id][:2] == (org_digest, "demo")
    assert "canExecuteWorkflows" in known[org_id][2]
    assert not {"*", "canManageKeys", "canManageOrgs"} & set(known[org_id][2])


async def test_what_an_administrator_changed_or_removed_stays_so(bus: NatsBus, settings: Settings) -> None:
    await bootstrap(settings, CREDENTIALS)
    store = NatsDirectoryStore(bus)
    removed, _ = parts(CREDENTIALS.org_key)
    await store.delete(api_key_key(removed))
    await store.put(org_key("demo"), msgspec.json.encode(Org(id="demo", name="Renamed")))

    await bootstrap(settings, CREDENTIALS)

    found = await directory(bus)
    assert found.api_key(removed) is None
    assert [org.name for org in found.orgs()] == ["Renamed"]


@pytest.mark.parametrize("lost", ["org", "keys"])
async def test_an_interrupted_start_is_completed_by_the_next(bus: NatsBus, settings: Settings, lost: str) -> None:
    admin_id, _ = parts(CREDENTIALS.admin_key)
    present = api_key_key(admin_id) if lost == "org" else org_key("demo")
    entry = b'{"id":"x","secret_sha256":"x","name":"x"}' if lost == "org" else b'{"id":"demo","name":"Demo"}'
    await NatsDirectoryStore(bus).put(present, entry)

    await bootstrap(settings, CREDENTIALS)

    found = await directory(bus)
    assert found.org("demo") is not None
    assert len(list(found.api_keys())) == 2
