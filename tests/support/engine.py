"""The whole engine as a user starts it: `runlane up` in a subprocess, spoken to over HTTP, killed by pid."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import quiet_port


class Engine:
    """One `runlane up` on its own data directory and port."""

    def __init__(self, data: Path, workflows: Path, *options: str) -> None:
        self.data, self.workflows, self.options = data, workflows, options
        self.port = quiet_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, within: float = 60) -> None:
        """Start it and wait until it says that it is ready."""
        command = [sys.executable, "-m", "runlane_cli.main", "up", "--data", str(self.data)]
        command += ["--workflows", str(self.workflows), "--port", str(self.port), *self.options]
        log = (self.data.parent / f"{self.data.name}.up.log").open("ab")
        with log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"runlane up ended: {self.log()}"
            try:
                if httpx.get(f"{self.url}/readyz", timeout=1).status_code == 200 and self.credentials():
                    return
            except (httpx.TransportError, FileNotFoundError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"not ready within {within} s: {self.log()}")

    def stop(self, within: float = 60) -> None:
        """Ctrl-C, and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(within)
        self.process = None

    def kill(self) -> None:
        """kill -9 of the supervisor: everything must go with it."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)
        self.process = None

    def log(self) -> str:
        """The end of everything that was logged."""
        texts = [self.data.parent / f"{self.data.name}.up.log", *sorted((self.data / "logs").glob("*.log"))]
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in texts if path.exists())

    def credentials(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data / "credentials.json").read_text())
        return found

    def client(self, *, admin: bool = False) -> httpx.AsyncClient:
        """An HTTP client with the demo organisation's key, or the administrator's speaking for that organisation."""
        keys = self.credentials()
        headers = {"Authorization": f"Bearer {keys['admin_key' if admin else 'org_key']}"}
        if admin:
            headers["X-Organization-Id"] = "demo"
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=40)

    def pids(self, service: str) -> list[int]:
        """The processes of a service: `gateway`, `executor`, `scheduler`, `recorder`, `nats-server` or `child`."""
        assert self.process is not None
        family = descendants(self.process.pid)
        if service == "child":
            servers = {pid for pid in family if "multiprocessing.forkserver" in _command(pid)}
            return [pid for pid in family if _parent(pid) in servers]
        needle = "nats-server" if service == "nats-server" else f"serve {service}"
        return [pid for pid in family if needle in _command(pid)]

    def kill_service(self, service: str) -> None:
        """kill -9 of every process of a service."""
        pids = self.pids(service)
        assert pids, f"no process of {service}"
        for pid in pids:
            os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    return Path(f"/proc/{pid}").exists()


def descendants(root: int) -> list[int]:
    """Every process below one."""
    parents = {int(entry.name): _parent(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
    found, family = [root], []
    while found:
        pid = found.pop()
        family.append(pid)
        found += [child for child, parent in parents.items() if parent == pid]
    return family[1:]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""
