"""The directory in memory: every service holds one, kept up to date by a watch. No lookup leaves the process."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from runlane.contracts.directory import (
    PLATFORM,
    ApiKey,
    ConfigValue,
    Entry,
    ImportFailure,
    Manifest,
    Org,
    ScheduleSetting,
    SecretValue,
    decode_entry,
)
from runlane.ports import DirectoryStore
from runlane.telemetry import logger

_log = logger(__name__)
_T = TypeVar("_T", bound=Entry)


def org_key(org: str) -> str:
    return f"orgs.{org}"


def config_key(org: str, key: str) -> str:
    return f"config.{org}.{key}"


def secret_key(org: str, name: str) -> str:
    return f"secrets.{org}--{name}"


def api_key_key(key_id: str) -> str:
    return f"keys.{key_id}"


def workflow_key(name: str) -> str:
    return f"workflows.{name}"


def failure_key(origin: str, file: str) -> str:
    return f"failures.{hashlib.sha256(f'{origin}|{file}'.encode()).hexdigest()[:16]}"


def schedule_key(org: str, workflow: str) -> str:
    return f"schedules.{org}.{workflow}"


class Directory:
    """Organisations, config, secrets, keys, workflows and schedules as this process knows them."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._by_kind: dict[str, dict[str, Entry]] = {}
        self._config: dict[str, dict[str, Any]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self.revision = 0
        self.revisions: dict[str, int] = {}

    async def follow(self, store: DirectoryStore) -> "Directory":
        """Load everything and keep following; returns itself once loaded."""
        await store.watch(self.apply)
        return self

    def apply(self, key: str, value: bytes | None, revision: int) -> None:
        """Take over one change; an entry that cannot be read is logged and treated as absent."""
        self.revision = max(self.revision, revision)
        kind = key.partition(".")[0]
        entry: Entry | None = None
        if value is not None:
            try:
                entry = decode_entry(key, value)
            except (KeyError, msgspec.DecodeError) as problem:
                _log.error("unreadable directory entry", key=key, reason=str(problem))
        if entry is None:
            self._entries.pop(key, None)
            self._by_kind.get(kind, {}).pop(key, None)
            self.revisions.pop(key, None)
        else:
            self._entries[key] = entry
            self._by_kind.setdefault(kind, {})[key] = entry
            self.revisions[key] = revision
        if kind == "config":
            self._config.clear()
        for changed in self._listeners:
            changed(key)

    def on_change(self, changed: Callable[[str], None]) -> None:
        """Call `changed(key)` after each change."""
        self._listeners.append(changed)

    def org(self, org: str) -> Org | None:
        return self._get(org_key(org), Org)

    def orgs(self) -> Iterable[Org]:
        return self._all("orgs", Org)

    def config(self, org: str) -> Mapping[str, Any]:
        """The organisation's configuration over the platform's. The same object until something changes."""
        merged = self._config.get(org)
        if merged is None:
            values = sorted(self._all("config", ConfigValue), key=lambda value: value.org != PLATFORM)
            merged = {value.key: value.value for value in values if value.org in (PLATFORM, org)}
            self._config[org] = merged
        return merged

    def config_values(self, org: str) -> list[ConfigValue]:
        """What was set for the organisation itself."""
        return [value for value in self._all("config", ConfigValue) if value.org == org]

    def secret(self, org: str, name: str) -> SecretValue | None:
        return self._get(secret_key(org, name), SecretValue)

    def secrets(self, org: str) -> list[SecretValue]:
        return [secret for secret in self._all("secrets", SecretValue) if secret.org == org]

    def api_key(self, key_id: str) -> ApiKey | None:
        return self._get(api_key_key(key_id), ApiKey)

    def api_keys(self) -> Iterable[ApiKey]:
        return self._all("keys", ApiKey)

    def workflow(self, name: str) -> Manifest | None:
        return self._get(workflow_key(name), Manifest)

    def workflows(self) -> Iterable[Manifest]:
        return self._all("workflows", Manifest)

    def import_failures(self) -> Iterable[ImportFailure]:
        return self._all("failures", ImportFailure)

    def schedule(self, org: str, workflow: str) -> ScheduleSetting | None:
        return self._get(schedule_key(org, workflow), ScheduleSetting)

    def _get(self, key: str, type_: type[_T]) -> _T | None:
        entry = self._entries.get(key)
        return entry if isinstance(entry, type_) else None

    def _all(self, kind: str, type_: type[_T]) -> list[_T]:
        return [entry for entry in self._by_kind.get(kind, {}).values() if isinstance(entry, type_)]
