"""The embedded engine: nats-server, recorder, executors, scheduler and gateway as processes. Used by `up`.

Order matters when it stops: who takes work in goes first, the recorder goes last so that it stores what the others
said, and nats-server after it.
"""

import asyncio
import os
import secrets
import shutil
import sys
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from runlane.contracts.grants import OPERATOR, SUBSCRIBER
from runlane.settings import Settings

from .brokerwatch import keep_writing
from .datadir import DataDirectory, EngineState, write_private
from .natsserver import OBSERVER, NatsServer, find_program, free_port
from .process import ServiceSpec
from .supervisor import RestartPauses, Service, Tell, start_together, stop_together

_NATS_STOP_SECONDS = 10.0
_LAST_WORDS_SECONDS = 5.0  # for a service to close what it has open, after its drain
_STORE_SHARE = 0.75  # of the disk, as far as it is not taken by others
_LEAST_STORE = 1024**3  # even where there is no room: it may be made, and the disk itself is the limit until then
_QUEUE_SHARE = 4  # of that; JetStream refuses a stream that reserves more than there is


class EngineOptions(Struct, frozen=True, kw_only=True):
    """What `runlane up` was told."""

    data: Path
    workflows: Path
    host: str
    port: int
    executors: int
    reload: bool
    durability: Literal["fsync", "buffered"]

    @property
    def url(self) -> str:
        """Where the gateway is reached from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # nosec B104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


class Engine:
    """All processes of one engine. The data directory must exist and be locked."""

    def __init__(self, options: EngineOptions, settings: Settings, data: DataDirectory, tell: Tell) -> None:
        self._options, self._settings, self._data = options, settings, data
        self._store_bytes = _store_bytes(data.nats)
        self._nats = NatsServer(
            max_bytes=self._store_bytes,
            directory=data.nats,
            port=free_port(),
            password=secrets.token_hex(24),
            durability=options.durability,
        )
        self._broker_config = data.path / "nats.conf"
        self._environment = self._make_environment()
        self._running = False
        self._tell = tell
        self._watching: asyncio.Task[None] | None = None

        def service(name: str, kind: str, place: int | None = None) -> Service:
            return Service(self._spec(name, kind, place), tell, self._write_state, RestartPauses())

        self._broker = Service(self._broker_spec(), tell, self._write_state, RestartPauses())
        self._recorder = service("recorder", "recorder", 0)
        self._scheduler = service("scheduler", "scheduler", 1)
        self._gateway = service("gateway", "gateway")
        numbers = range(1, options.executors + 1)
        self._executors = [service(f"executor-{number}", "executor", 1 + number) for number in numbers]

    @property
    def services(self) -> list[Service]:
        """In the order in which they are started."""
        return [self._broker, self._recorder, *self._executors, self._scheduler, self._gateway]

    @property
    def bus_settings(self) -> Settings:
        """What whoever shapes this engine's streams needs to know: all that was set, and what only the engine knows."""
        return msgspec.structs.replace(
            self._settings,
            stream_replicas=1,
            data_dir=self._data.path,
            nats_url=self._nats.url,
            nats_user=OPERATOR,
            nats_password=self._nats.password_of(OPERATOR),
            durability=self._options.durability,
            queue_max_bytes=self._queue_max_bytes(),
        )

    async def start_broker(self) -> None:
        """Return once nats-server answers."""
        write_private(self._broker_config, self._nats.config().encode())
        await self._broker.start()
        self._watching = asyncio.create_task(keep_writing(self._nats, self._broker, self._tell))

    async def start_services(self) -> None:
        """Return once all services are ready; from then on `runlane.json` is kept up to date."""
        await start_together(*self.services[1:])
        self._running = True
        self._write_state()

    async def stop(self) -> None:
        """Drain and end everything. Safe whatever has been started."""
        self._running = False
        await self._gateway.stop()
        await self._scheduler.stop()
        await stop_together(*self._executors)
        await self._recorder.stop()
        if self._watching is not None:
            self._watching.cancel()
        await self._broker.stop()
        self._data.forget_state()

    def kill(self) -> None:
        """End everything now; `stop`, which waits for it, then returns soon."""
        for service in self.services:
            service.kill()

    def _broker_spec(self) -> ServiceSpec:
        return ServiceSpec(
            name="nats-server",
            command=(find_program(), "-c", str(self._broker_config)),
            log=self._data.log("nats-server"),
            environment=dict(os.environ),
            stop_seconds=_NATS_STOP_SECONDS,
            ready=self._nats.answers,
        )

    def _spec(self, name: str, kind: str, place: int | None) -> ServiceSpec:
        """`place`: how far after `health_port` its own is; None where it needs none."""
        first = self._settings.health_port
        port = 0 if place is None or not first else first + place
        return ServiceSpec(
            name=name,
            # -P: a file of the current directory must not be taken for a module of ours or of the standard library.
            command=(sys.executable, "-P", "-m", "runlane_cli.serve", kind),
            log=self._data.log(name),
            environment={
                **self._environment,
                "RUNLANE_NATS_USER": kind,
                "RUNLANE_NATS_PASSWORD": self._nats.password_of(kind),
                "RUNLANE_HEALTH_PORT": str(port),
            },
            stop_seconds=self._settings.drain_grace + _LAST_WORDS_SECONDS,
        )

    def _make_environment(self) -> dict[str, str]:
        options = self._options
        return {
            **os.environ,
            "RUNLANE_DATA_DIR": str(self._data.path),
            "RUNLANE_NATS_URL": self._nats.url,
            "RUNLANE_QUEUE_MAX_BYTES": str(self._queue_max_bytes()),
            "RUNLANE_WORKFLOWS": str(options.workflows.absolute()),
            "RUNLANE_HTTP_HOST": options.host,
            "RUNLANE_HTTP_PORT": str(options.port),
            "RUNLANE_RELOAD": "1" if options.reload else "0",
            "RUNLANE_DURABILITY": options.durability,
            # There is no second gateway that callers could go to.
            "RUNLANE_DRAIN_DELAY": os.environ.get("RUNLANE_DRAIN_DELAY", "0"),
        }

    def _queue_max_bytes(self) -> int:
        return min(self._settings.queue_max_bytes, self._store_bytes // _QUEUE_SHARE)

    def _write_state(self) -> None:
        if self._running:
            self._data.write_state(
                EngineState(
                    url=self._options.url,
                    pid=os.getpid(),
                    nats_url=self._nats.url,
                    nats_user=OPERATOR,
                    nats_password=self._nats.password_of(OPERATOR),
                    services={service.spec.name: service.pid for service in self.services if service.pid is not None},
                    observer_password=self._nats.password_of(OBSERVER),
                    subscriber_password=self._nats.password_of(SUBSCRIBER),
                    durability=self._options.durability,
                    queue_max_bytes=self._queue_max_bytes(),
                )
            )


def _store_bytes(directory: Path) -> int:
    """What the streams may take: a share of what is free and of what they have already."""
    taken = sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())
    return max(_LEAST_STORE, int(_STORE_SHARE * (taken + shutil.disk_usage(directory).free)))
