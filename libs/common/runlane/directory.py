"""The directory in memory: every service holds one, kept up to date by a watch. No lookup leaves the process."""

import bisect
import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from runlane.contracts.directory import (
    EVERY_WORKFLOW,
    PLATFORM,
    ApiKey,
    ApprovalRule,
    ConfigValue,
    Entry,
    ImportFailure,
    Manifest,
    Org,
    ScheduleSetting,
    SecretValue,
    config_context,
    decode_entry,
)
from runlane.contracts.forms import Form
from runlane.contracts.subscriptions import Subscription, SubscriptionState, state_key, subscription_key
from runlane.contracts.webhooks import Webhook
from runlane.errors import SealBroken
from runlane.ports import DirectoryStore
from runlane.sealing import Sealer
from runlane.telemetry import logger

_log = logger(__name__)
_T = TypeVar("_T", bound=Entry)


#: What stands for every workflow in a key: no workflow can have that name.
ALL_WORKFLOWS = "_all"


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


def form_key(org: str, form: str) -> str:
    return f"forms.{org}.{form}"


def approval_key(org: str, workflow: str) -> str:
    return f"approvals.{org}.{ALL_WORKFLOWS if workflow == EVERY_WORKFLOW else workflow}"


def webhook_key(org: str, workflow: str) -> str:
    return f"webhooks.{org}.{workflow}"


