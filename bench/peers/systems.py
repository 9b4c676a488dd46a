"""The peers: what each needs, how it is started, and which door of it does what."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
from msgspec import Struct

from tests.support.engine import Engine
from tests.support.nats import NatsServer
from tests.support.postgresql import PostgresqlServer
from tests.support.redis import RedisServer

APPS = Path(__file__).parent / "apps"
_WEB = ("uvicorn[standard]", "starlette")


class Doors(Struct, frozen=True, kw_only=True):
    """Where a running peer is called; None: it has no such thing. `done` counts finished executions."""

    port: int
    done: Callable[[str], int]
    sync: str | None = None
    background: str | None = None
    five: str | None = None
    headers: str = ""


class Room:
    """Where one peer runs: its directory, its environment, everything that ends with it."""

    def __init__(self, directory: Path, python: Path, stack: ExitStack, port: int) -> None:
        self.directory, self.python, self.port = directory, python, port
        self.stack = stack
        self.marks = directory / "marks"
        self.environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(APPS), "BENCH_MARKS": str(self.marks)}
        self.environment["HOME"] = str(directory)

    def run(self, *command: str, wait: bool = False) -> None:
        """Start a process that ends with the room, or run one to its end."""
        log = (self.directory / "log").open("ab")
        process = subprocess.Popen(command, env=self.environment, cwd=self.directory, stdout=log, stderr=log)
        if wait:
            if process.wait(120) != 0:
                raise RuntimeError(f"{command} failed: {self.log()}")
        else:
            self.stack.callback(_end, process)

    def serve(self, app: str) -> None:
        """Serve an ASGI application on the room's port."""
        self.run(str(self.python), "-m", "uvicorn", app, "--port", str(self.port), "--log-level", "warning")
        self.answers(f"http://127.0.0.1:{self.port}/")

    def answers(self, url: str, within: float = 60) -> None:
        """Wait until somebody answers there, whatever it is."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                httpx.get(url, timeout=2)
                return
            except httpx.TransportError:
                time.sleep(0.05)
        raise RuntimeError(f"nobody answers at {url}: {self.log()}")

    def done(self, _: str) -> int:
        """How many executions have left their mark."""
        return self.marks.stat().st_size if self.marks.exists() else 0

    def log(self) -> str:
        log = self.directory / "log"
        return log.read_text()[-3000:] if log.exists() else ""

    def redis(self) -> None:
        """A Redis that flushes once a second, as its documents advise for queues."""
        server = RedisServer("--appendonly", "yes", "--appendfsync", "everysec")
        server.start()
        self.stack.callback(server.remove)
        self.environment["BENCH_REDIS"] = server.url

    def nats(self) -> None:
        server = NatsServer(self.directory / "nats")
        server.start()
        self.stack.callback(server.stop)
        self.environment["BENCH_NATS"] = server.url

    def postgresql(self) -> None:
        server = PostgresqlServer()
        server.make()
        self.stack.callback(server.remove)
        self.environment["BENCH_POSTGRESQL"] = server.create_database()


class Peer(Struct, frozen=True, kw_only=True):
    """One system. `durability`: what an acknowledged execution survives as it is measured here."""

    name: str
    packages: tuple[str, ...]
    durability: str
    start: Callable[[Room], Doors]
    node_packages: tuple[str, ...] = ()


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _runlane(durability: str) -> Callable[[Room], Doors]:
    def start(room: Room) -> Doors:
        engine = Engine(room.directory / "data", Path(__file__).parents[1] / "workflows", "--durability", durability)
        engine.start()
        room.stack.callback(engine.stop)

        def recorded(door: str) -> int:
            import sqlite3

            with sqlite3.connect(f"file:{engine.data}/records.db?mode=ro", uri=True) as store:
                workflow = door.rpartition("/")[2]
                query = "SELECT count(*) FROM executions WHERE workflow = ? AND status = 'Success'"
                count: int = store.execute(query, (workflow,)).fetchone()[0]
                return count

        return Doors(
            port=engine.port,
            done=recorded,
            sync="/workflows/noop_sync",
            background="/workflows/noop_async",
            five="/workflows/five_steps",
            headers=f"Authorization: Bearer {engine.credentials()['org_key']}\r\n",
        )

    return start


def _taskiq(broker: str) -> Callable[[Room], Doors]:
    def start(room: Room) -> Doors:
        room.redis()
        room.nats()
        room.environment["BENCH_BROKER"] = broker
        worker = ("worker", "taskiq_app:broker", "--workers", "2", "--max-async-tasks", "100", "--log-level", "WARNING")
        room.run(str(room.python), "-m", "taskiq", *worker)
        room.serve("taskiq_app:app")
        return Doors(port=room.port, done=room.done, sync="/sync", background="/async")

    return start


def _celery(room: Room) -> Doors:
    room.redis()
    room.run(str(room.python), "-m", "celery", "-A", "celery_app:celery", "worker", "-c", "4", "--loglevel", "WARNING")
    room.serve("celery_app:app")
    return Doors(port=room.port, done=room.done, sync="/sync", background="/async")


def _dbos(room: Room) -> Doors:
    room.postgresql()
    room.serve("dbos_app:app")
    return Doors(port=room.port, done=room.done, sync="/sync", background="/async", five="/five")


def _procrastinate(room: Room) -> Doors:
    room.postgresql()
    command = (str(room.python), "-m", "procrastinate", "--app", "procrastinate_app.tasks")
    room.run(*command, "schema", "--apply", wait=True)
    room.run(*command, "worker", "--concurrency", "64")
    room.serve("procrastinate_app:app")
    return Doors(port=room.port, done=room.done, background="/async")


def _prefect(room: Room) -> Doors:
    api = room.port + 1
    room.environment |= {
        "PREFECT_API_URL": f"http://127.0.0.1:{api}/api",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_HOME": str(room.directory / "prefect"),
    }
    room.run(str(room.python), "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(api))
    room.answers(f"http://127.0.0.1:{api}/api/health", within=120)
    room.run(str(room.python), str(APPS / "prefect_app.py"))
    room.serve("prefect_app:app")
    return Doors(port=room.port, done=room.done, sync="/sync", background="/async")


def _restate(room: Room) -> Doors:
    programs = room.directory.parent / "restate-node" / "node_modules" / "@restatedev"
    server = next(programs.glob("restate-server-linux-*/bin/restate-server"))
    ingress, admin, node = room.port + 1, room.port + 2, room.port + 3
    room.environment |= {
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_BASE_DIR": str(room.directory / "restate"),
        "RESTATE_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
    }
    room.run(str(server))
    room.answers(f"http://127.0.0.1:{admin}/health")
    room.serve("restate_app:app")
    told = {"uri": f"http://127.0.0.1:{room.port}", "use_http_11": True}
    for _ in range(100):
        if httpx.post(f"http://127.0.0.1:{admin}/deployments", json=told, timeout=10).is_success:
            break
        time.sleep(0.2)
    else:
        raise RuntimeError(f"Restate takes no deployment: {room.log()}")
    return Doors(
        port=ingress, done=room.done, sync="/Bench/noop", background="/Bench/noop/send", five="/Bench/five/send"
    )


PEERS = (
    Peer(name="Runlane", packages=(), durability="process crashes (buffered)", start=_runlane("buffered")),
    Peer(name="Runlane, fsync", packages=(), durability="power loss (fsync)", start=_runlane("fsync")),
    Peer(
        name="Restate",
        packages=("restate-sdk", *_WEB),
        node_packages=("@restatedev/restate-server",),
        durability="as it comes: one node, its log on disk",
        start=_restate,
    ),
    Peer(
        name="taskiq, NATS",
        packages=("taskiq", "taskiq-nats", "taskiq-redis", *_WEB),
        durability="process crashes (JetStream file); results in Redis, flushed each second",
        start=_taskiq("nats"),
    ),
    Peer(
        name="taskiq, Redis",
        packages=("taskiq", "taskiq-nats", "taskiq-redis", *_WEB),
        durability="the last second (appendfsync everysec)",
        start=_taskiq("redis"),
    ),
    Peer(
        name="Celery",
        packages=("celery[redis]", "anyio", *_WEB),
        durability="the last second (appendfsync everysec)",
        start=_celery,
    ),
    Peer(name="DBOS", packages=("dbos", *_WEB), durability="power loss (PostgreSQL, fsync)", start=_dbos),
    Peer(
        name="procrastinate",
        packages=("procrastinate", "psycopg[binary,pool]", *_WEB),
        durability="power loss (PostgreSQL, fsync)",
        start=_procrastinate,
    ),
    Peer(
        name="Prefect",
        packages=("prefect", "fastapi<0.120", *_WEB),
        durability="as it comes: its server on SQLite",
        start=_prefect,
    ),
)

THIS_PYTHON = Path(sys.executable)
