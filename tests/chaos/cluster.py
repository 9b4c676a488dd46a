"""One engine of a chaos run: real processes, each behind proxies of its own, kept by the supervisor of `runlane up`."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from runlane.contracts.grants import OPERATOR
from runlane.errors import BusUnavailable
from runlane.settings import Settings
from runlane_cli.brokerwatch import keep_writing
from runlane_cli.datadir import Credentials, DataDirectory, write_private
from runlane_cli.natsserver import find_program
from runlane_cli.offline import bootstrap
from runlane_cli.process import ServiceSpec
from runlane_cli.supervisor import RestartPauses, Service, start_together
from tests.chaos.brokers import Brokers
from tests.chaos.proxy import Proxy
from tests.chaos.topology import Topology
from tests.support.engine import descendants
from tests.support.eventually import eventually
from tests.support.ports import quiet_port
from tests.support.redis import RedisServer

#: Processes behind one file system, so that it can be filled. The rest is for the queue, which reserves its share.
DISK_BYTES = 2 * 1024**3
WORKFLOWS = Path(__file__).parent / "workflows"


class Cluster:
    """All processes, under `directory`. `switches`: what the shim turns off in the services (negative controls)."""

    def __init__(
        self, there: Topology, directory: Path, switches: tuple[str, ...], database_url: str | None = None
    ) -> None:
        self.there = there
        self.directory, self._switches, self.database_url = directory, switches, database_url
        self.data = DataDirectory(directory / "disk" / "data")
        self.disk = directory / "disk"
        self.own_disk = False
        self.told: list[str] = []
        self.brokers = Brokers(there.brokers, self.data.nats, DISK_BYTES // len(there.brokers))
        self.links = {name: self.brokers.link() for name in there.services}
        self._ports = {name: quiet_port() for name in there.gateways}
        self._balancer = Proxy(*self._ports.values())
        self.redis = RedisServer() if there.caches else None
        self.services: dict[str, Service] = {}
        self.credentials: Credentials | None = None
        self._watching: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._balancer.port}"

    @property
    def settings(self) -> Settings:
        """What a client of the broker itself, past all proxies, needs."""
        return Settings(
            data_dir=self.data.path,
            nats_url=self.brokers.url,
            nats_user=OPERATOR,
            nats_password=self.brokers.password_of(OPERATOR),
            database_url=self.database_url,
            queue_max_bytes=DISK_BYTES // 16,
            stream_replicas=len(self.there.brokers),
        )

    async def start(self) -> None:
        self._mount()
        self.data.create()
        self.data.ensure_master_key()
        shutil.copytree(WORKFLOWS, self.directory / "workflows", dirs_exist_ok=True)
        self.credentials = self.data.ensure_credentials()
        for link in (self._balancer, *self.links.values()):
            await link.start()
        await self._start_brokers()
        await self._bootstrap()
        if self.redis is not None:
            self.services["redis"] = self._service("redis", self._cache(self.redis))
            await start_together(self.services["redis"])
        for name in self.there.services:
            self.services[name] = self._service(name, self._spec(name))
        await start_together(*(self.services[name] for name in self.there.services))

    async def _start_brokers(self) -> None:
        await self.brokers.start_proxies()
        for name, server in self.brokers.servers.items():
            server.directory.mkdir(parents=True, exist_ok=True)
            write_private(self.data.path / f"{name}.conf", self.brokers.config(name).encode())
            self.services[name] = self._service(name, self._broker(name))
        await start_together(*self.services.values())
        for name, server in self.brokers.servers.items():
            self._watching.append(asyncio.create_task(keep_writing(server, self.services[name], self.told.append)))

    async def _bootstrap(self) -> None:
        assert self.credentials is not None
        for attempt in range(10):
            try:
                await bootstrap(self.settings, self.credentials)
                return
            except BusUnavailable:  # a cluster elects its leaders first
                if attempt == 9:
                    raise

    async def stop(self) -> None:
        for watching in self._watching:
            watching.cancel()
        for name in reversed(self.services):
            self.services[name].kill()
        for name in reversed(self.services):
            await self.services[name].stop()
        for link in (self._balancer, *self.links.values()):
            link.stop()
        self.brokers.stop()

    async def end(self, *names: str) -> None:
        """End services as a restart would."""
        for name in names:
            await self.services[name].stop()

    def unmount(self) -> None:
        if self.redis is not None:
            self.redis.remove()
        if self.own_disk:
            subprocess.run(["umount", "-l", str(self.disk)], check=False)

    def pids(self, name: str) -> list[int]:
        """The process of a service, or for `child` those that run authors' code."""
        if name != "child":
            pid = self.services[name].pid
            return [] if pid is None else [pid]
        found = []
        for executor in self.there.executors:
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

    def _broker(self, name: str) -> ServiceSpec:
        return ServiceSpec(
            name=name,
            command=self.brokers.command(name, (find_program(), "-c", str(self.data.path / f"{name}.conf"))),
            log=self.directory / f"{name}.log",
            environment=dict(os.environ),
            ready=self.brokers.servers[name].answers,
        )

    def _cache(self, server: RedisServer) -> ServiceSpec:
        async def answers() -> None:
            await eventually(server.answers)

        return ServiceSpec(
            name="redis",
            command=server.command,
            log=self.directory / "redis.log",
            environment=dict(os.environ),
            ready=answers,
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
            "NATS_URL": self.links[name].url,
            "NATS_USER": kind,
            "NATS_PASSWORD": self.brokers.password_of(kind),
            "STREAM_REPLICAS": str(len(self.there.brokers)),
            "QUEUE_MAX_BYTES": str(DISK_BYTES // 16),
            "WORKFLOWS": str(self.directory / "workflows"),
            "HTTP_PORT": str(self._ports.get(name, 0)),
            "DRAIN_DELAY": "0",
            "LOG_LEVEL": "info",
        }
        if self.database_url:
            told["DATABASE_URL"] = self.database_url
        if self.redis is not None and kind in ("gateway", "executor"):
            told["REDIS_URL"] = self.redis.url
        return {f"RUNLANE_{key}": value for key, value in told.items()}


def _is_child(pid: int) -> bool:
    """Children of the fork server, which is itself one of the executor."""
    try:
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        return b"multiprocessing.forkserver" in Path(f"/proc/{parent}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