class Directory:
    """Organisations, config, secrets, keys, workflows and schedules as this process knows them.

    With a `sealer` it gives configuration as it truly is, without one with what stands under names of secrets masked.
    Lookups by name cost the same however many organisations there are; what belongs to one organisation is indexed.
    """

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._sealer = sealer
        self._entries: dict[str, Entry] = {}
        self._by_kind: dict[str, dict[str, Entry]] = {}
        #: Entries with an `org`, by kind and organisation.
        self._by_org: dict[tuple[str, str], dict[str, Entry]] = {}
        self._config: dict[str, dict[str, Any]] = {}
        self._org_ids: list[str] | None = None
        self._listeners: list[Callable[[str], None]] = []
        self.revision = 0
        #: Of every key that has a value, also of one that cannot be read.
        self.revisions: dict[str, int] = {}

    async def follow(self, store: DirectoryStore) -> "Directory":
        """Load everything and keep following; returns itself once loaded."""
        await store.watch(self.apply)
        return self

    def apply(self, key: str, value: bytes | None, revision: int) -> None:
        """Take over one change; an entry that cannot be read is logged and treated as absent."""
        self.revision = max(self.revision, revision)
        entry: Entry | None = None
        if value is None:
            self.revisions.pop(key, None)
        else:
            self.revisions[key] = revision
            try:
                entry = decode_entry(key, value)
            except (KeyError, msgspec.DecodeError) as problem:
                _log.error("unreadable directory entry", key=key, reason=str(problem))
        self._keep(key, entry)
        for changed in self._listeners:
            changed(key)

    def on_change(self, changed: Callable[[str], None]) -> None:
        """Call `changed(key)` after each change."""
        self._listeners.append(changed)

    def entry(self, key: str) -> Entry | None:
        """Whatever stands under a key."""
        return self._entries.get(key)

    def belongings(self, org: str) -> list[str]:
        """The keys of everything that belongs to an organisation, whatever it is, without the organisation itself."""
        of_org = (entries for (_, of), entries in self._by_org.items() if of == org)
        return sorted(key for entries in of_org for key in entries)

    def org(self, org: str) -> Org | None:
        return self._get(org_key(org), Org)

    def time_zone(self, org: str) -> str:
        """The organisation's own; UTC where there is none."""
        known = self.org(org)
        return "UTC" if known is None else known.time_zone

    def orgs(self) -> Iterable[Org]:
        return self._all("orgs", Org)

    def orgs_after(self, org: str) -> Iterable[Org]:
        """Organisations in the order of their ids, from the first one after `org`."""
        if self._org_ids is None:
            self._org_ids = sorted(known.id for known in self.orgs())
        ids = self._org_ids
        found = (self.org(known) for known in ids[bisect.bisect_right(ids, org) :])
        return (known for known in found if known is not None)

    def enabled(self, org: str, workflow: str) -> bool:
        """Whether an organisation may run a workflow. The platform may run any, an unknown organisation none."""
        known = self.org(org)
        return org == PLATFORM if known is None else known.runs(workflow)

    def config(self, org: str) -> Mapping[str, Any]:
        """The organisation's configuration over the platform's. The same object until something changes."""
        merged = self._config.get(org)
        if merged is None:
            values = {value.key: value for of in (PLATFORM, org) for value in self.config_values(of)}
            merged = {key: self._true_value(value) for key, value in values.items()}
            self._config[org] = merged
        return merged

    def config_value(self, org: str, key: str) -> ConfigValue | None:
        """What was set for the organisation itself."""
        return self._get(config_key(org, key), ConfigValue)

    def config_values(self, org: str) -> list[ConfigValue]:
        """What was set for the organisation itself."""
        return self._of_org("config", org, ConfigValue)

    def secret(self, org: str, name: str) -> SecretValue | None:
        return self._get(secret_key(org, name), SecretValue)

    def secrets(self, org: str) -> list[SecretValue]:
        return self._of_org("secrets", org, SecretValue)

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

    def form(self, org: str, form: str) -> Form | None:
        """The organisation's own designed form; `PLATFORM` has those that all inherit."""
        return self._get(form_key(org, form), Form)

    def forms(self, org: str) -> list[Form]:
        return self._of_org("forms", org, Form)

    def approval_rule(self, org: str, workflow: str) -> ApprovalRule | None:
        """The organisation's rule for exactly this workflow, or for `*`."""
        return self._get(approval_key(org, workflow), ApprovalRule)

    def approval_rules(self, org: str) -> list[ApprovalRule]:
        return self._of_org("approvals", org, ApprovalRule)

    def webhook(self, org: str, workflow: str) -> Webhook | None:
        """What was settled of it; a webhook may work without."""
        return self._get(webhook_key(org, workflow), Webhook)

    def webhooks(self, org: str) -> list[Webhook]:
        return self._of_org("webhooks", org, Webhook)

    def subscription(self, org: str, id_: str) -> Subscription | None:
        return self._get(subscription_key(org, id_), Subscription)

    def subscriptions(self, org: str) -> list[Subscription]:
        return self._of_org("subscriptions", org, Subscription)

    def all_subscriptions(self) -> Iterable[Subscription]:
        return self._all("subscriptions", Subscription)

    def subscription_state(self, org: str, id_: str) -> SubscriptionState | None:
        """How delivering goes; None while all is well."""
        return self._get(state_key(org, id_), SubscriptionState)

    def _true_value(self, value: ConfigValue) -> Any:
        if value.sealed is None or self._sealer is None:
            return value.value
        try:
            return msgspec.json.decode(self._sealer.open(value.sealed, config_context(value.org, value.key)))
        except SealBroken as problem:
            _log.error("a configuration value cannot be opened", org=value.org, key=value.key, reason=problem.message)
            return value.value

    def _keep(self, key: str, entry: Entry | None) -> None:
        kind = key.partition(".")[0]
        before = self._entries.pop(key, None)
        for org in {owner_of(before), owner_of(entry)} - {None}:
            self._index(kind, str(org), key, entry if owner_of(entry) == org else None)
        if entry is None:
            self._by_kind.get(kind, {}).pop(key, None)
        else:
            self._entries[key] = entry
            self._by_kind.setdefault(kind, {})[key] = entry
        if kind == "orgs" and (before is None) != (entry is None):
            self._org_ids = None

    def _index(self, kind: str, org: str, key: str, entry: Entry | None) -> None:
        if kind == "config":
            # The platform's values are in everybody's configuration.
            self._config.clear() if org == PLATFORM else self._config.pop(org, None)
        index = self._by_org.setdefault((kind, org), {})
        if entry is not None:
            index[key] = entry
            return
        index.pop(key, None)
        if not index:
            del self._by_org[kind, org]

    def _get(self, key: str, type_: type[_T]) -> _T | None:
        entry = self._entries.get(key)
        return entry if isinstance(entry, type_) else None

    def _all(self, kind: str, type_: type[_T]) -> list[_T]:
        return [entry for entry in self._by_kind.get(kind, {}).values() if isinstance(entry, type_)]

    def _of_org(self, kind: str, org: str, type_: type[_T]) -> list[_T]:
        return [entry for entry in self._by_org.get((kind, org), {}).values() if isinstance(entry, type_)]


def owner_of(entry: Entry | None) -> str | None:
    """The organisation that an entry belongs to; None for what belongs to all."""
    owner: str | None = getattr(entry, "org", None)
    return owner
