"""The data directory of an embedded engine: its layout, its lock, its secrets. Used by `up`, and by what looks for it.

master.key          seals secrets and parameters at rest; without it they are lost
credentials.json    API keys made at the first start
runlane.json        where the engine listens, while it runs
nats/  records.db   the streams and the record store
logs/               what services wrote to stderr
"""

import fcntl
import os
import secrets
import string
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct, field

from .problems import USAGE, CommandFailed

DEFAULT = Path(".runlane")

_ALPHABET = string.ascii_lowercase + string.digits
_SECRET_ALPHABET = string.ascii_letters + string.digits
_LOG_BYTES = 10 * 1024 * 1024
_T = TypeVar("_T", bound=Struct)


class Credentials(Struct, frozen=True, kw_only=True):
    """The keys in plain, for the commands of this directory; the engine itself keeps only digests.

    `admin_key` may do everything in every organisation, `org_key` belongs to `org`.
    """

    org: str
    admin_key: str
    org_key: str


class EngineState(Struct, frozen=True, kw_only=True):
    """A running engine. `services` maps names to process ids; what follows is for `runlane doctor`."""

    url: str
    pid: int
    nats_url: str
    nats_user: str
    nats_password: str
    services: Mapping[str, int] = field(default_factory=dict)
    observer_password: str = ""
    subscriber_password: str = ""
    durability: Literal["fsync", "buffered"] = "buffered"
    queue_max_bytes: int | None = None


def new_api_key() -> str:
    """`rl_{id}_{secret}`: the secret has 256 bits and no `_`."""
    key_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    secret = "".join(secrets.choice(_SECRET_ALPHABET) for _ in range(43))
    return f"rl_{key_id}_{secret}"


class DataDirectory:
    """One data directory; nothing is created before `create`."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.nats = self.path / "nats"
        self.master_key = self.path / "master.key"
        self._credentials = self.path / "credentials.json"
        self._state = self.path / "runlane.json"

    def create(self) -> None:
        """Make it, readable for its owner alone, if it is not there."""
        try:
            if not self.path.is_dir():
                self.path.mkdir(mode=0o700, parents=True)
                # Keys lie here: they must not be committed by accident.
                (self.path / ".gitignore").write_text("*\n", encoding="utf-8")
            (self.path / "logs").mkdir(mode=0o700, exist_ok=True)
            self.nats.mkdir(mode=0o700, exist_ok=True)
        except OSError as problem:
            raise CommandFailed(f"The data directory {self.path} cannot be made: {problem.strerror}.", USAGE) from None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process; raises `CommandFailed` when another holds it."""
        with (self.path / "lock").open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise CommandFailed(
                    f"An engine is already running on {self.path} (process {holder}). "
                    "Stop it first, or choose another directory with --data.",
                    USAGE,
                ) from None
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def ensure_master_key(self) -> None:
        """Make the master key of a fresh directory; raises `CommandFailed` when the key of a used one is gone."""
        if self.master_key.exists():
            return
        if (self.nats / "jetstream").exists():
            raise CommandFailed(
                f"{self.master_key} is gone, and what is stored in {self.path} cannot be read without it. "
                "Put it back from your backup, or start on a new directory with --data.",
                USAGE,
            )
        from runlane.sealing import generate_master_key  # not needed by commands that only look for the engine

        write_private(self.master_key, generate_master_key().encode())

    def ensure_credentials(self) -> Credentials:
        """The keys of this directory, made now if it has none."""
        known = self.credentials()
        if known is not None:
            return known
        made = Credentials(org="demo", admin_key=new_api_key(), org_key=new_api_key())
        write_private(self._credentials, msgspec.json.format(msgspec.json.encode(made)))
        return made

    def credentials(self) -> Credentials | None:
        """The keys of this directory, if it has any."""
        return _read(self._credentials, Credentials)

    def state(self) -> EngineState | None:
        """The engine that runs on this directory, as far as it is known here."""
        return _read(self._state, EngineState)

    def write_state(self, state: EngineState) -> None:
        write_private(self._state, msgspec.json.encode(state))

    def forget_state(self) -> None:
        self._state.unlink(missing_ok=True)

    def log(self, service: str) -> Path:
        """The log of a service; one that has grown large is put aside first (`….log.1`)."""
        path = self.path / "logs" / f"{service}.log"
        if path.exists() and path.stat().st_size > _LOG_BYTES:
            path.replace(path.with_suffix(".log.1"))
        return path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one that only its owner can read, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)


def _read(path: Path, type_: type[_T]) -> _T | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=type_)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as problem:
        raise CommandFailed(f"{path} cannot be read: {problem}", USAGE) from None
