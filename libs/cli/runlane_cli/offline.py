"""What commands do without a gateway: the first entries of a fresh directory, and sealing under another master key.

The only module of the command line that names an adapter.
"""

import hashlib

import msgspec
from msgspec import Struct

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.adapters.sql.store import open_record_store
from runlane.audit import Audit, Target
from runlane.clock import SystemClock
from runlane.contracts.directory import PLATFORM, ApiKey, Entry, Org
from runlane.contracts.requests import Caller
from runlane.directory import Directory, api_key_key, org_key
from runlane.rotation import needs_of_old_key, reseal
from runlane.settings import Settings

from .datadir import Credentials

#: What the key of one organisation may do: what stays within it, except making keys, and deciding what it asks for.
ORG_PERMISSIONS = [
    "canExecuteWorkflows",
    "canViewExecutions",
    "canManageExecutions",
    "canViewInternals",
    "canManageConfig",
    "canManageSecrets",
    "canManageWebhooks",
    "canManageForms",
    "canViewAudit",
]


async def bootstrap(settings: Settings, credentials: Credentials) -> None:
    """Enter the organisation and both keys, each only if nothing was ever entered there: what an administrator removed
    stays removed. Raises `BusUnavailable`."""
    async with open_bus(settings, "up") as bus:
        store = NatsDirectoryStore(bus)
        # Removed keys are told too; `expect=0` alone would not do, a removed key counts as new there.
        seen: set[str] = set()
        await store.watch(lambda key, value, revision: seen.add(key))
        for key, entry in _first_entries(credentials).items():
            if key not in seen:
                await store.put(key, msgspec.json.encode(entry))


async def prepare(settings: Settings, admin_key: str | None) -> None:
    """Bring streams and record store up to date; enter the key where none was ever entered. Raises `BusUnavailable`,
    `StoreUnavailable`, `ConfigurationError`."""
    async with open_record_store(settings.record_store_url, migrate=True), open_bus(settings, "migrate") as bus:
        if admin_key is not None:
            seen: set[str] = set()
            store = NatsDirectoryStore(bus)
            await store.watch(lambda key, value, revision: seen.add(key))
            entry = _api_key(admin_key, "admin", None, ["*"])
            if not any(key.startswith(api_key_key("")) for key in seen):
                await store.put(api_key_key(entry.id), msgspec.json.encode(entry))


class RotationReport(Struct, frozen=True):
    """What a rotation did: entries sealed anew, keys of entries that nothing opens, why an old key must stay."""

    resealed: int
    broken: list[str]
    needs: list[str]


async def rotate(settings: Settings, user: str, *, retire: bool) -> RotationReport:
    """Seal the directory under the current master key; with `retire`, find out what needs an old one still.

    Raises `BusUnavailable`, `StoreUnavailable`, `ConfigurationError`.
    """
    sealer, clock = settings.sealer(), SystemClock()
    async with open_bus(settings, "rotate-key", shape=False) as bus:
        store = NatsDirectoryStore(bus)
        directory = await Directory().follow(store)
        audit = Audit(bus, clock, "/runlane/cli", Caller(id=f"cli:{user}"))
        action = "retire-key" if retire else "rotate-key"
        async with audit.record(action, Target(PLATFORM, "master-key", "master-key")):
            resealed = await reseal(store, directory, sealer)
        needs: list[str] = []
        if retire:
            async with open_record_store(settings.record_store_url) as records:
                needs = await needs_of_old_key(bus, records, directory, sealer)
    return RotationReport(resealed.count, resealed.broken, needs)


def _first_entries(credentials: Credentials) -> dict[str, Entry]:
    org = Org(id=credentials.org, name="Demo organisation")
    keys = (
        _api_key(credentials.admin_key, "admin", None, ["*"]),
        _api_key(credentials.org_key, f"{credentials.org} key", credentials.org, ORG_PERMISSIONS),
    )
    return {org_key(org.id): org, **{api_key_key(key.id): key for key in keys}}


def _api_key(key: str, name: str, org: str | None, permissions: list[str]) -> ApiKey:
    _, key_id, secret = key.split("_", 2)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return ApiKey(
        id=key_id, secret_sha256=digest, name=name, org=org, permissions=permissions, created_at=SystemClock().now()
    )
