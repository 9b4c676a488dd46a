"""What every store of secrets does, run over all of them; Azure Key Vault over HTTPS with its real client library."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient

from runlane.adapters.memory_directory import MemoryDirectoryStore
from runlane.adapters.secrets_azure import AzureSecrets
from runlane.adapters.secrets_cached import CachedWritableSecrets
from runlane.adapters.secrets_embedded import EmbeddedSecrets
from runlane.adapters.secrets_local import EnvironmentSecrets, FileSecrets
from runlane.clock import ManualClock
from runlane.contracts.directory import SecretValue, secret_context
from runlane.directory import Directory, secret_key
from runlane.errors import ConfigurationError, SealBroken, SecretsUnavailable, ValidationError
from runlane.ports import SecretStore, WritableSecretStore
from runlane.sealing import Sealer
from tests.support.key_vault import CLIENT_SECRET, TENANT, KeyVault
from tests.support.memory_bus import START

SECRETS = {
    ("acme", "token"): "token of acme",
    ("acme", "client_secret"): "über geheim",
    ("acme-two", "token"): "token of acme-two",
    ("a", "b"): "of a",
}


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[KeyVault]:
    opened = KeyVault(tmp_path)
    yield opened
    opened.close()


def client_of(vault: KeyVault, client_secret: str = CLIENT_SECRET) -> SecretClient:
    trust = {"connection_verify": str(vault.ca)}
    credential = ClientSecretCredential(
        TENANT, "runlane", client_secret, authority=vault.url, disable_instance_discovery=True, **trust
    )
    # The stand-in is `localhost` and not a subdomain of the resource that it names.
    return SecretClient(vault.url, credential, verify_challenge_resource=False, **trust)


@pytest.fixture
def azure(vault: KeyVault) -> Iterator[AzureSecrets]:
    for (org, name), value in SECRETS.items():
        vault.secrets[f"{org}--{name.replace('_', '-')}"] = value
    store = AzureSecrets(client_of(vault))
    yield store
    store.close()


async def embedded() -> EmbeddedSecrets:
    store, sealer = MemoryDirectoryStore(), Sealer(b"k" * 32)
    for (org, name), value in SECRETS.items():
        sealed = sealer.seal(value.encode(), secret_context(org, name, 3))
        entry = SecretValue(org=org, name=name, sealed=sealed, version=3)
        await store.put(secret_key(org, name), msgspec.json.encode(entry))
    return EmbeddedSecrets(await Directory().follow(store), sealer)


@pytest.fixture(params=["embedded", "environment", "files", "azure", "cached"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SecretStore]:
    match request.param:
        case "embedded":
            yield await embedded()
        case "environment":
            named = {f"{org}__{name}".replace("-", "_").upper(): value for (org, name), value in SECRETS.items()}
            yield EnvironmentSecrets({f"RUNLANE_SECRET__{name}": value for name, value in named.items()})
        case "files":
            directory = tmp_path / "secrets"
            directory.mkdir()
            for (org, name), value in SECRETS.items():
                (directory / f"{org}--{name}").write_text(f"{value}\n")
            (directory / "..data").mkdir()  # as Kubernetes mounts them
            yield FileSecrets(directory)
        case "azure":
            yield request.getfixturevalue("azure")
        case "cached":
            yield CachedWritableSecrets(request.getfixturevalue("azure"), ManualClock(START), 60)


async def test_a_secret_is_found_by_organisation_and_name(store: SecretStore) -> None:
    assert await asyncio.gather(*(store.get(org, name) for org, name in SECRETS)) == list(SECRETS.values())


@pytest.mark.parametrize(("org", "name"), [("acme", "nothing"), ("globex", "token"), ("a", "token"), ("acme-two", "b")])
async def test_what_is_not_there_is_none(store: SecretStore, org: str, name: str) -> None:
    assert await store.get(org, name) is None


async def test_names_are_those_of_one_organisation(store: SecretStore) -> None:
    names = await store.names("acme")
    assert [name.replace("-", "_") for name in names] == ["client_secret", "token"]
    assert await store.names("acme-two") == ["token"]
    assert await store.names("globex") == []


@pytest.mark.parametrize(
    ("org", "name"),
    [
        ("acme", "../acme-two--token"),
        ("acme--two", "token"),
        ("acme", "-token"),
        ("acme", ""),
        ("", "token"),
        ("acme", "a" * 65),
        ("acme", "tok\x00en"),
        ("acme", "*"),
        ("ACME", "token"),
        ("a", "-b"),
        ("acme/..", "token"),
    ],
)
async def test_no_name_reaches_a_secret_of_somebody_else(store: SecretStore, org: str, name: str) -> None:
    try:
        found = await store.get(org, name)
    except (ValidationError, ConfigurationError):
        return
    assert found is None


# --- each of its own --------------------------------------------------------------------------------------------------


async def test_a_sealed_secret_copied_to_another_organisation_does_not_open() -> None:
    store, sealer = MemoryDirectoryStore(), Sealer(b"k" * 32)
    sealed = sealer.seal(b"of acme", secret_context("acme", "token", 1))
    for org, name in (("acme", "token"), ("globex", "token"), ("acme", "other")):
        await store.put(secret_key(org, name), msgspec.json.encode(SecretValue(org=org, name=name, sealed=sealed)))
    secrets = EmbeddedSecrets(await Directory().follow(store), sealer)
    assert await secrets.get("acme", "token") == "of acme"
    for org, name in (("globex", "token"), ("acme", "other")):
        with pytest.raises(SealBroken):
            await secrets.get(org, name)


async def test_an_entry_that_says_another_organisation_than_its_key_is_no_secret() -> None:
    store, sealer = MemoryDirectoryStore(), Sealer(b"k" * 32)
    sealed = sealer.seal(b"of acme", secret_context("acme", "token", 1))
    entry = SecretValue(org="acme", name="token", sealed=sealed)
    await store.put(secret_key("globex", "token"), msgspec.json.encode(entry))
    assert await EmbeddedSecrets(await Directory().follow(store), sealer).get("globex", "token") is None


async def test_a_file_that_is_mounted_anew_holds_at_once(tmp_path: Path) -> None:
    store, file = FileSecrets(tmp_path), tmp_path / "acme--token"
    assert await store.get("acme", "token") is None
    for value in ("one", "two\r\n", "three\n"):
        file.write_text(value, newline="")
        assert await store.get("acme", "token") == value.strip()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x" * 70_000])
async def test_a_file_that_is_no_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "acme--token").write_bytes(content)
    with pytest.raises(SecretsUnavailable):
        await FileSecrets(tmp_path).get("acme", "token")


async def test_files_that_are_away_are_not_taken_for_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "acme--token").mkdir()
    store = FileSecrets(tmp_path)
    with pytest.raises(SecretsUnavailable):
        await store.get("acme", "token")
    with pytest.raises(SecretsUnavailable):
        await FileSecrets(tmp_path / "nowhere").names("acme")


@pytest.mark.parametrize("org", ["Acme", "a_b", "a--b", "a-", "-a"])
async def test_organisations_that_could_be_mistaken_have_no_secrets_in_stores_without_case(
    org: str, azure: AzureSecrets
) -> None:
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: EnvironmentSecrets({}).get(org, "token"),
        lambda: azure.get(org, "token"),
        lambda: azure.put(org, "token", "x"),
        lambda: azure.names(org),
    ]
    for call in calls:
        with pytest.raises(ConfigurationError):
            await call()


async def test_key_vault_is_asked_with_a_token_after_its_challenge(azure: AzureSecrets, vault: KeyVault) -> None:
    assert await azure.get("acme", "token") == "token of acme"
    assert await azure.get("acme", "client_secret") == "über geheim"
    assert vault.requests == [
        ("GET", "/secrets/acme--token/", False),
        ("GET", "/secrets/acme--token/", True),
        ("GET", "/secrets/acme--client-secret/", True),
    ]
    assert vault.tokens_issued == 1


async def test_secrets_are_set_in_and_removed_from_key_vault(azure: AzureSecrets, vault: KeyVault) -> None:
    assert isinstance(azure, WritableSecretStore)
    await azure.put("acme", "new_one", "fresh")
    assert (vault.secrets["acme--new-one"], await azure.get("acme", "new_one")) == ("fresh", "fresh")
    await azure.remove("acme", "new_one")
    await azure.remove("acme", "new_one")
    assert await azure.get("acme", "new_one") is None


async def test_a_vault_that_cannot_answer_is_not_taken_for_an_empty_one(azure: AzureSecrets, vault: KeyVault) -> None:
    vault.down = True
    with pytest.raises(SecretsUnavailable, match="503"):
        await azure.get("acme", "token")
    vault.down = False
    assert await azure.get("acme", "token") == "token of acme"


async def test_a_vault_that_refuses_the_identity_says_nothing_of_it(vault: KeyVault) -> None:
    store = AzureSecrets(client_of(vault, "another-client-secret"))
    with pytest.raises(SecretsUnavailable) as refused:
        await store.get("acme", "token")
    assert "another-client-secret" not in str(refused.value)
    store.close()


async def test_a_vault_whose_certificate_nobody_vouches_for_is_not_spoken_to(vault: KeyVault) -> None:
    credential = ClientSecretCredential(
        TENANT, "runlane", CLIENT_SECRET, authority=vault.url, disable_instance_discovery=True
    )
    store = AzureSecrets(SecretClient(vault.url, credential, verify_challenge_resource=False))
    with pytest.raises(SecretsUnavailable):
        await store.get("acme", "token")
    assert vault.requests == []
    store.close()


async def test_a_distant_secret_is_asked_for_once_until_its_time_is_over(azure: AzureSecrets, vault: KeyVault) -> None:
    clock = ManualClock(START)
    store = CachedWritableSecrets(azure, clock, 60)
    assert set(await asyncio.gather(*(store.get("acme", "token") for _ in range(50)))) == {"token of acme"}
    asked = len(vault.requests)
    vault.secrets["acme--token"] = "changed"
    clock.set(START + timedelta(seconds=59))
    assert (await store.get("acme", "token"), len(vault.requests)) == ("token of acme", asked)
    clock.set(START + timedelta(seconds=61))
    assert await store.get("acme", "token") == "changed"
    await store.put("acme", "token", "changed here")
    assert await store.get("acme", "token") == "changed here"
    assert await store.get("acme", "later") is None
    vault.secrets["acme--later"] = "now"
    clock.set(START + timedelta(seconds=70))
    assert await store.get("acme", "later") == "now"
