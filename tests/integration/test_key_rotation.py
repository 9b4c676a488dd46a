"""A new master key while the engine runs: nothing stops opening, everything is sealed anew, the old key goes last."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest

from runlane.adapters.memory_directory import MemoryDirectoryStore
from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.adapters.sql.store import open_record_store
from runlane.contracts import subjects
from runlane.contracts.directory import ConfigValue, SecretValue, config_context, secret_context
from runlane.contracts.encoding import encode
from runlane.contracts.requests import Caller, Request, parameters_context
from runlane.contracts.webhooks import SecretVersion, Webhook
from runlane.directory import Directory, config_key, secret_key, webhook_key
from runlane.errors import SealBroken
from runlane.ids import new_execution_id
from runlane.ports import Message
from runlane.rotation import needs_of_old_key, outdated, reseal
from runlane.sealing import KeyFile, Sealer, generate_master_key, parse_master_key
from runlane.settings import Settings
from runlane_cli.datadir import write_private
from runlane_cli.problems import CommandFailed
from runlane_cli.rotation import rotate_key
from runlane_gateway.webhook_settings import Webhooks
from tests.support.eventually import eventually
from tests.support.gateway_bus import Gateway, furnish, serving

OLD, NEW = generate_master_key(), generate_master_key()
OLD_KEY, NEW_KEY = parse_master_key(OLD), parse_master_key(NEW)


def secret(org: str, name: str, value: str, sealer: Sealer, version: int = 1) -> SecretValue:
    sealed = sealer.seal(value.encode(), secret_context(org, name, version))
    return SecretValue(org=org, name=name, sealed=sealed, version=version)


async def put(store: MemoryDirectoryStore | NatsDirectoryStore, entry: SecretValue) -> None:
    await store.put(secret_key(entry.org, entry.name), msgspec.json.encode(entry))


def opened(entry: SecretValue | None, sealer: Sealer) -> str:
    assert entry is not None
    return sealer.open(entry.sealed, secret_context(entry.org, entry.name, entry.version)).decode()


async def test_everything_is_sealed_anew_and_nothing_twice() -> None:
    store, old = MemoryDirectoryStore(), Sealer(OLD_KEY)
    for number in range(200):
        await put(store, secret(f"o{number % 7}", f"s{number}", f"value {number}", old, version=number + 1))
    directory = await Directory().follow(store)
    both = Sealer(NEW_KEY, OLD_KEY)
    assert len(outdated(directory, both)) == 200
    assert (await reseal(store, directory, both)).count == 200
    assert outdated(directory, both) == []
    assert (await reseal(store, directory, both)).count == 0
    new = Sealer(NEW_KEY)
    for number in range(200):
        entry = directory.secret(f"o{number % 7}", f"s{number}")
        assert (opened(entry, new), entry and entry.version) == (f"value {number}", number + 1)


async def test_a_secret_that_changes_meanwhile_keeps_its_new_value() -> None:
    old, both = Sealer(OLD_KEY), Sealer(NEW_KEY, OLD_KEY)

    class Busy(MemoryDirectoryStore):
        """Somebody sets the secret in the very moment that it is sealed anew."""

        disturbed = False

        async def put(self, key: str, value: bytes, *, expect: int | None = None) -> int:
            if expect is not None and not self.disturbed:
                self.disturbed = True
                await super().put(key, msgspec.json.encode(secret("acme", "token", "newer", old, version=2)))
            return await super().put(key, value, expect=expect)

    store = Busy()
    await put(store, secret("acme", "token", "older", old))
    directory = await Directory().follow(store)
    assert (await reseal(store, directory, both)).count == 1
    assert opened(directory.secret("acme", "token"), Sealer(NEW_KEY)) == "newer"


async def test_configuration_under_names_of_secrets_is_sealed_anew_and_the_rest_left_alone() -> None:
    store, old = MemoryDirectoryStore(), Sealer(OLD_KEY)
    sealed = old.seal(b'"true"', config_context("acme", "smtp_password"))
    for entry in (
        ConfigValue(org="acme", key="smtp_password", value="[REDACTED]", sealed=sealed),
        ConfigValue(org="acme", key="region", value="emea"),
    ):
        await store.put(config_key("acme", entry.key), msgspec.json.encode(entry))
    directory = await Directory(Sealer(NEW_KEY)).follow(store)
    assert directory.config("acme")["smtp_password"] == "[REDACTED]"  # cannot be opened yet
    assert (await reseal(store, directory, Sealer(NEW_KEY, OLD_KEY))).count == 1
    assert directory.config("acme") == {"smtp_password": "true", "region": "emea"}


async def test_the_secrets_of_webhooks_are_sealed_anew() -> None:
    store = MemoryDirectoryStore()
    bare = Webhook(org="acme", workflow="tickets", versions=[SecretVersion(id="1")])
    directory = Directory()
    sealed = Webhooks(directory, Sealer(OLD_KEY)).seal(bare, ["a-secret"])
    entry = msgspec.structs.replace(bare, sealed=sealed)
    await store.put(webhook_key("acme", "tickets"), msgspec.json.encode(entry))
    await directory.follow(store)
    assert (await reseal(store, directory, Sealer(NEW_KEY, OLD_KEY))).count == 1
    found = directory.webhook("acme", "tickets")
    assert found is not None
    assert Webhooks(directory, Sealer(NEW_KEY)).secrets(found) == ["a-secret"]


async def test_what_no_key_opens_is_named_and_holds_up_nothing_else() -> None:
    store = MemoryDirectoryStore()
    await put(store, secret("acme", "lost", "x", Sealer(b"z" * 32)))
    await put(store, secret("acme", "token", "kept", Sealer(OLD_KEY)))
    directory = await Directory().follow(store)
    done = await reseal(store, directory, Sealer(NEW_KEY, OLD_KEY))
    assert (done.count, done.broken) == (1, [secret_key("acme", "lost")])


def test_a_sealer_takes_over_what_its_file_holds_now(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    path.write_text(OLD)
    file = KeyFile(path)
    running = Sealer(*file.read(), reload=file)
    sealed = running.seal(b"x", "c")
    write_private(path, f"{NEW},{OLD}".encode())
    # What another process sealed under the new key opens at once.
    assert running.open(Sealer(NEW_KEY).seal(b"y", "c"), "c") == b"y"
    assert not running.is_current(sealed)
    assert running.open(sealed, "c") == b"x"
    for content in ("not a key", ""):
        path.write_text(content)
        with pytest.raises(SealBroken):
            running.open(Sealer(b"q" * 32).seal(b"y", "c"), "c")
        assert running.open(sealed, "c") == b"x"
    write_private(path, NEW.encode())
    with pytest.raises(SealBroken):
        running.open(Sealer(b"q" * 32).seal(b"y", "c"), "c")
    with pytest.raises(SealBroken):
        running.open(sealed, "c")


async def test_a_waiting_request_keeps_the_old_key(bus: NatsBus, settings: Settings) -> None:
    both, execution_id = Sealer(NEW_KEY, OLD_KEY), new_execution_id()
    async with open_record_store(settings.record_store_url, migrate=True) as records:
        directory = Directory()
        assert await needs_of_old_key(bus, records, directory, both) == []
        for sealer, reasons in ((both, 0), (Sealer(OLD_KEY), 1)):
            request = Request(
                execution_id=execution_id,
                org="acme",
                workflow="slow",
                caller=Caller("x"),
                accepted_at=datetime.now(UTC),
                sealed_parameters=sealer.seal(b"{}", parameters_context("acme", execution_id)),
            )
            subject = subjects.request("0", "acme", "slow")
            await bus.publish(Message(subject=subject, payload=encode(request), id=new_execution_id()))
            assert len(await needs_of_old_key(bus, records, directory, both)) == reasons


# --- the command over a running gateway -------------------------------------------------------------------------------


@pytest.fixture
async def gateway(settings: Settings, bus: NatsBus, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    """A gateway whose master key is in a file, and an environment in which the command finds both."""
    write_private(settings.data_dir / "master.key", OLD.encode())
    monkeypatch.setenv("RUNLANE_NATS_URL", settings.nats_url)
    monkeypatch.setenv("RUNLANE_DATA_DIR", str(settings.data_dir))
    store = NatsDirectoryStore(bus)
    await furnish(store)
    async with (
        open_record_store(settings.record_store_url, migrate=True),
        serving(msgspec.structs.replace(settings, http_port=0), bus, store) as opened,
    ):
        yield opened


async def rotated(settings: Settings, *, retire_old: bool = False) -> None:
    await asyncio.to_thread(rotate_key, settings.data_dir, retire_old=retire_old, as_json=True)


async def test_the_key_is_changed_while_secrets_are_set(
    gateway: Gateway, bus: NatsBus, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    key_file, stop = settings.data_dir / "master.key", asyncio.Event()

    async def keep_setting(client: httpx.AsyncClient) -> int:
        count = 0
        while not stop.is_set():
            answer = await client.put(f"/orgs/acme/secrets/s{count % 20}", json={"value": f"value {count}"})
            assert answer.status_code == 200, answer.text
            count += 1
        return count

    async with gateway.client("admin") as client:
        setting = asyncio.create_task(keep_setting(client))
        await rotated(settings)
        stop.set()
        count = await setting
        (new, old) = key_file.read_text().split(",")
        assert old == OLD
        only_new = Sealer(parse_master_key(new))
        directory = await Directory().follow(NatsDirectoryStore(bus))
        for number in range(count - min(20, count), count):
            assert opened(directory.secret("acme", f"s{number % 20}"), only_new) == f"value {number}"
        await rotated(settings)  # again: it goes on where it was, without a third key
        assert key_file.read_text() == f"{new},{old}"
        await rotated(settings, retire_old=True)
        assert key_file.read_text() == new
        assert (await client.put("/orgs/acme/secrets/after", json={"value": "x"})).status_code == 200
        await eventually(lambda: opened(gateway.parts.directory.secret("acme", "after"), only_new) == "x", within=20)
    with pytest.raises(CommandFailed, match="only one master key"):
        await rotated(settings, retire_old=True)
    assert '"retired": true' in capsys.readouterr().out


async def test_an_old_key_that_is_needed_stays(gateway: Gateway, bus: NatsBus, settings: Settings) -> None:
    async with gateway.client("admin", X_Organization_Id="acme") as client:
        accepted = await client.post("/workflows/slow", json={})
        assert accepted.status_code == 202
        with_parameters = await client.post("/workflows/slow", json={"n": 1})
        assert with_parameters.status_code == 202
    await rotated(settings)
    before = (settings.data_dir / "master.key").read_text()
    with pytest.raises(CommandFailed, match="on the queue"):
        await rotated(settings, retire_old=True)
    assert (settings.data_dir / "master.key").read_text() == before


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no master key"), ("rubbish", "cannot be used"), ("", "cannot be used")]
)
def test_a_command_without_a_usable_key_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "master.key").write_text(content)
    with pytest.raises(CommandFailed, match=words):
        rotate_key(tmp_path, retire_old=False, as_json=True)


def test_a_key_of_the_environment_is_rotated_by_whoever_sets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNLANE_MASTER_KEY", OLD)
    with pytest.raises(CommandFailed, match="OLD,NEW") as refused:
        rotate_key(tmp_path, retire_old=False, as_json=True)
    assert OLD not in refused.value.message
