"""Entries of the directory: organisations, config, secrets, keys, workflow manifests, schedules.

They live in one key-value bucket; a key is `{kind}.{…}`. Every service holds a watched copy (`runlane.directory`).
"""

from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct, field

from runlane.contracts.approvals import OfficeHours
from runlane.contracts.forms import Form
from runlane.contracts.subscriptions import Subscription, SubscriptionState
from runlane.contracts.webhooks import Webhook

ExecutionMode: TypeAlias = Literal["sync", "async", "scheduled"]
#: Whether a request passes by what its own organisation has waiting (`runlane.lanes`).
Priority: TypeAlias = Literal["high", "normal", "low"]

#: The pseudo-organisation whose config every organisation inherits.
PLATFORM = "platform"


class Org(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A client organisation. Key `orgs.{id}`. `time_zone` is an IANA name; `tenant_id` its Microsoft 365 tenant.

    It may run the workflows of `enabled_workflows`, all where that is None, without those of `disabled_workflows`.
    At most `max_concurrent` of its executions run at once.
    """

    id: str
    name: str
    tenant_id: str | None = None
    time_zone: str = "UTC"
    tags: list[str] = field(default_factory=list)
    enabled_workflows: list[str] | None = None
    disabled_workflows: list[str] = field(default_factory=list)
    max_concurrent: int | None = None

    def runs(self, workflow: str) -> bool:
        """Whether it may run this workflow."""
        only = self.enabled_workflows
        return workflow not in self.disabled_workflows and (only is None or workflow in only)


class ConfigValue(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One configuration value. Key `config.{org}.{key}`.

    What stands in it under the name of a secret is masked in `value`; then `sealed` is the true JSON, sealed under
    `config_context()`.
    """

    org: str
    key: str
    value: Any
    sealed: bytes | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None


def config_context(org: str, key: str) -> str:
    """What a configuration value is sealed for."""
    return f"{org}|{key}|config"


class SecretValue(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One secret, sealed under `secret_context()`. Key `secrets.{org}--{name}`."""

    org: str
    name: str
    sealed: bytes
    version: int = 1
    changed_at: datetime | None = None
    changed_by: str | None = None


def secret_context(org: str, name: str, version: int) -> str:
    """What a secret is sealed for: it opens under no other organisation, name or version."""
    return f"{org}|{name}|{version}"


class ApiKey(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may call. Key `keys.{id}`; the caller sends `rl_{id}_{secret}` and only SHA-256 of the secret is kept.

    `org` and `orgs` together are where it may act; neither of them means every organisation. A caller of several names
    one in `X-Organization-Id`. `permissions` may be `["*"]`; `roles` stand for permissions that the gateway knows.
    """

    id: str
    secret_sha256: str
    name: str
    org: str | None = None
    orgs: list[str] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    permissions: list[str] = field(default_factory=list)
    email: str | None = None
    created_at: datetime | None = None
    created_by: str | None = None
    expires_at: datetime | None = None

    @property
    def reach(self) -> frozenset[str] | None:
        """The organisations in which it may act; None means all."""
        own = frozenset() if self.org is None else frozenset({self.org})
        return own.union(self.orgs) or None


class RetrySettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`retry_policy` as resolved: attempt n+1 waits initial_delay * multiplier**(n-1), at most max_delay, ± jitter."""

    max_attempts: int = 1
    backoff_multiplier: float = 2.0
    initial_delay_seconds: float = 1.0
    max_delay_seconds: float = 300.0
    jitter: float = 0.1
    non_retryable: list[str] = field(default_factory=list)


class Manifest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workflow as its executor published it (SPEC §7). Key `workflows.{name}`. `parameters` is its JSON Schema."""

    name: str
    description: str
    parameters: Raw
    category: str = "General"
    tags: list[str] = field(default_factory=list)
    execution_mode: ExecutionMode = "sync"
    timeout_seconds: float = 300
    max_duration_seconds: float = 300
    retry: RetrySettings = RetrySettings()
    schedule: str | None = None
    schedule_time_zone: str = "UTC"
    misfire_policy: Literal["skip", "once", "all"] = "once"
    misfire_window_seconds: float = 86_400
    overlap_policy: Literal["allow", "skip", "cancel_previous"] = "allow"
    jitter_seconds: float = 0
    requires_org: bool = True
    expose_in_forms: bool = True
    requires_approval: bool = False
    required_permission: str = "canExecuteWorkflows"
    webhook_enabled: bool = False
    webhook_secret_required: bool = True
    data_provider: bool = False
    priority: Priority | None = None
    max_concurrent: int | None = None
    max_concurrent_per_org: int | None = None
    concurrency_key: str | None = None
    max_concurrent_per_key: int = 1
    source_file: str = ""
    source_line: int = 0
    version: str = ""
    origin: str = "default"


class ImportFailure(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A workflow file that did not import. Key `failures.{digest of origin and file}`."""

    file: str
    message: str
    traceback: str = ""
    at: datetime | None = None
    origin: str = "default"


class ScheduleSetting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an organisation changed of a workflow's schedule. Key `schedules.{org}.{workflow}`. None: as declared."""

    org: str
    workflow: str
    enabled: bool | None = None
    schedule: str | None = None
    time_zone: str | None = None
    changed_at: datetime | None = None


#: The workflow of a rule that holds for all workflows without one of their own.
EVERY_WORKFLOW = "*"


class ApprovalRule(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an organisation wants of approvals. Key `approvals.{org}.{workflow}`, `_all` standing for every workflow.

    `required` None: as the workflow declares. The rest is as in `ApprovalTerms`.
    """

    org: str
    workflow: str
    required: bool | None = None
    approvers: list[str] = field(default_factory=list)
    count: int = 1
    allow_own: bool = False
    office_hours: OfficeHours | None = None
    expires_seconds: float | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None


Entry: TypeAlias = (
    Org
    | ConfigValue
    | SecretValue
    | ApiKey
    | Manifest
    | ImportFailure
    | ScheduleSetting
    | Form
    | ApprovalRule
    | Webhook
    | Subscription
    | SubscriptionState
)

KINDS: dict[str, type[Entry]] = {
    "orgs": Org,
    "config": ConfigValue,
    "secrets": SecretValue,
    "keys": ApiKey,
    "workflows": Manifest,
    "failures": ImportFailure,
    "schedules": ScheduleSetting,
    "forms": Form,
    "approvals": ApprovalRule,
    "webhooks": Webhook,
    "subscriptions": Subscription,
    "subscriptionstates": SubscriptionState,
}

_decoders = {kind: msgspec.json.Decoder(type_) for kind, type_ in KINDS.items()}


def decode_entry(key: str, payload: bytes) -> Entry:
    """The entry stored under `key`; raises `KeyError` for an unknown kind, `msgspec.DecodeError` for a bad value."""
    return _decoders[key.partition(".")[0]].decode(payload)
