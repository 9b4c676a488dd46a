"""What the environment tells a process, read once and frozen. Each variable is `RUNLANE_` and the field's name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from runlane.addresses import parse_allowed_hosts
from runlane.errors import ConfigurationError
from runlane.sealing import KeyFile, Sealer, parse_master_keys

_PREFIX = "RUNLANE_"
Rate = Annotated[float, Meta(ge=0, le=1e6)]
Burst = Annotated[int, Meta(ge=1, le=1_000_000)]
#: For so long the broker knows a message that it is sent again. A repetition of a publish comes within seconds; longer
#: would only cost memory.
DUPLICATE_SECONDS = 120
#: It must not forget the message before that, and counts nanoseconds in 64 bits.
Retention = Annotated[float, Meta(ge=DUPLICATE_SECONDS / 86_400, le=36_500)]
#: These may be in a file that `RUNLANE_…_FILE` names, as container engines hand over secrets.
_FROM_FILES = ("nats_password", "database_url", "redis_url")


class Settings(Struct, frozen=True, kw_only=True):
    """Settings of every service. Durations in seconds, sizes in bytes; an absent variable means the default here."""

    data_dir: Path = Path(".runlane")
    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str | None = None
    nats_password: str | None = None
    database_url: str | None = None
    redis_url: str | None = None
    #: Base64 of 32 bytes; several, separated by commas, while rotating: the first one seals.
    master_key: str | None = None
    master_key_file: Path | None = None

    #: Where secrets are: sealed in the directory, or somewhere else that Runlane only reads (`azure`: and writes).
    secrets_provider: Literal["embedded", "environment", "files", "azure"] = "embedded"
    secrets_directory: Path | None = None
    azure_vault_url: str | None = None
    secrets_cache_seconds: float = 60

    workflows: Path = Path("workflows")
    workflows_origin: str = "default"
    reload: bool = False

    #: JSON: the OpenID Connect providers whose tokens the gateway accepts, and what their groups may do.
    identity_file: Path | None = None

    #: How often one caller, and all callers of one organisation, may call the gateway; 0: as often as they like.
    #: A burst is how often at once after a pause; None: as often as a minute allows.
    caller_rate_per_minute: Rate = 0
    caller_burst: Burst | None = None
    org_rate_per_minute: Rate = 0
    org_burst: Burst | None = None

    http_host: str = "127.0.0.1"
    http_port: int = 8080
    max_body: int = 700 * 1024
    sync_wait: float = 30.0

    #: Hosts (`host` or `host:port`, by commas) that integrations may reach without TLS and at a private address.
    allowed_hosts: str = ""

    executor_children: int = 2
    executor_slots: int = 200
    #: How long code may clean up after its timeout or a cancel before its process is ended.
    stop_grace: float = 5.0
    drain_grace: float = 30.0
    #: How long a gateway that is ending still takes requests, so that balancers see at /readyz that it leaves.
    drain_delay: float = 1.0

    stream_replicas: int = 1
    event_retention_days: Retention = 7
    record_retention_days: float = 90
    audit_retention_days: float = 400
    queue_max_bytes: int = 4 * 1024**3
    durability: Literal["fsync", "buffered"] = "buffered"

    #: Where a service other than the gateway answers /healthz, /readyz and /metrics; 0 means nowhere. `runlane up`
    #: counts on from it: recorder, scheduler, executor-1, executor-2, …
    health_port: int = 0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"

    @property
    def record_store_url(self) -> str:
        """The SQLAlchemy URL of the record store: SQLite in the data directory unless told otherwise."""
        return self.database_url or f"sqlite:///{self.data_dir.resolve() / 'records.db'}"

    @property
    def key_file(self) -> Path:
        """Where the master key is when the environment does not hold it."""
        return self.master_key_file or self.data_dir / "master.key"

    def integration_hosts(self) -> frozenset[str]:
        """The hosts of `allowed_hosts`; raises `ConfigurationError` when it cannot be read."""
        try:
            return parse_allowed_hosts(self.allowed_hosts)
        except ValueError as problem:
            raise ConfigurationError(f"RUNLANE_ALLOWED_HOSTS: {problem}.", "RUNLANE_ALLOWED_HOSTS") from None

    def sealer(self) -> Sealer:
        """The sealer of this installation; raises `ConfigurationError` when there is no usable master key."""
        try:
            if self.master_key is not None:
                return Sealer(*parse_master_keys(self.master_key))
            file = KeyFile(self.key_file)
            return Sealer(*file.read(), reload=file)
        except OSError:
            raise ConfigurationError(
                f"There is no master key: set RUNLANE_MASTER_KEY or write one to {self.key_file}.", "RUNLANE_MASTER_KEY"
            ) from None
        except ValueError as problem:
            raise ConfigurationError(f"RUNLANE_MASTER_KEY: {problem}.", "RUNLANE_MASTER_KEY") from None


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment; raises `ConfigurationError` naming the variable that cannot be read.

    An empty variable counts as unset. What holds a password may be in a file instead: `RUNLANE_NATS_PASSWORD_FILE`,
    `RUNLANE_DATABASE_URL_FILE`, `RUNLANE_REDIS_URL_FILE`. Unknown `RUNLANE_…` variables are left alone: tools of ours
    have their own.
    """
    source = os.environ if environ is None else environ
    names = {field.name for field in msgspec.structs.fields(Settings)}
    given = {name: source[_PREFIX + name.upper()] for name in names if source.get(_PREFIX + name.upper())}
    given = _from_files(source) | given
    values: dict[str, object] = {}
    for field in msgspec.structs.fields(Settings):
        if field.name in given:
            values[field.name] = _read(field.name, given[field.name], field.type)
    return Settings(**values)  # type: ignore[arg-type]  # each value was converted to its field's type above


def _from_files(source: Mapping[str, str]) -> dict[str, str]:
    found = {}
    for name in _FROM_FILES:
        variable = f"{_PREFIX}{name.upper()}_FILE"
        if source.get(variable):
            try:
                found[name] = Path(source[variable]).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as problem:
                raise ConfigurationError(f"{variable} cannot be read: {problem}.", variable) from None
    return found


def _read(name: str, text: str, type_: object) -> object:
    if type_ is Path or type_ == Path | None:
        return Path(text)
    try:
        return msgspec.convert(text, type_, strict=False)
    except msgspec.ValidationError as problem:
        variable = _PREFIX + name.upper()
        raise ConfigurationError(f"{variable}={text!r} is not usable: {problem}.", variable) from None
