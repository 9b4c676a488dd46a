"""One engine of a chaos run: the processes that `runlane up` starts, each behind a proxy of its own, kept by its
supervisor, with two executors and two schedulers."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from runlane.contracts.grants import OPERATOR
from runlane.settings import Settings
from runlane_cli.brokerwatch import keep_writing
from runlane_cli.datadir import Credentials, DataDirectory, write_private
from runlane_cli.natsserver import NatsServer, find_program, free_port
from runlane_cli.offline import bootstrap
from runlane_cli.process import ServiceSpec
from runlane_cli.supervisor import RestartPauses, Service, start_together
from tests.chaos.proxy import Proxy
from tests.support.engine import descendants

SERVICES = ("recorder", "executor-1", "executor-2", "scheduler-1", "scheduler-2", "gateway")
#: Processes behind one file system, so that it can be filled. The rest is for the queue, which reserves its share.
DISK_BYTES = 2 * 1024**3
WORKFLOWS = Path(__file__).parent / "workflows"


class Cluster:
    """All processes, under `directory`. `switches`: what the shim turns off in the services (negative controls)."""

    def __init__(self, directory: Path, switches: tuple[str, ...], database_url: str | None = None) -> None:
        self.directory, self._switches, self._database_url = directory, switches, database_url
        self.data = DataDirectory(directory / "disk" / "data")
        self.disk = directory / "disk"
        self.own_disk = False
        self.told: list[str] = []
        self._nats = NatsServer(directory=self.data.nats, port=free_port(), password="chaos", max_bytes=DISK_BYTES)
        self.links = {name: Proxy(self._nats.port) for name in SERVICES}
        self.services: dict[str, Service] = {}
        self.port = free_port()
        self.credentials: Credentials | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> Settings:
        """What a client of the broker itself, past all proxies, needs."""
        return Settings(
            data_dir=self.data.path,
            nats_url=self._nats.url,
            nats_user=OPERATOR,
            nats_password=self._nats.password_of(OPERATOR),
            database_url=self._database_url,
            queue_max_bytes=DISK_BYTES // 8,
        )

    async def start(self) -> None:
        self._mount()
        self.data.create()
        self.data.ensure_master_key()
        shutil.copytree(WORKFLOWS, self.directory / "workflows", dirs_exist_ok=True)
        self.credentials = self.data.ensure_credentials()
        for link in self.links.values():
            await link.start()
        write_private(self.data.path / "nats.conf", self._nats.config().encode())
        self.services["nats-server"] = broker = self._service("nats-server", self._broker())
        await broker.start()
        self._watching = asyncio.create_task(keep_writing(self._nats, broker, self.told.append))
        await bootstrap(self.settings, self.credentials)
        for name in SERVICES:
            self.services[name] = self._service(name, self._spec(name))
        await start_together(*(self.services[name] for name in SERVICES))

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        for name in reversed(self.services):
            self.services[name].kill()
        for name in reversed(self.services):
            await self.services[name].stop()
        for link in self.links.values():
            link.stop()

    async def end(self, *names: str) -> None:
        """End services as a restart would."""
        for name in names:
            await self.services[name].stop()

    def unmount(self) -> None:
        if self.own_disk:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)

    def pids(self, name: str) -> list[int]:
        """The process of a service, or for `child` those that run authors' code."""
        if name != "child":
            pid = self.services[name].pid
            return [] if pid is None else [pid]
        found = []
        for executor in ("executor-1", "executor-2"):
            for pid in self.pids(executor):
                found += [child for child in descendants(pid) if _is_child(child)]
        return found

    def _mount(self) -> None:
        """A disk of its own where the user may have one; else there is none to fill."""
        self.disk.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "runlane-chaos", str(self.disk)]
        with contextlib.suppress(OSError):
            self.own_disk = subprocess.run(mount, capture_output=True, check=False).returncode == 0

    def _service(self, name: str, spec: ServiceSpec) -> Service:
        return Service(spec, self.told.append, lambda: None, RestartPauses(longest=2.0))

    def _broker(self) -> ServiceSpec:
        return ServiceSpec(
            name="nats-server",
            command=(find_program(), "-c", str(self.data.path / "nats.conf")),
            log=self.directory / "nats-server.log",
            environment=dict(os.environ),
            ready=self._nats.answers,
        )

    def _spec(self, name: str) -> ServiceSpec:
        kind = name.partition("-")[0]
        return ServiceSpec(
            name=name,
            command=(sys.executable, "-P", str(Path(__file__).with_name("shim.py")), kind, *self._switches),
            log=self.directory / f"{name}.log",
            environment={**os.environ, **self._environment(name)},
            stop_seconds=20,
        )

    def _environment(self, name: str) -> dict[str, str]:
        kind = name.partition("-")[0]
        told = {
            "DATA_DIR": str(self.data.path),
            "NATS_URL": f"nats://127.0.0.1:{self.links[name].port}",
            "NATS_USER": kind,
            "NATS_PASSWORD": self._nats.password_of(kind),
            "QUEUE_MAX_BYTES": str(DISK_BYTES // 8),
            "WORKFLOWS": str(self.directory / "workflows"),
            "HTTP_PORT": str(self.port),
            "DRAIN_DELAY": "0",
            "LOG_LEVEL": "info",
        }
        if self._database_url:
            told["DATABASE_URL"] = self._database_url
        return {f"RUNLANE_{key}": value for key, value in told.items()}


def _is_child(pid: int) -> bool:
    """Children of the fork server, which is itself one of the executor."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return b"multiprocessing.forkserver" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
