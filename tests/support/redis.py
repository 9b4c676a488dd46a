"""A real Redis of the tests' own: free port, nothing on disk, kill, freeze and restart at will."""

import abc
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from tests.support.ports import quiet_port
from tests.support.stopping import stop

INSTRUCTIONS = (
    "no Redis server: run scripts/install_redis.sh, install one (Debian: apt-get install redis-server), "
    "point RUNLANE_REDIS_SERVER at one, or start Docker, which serves most tests"
)


def redis_server_binary() -> str:
    """The redis-server to test with; raises with instructions where there is none."""
    named = os.environ.get("RUNLANE_REDIS_SERVER")
    found = named or shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise RuntimeError(INSTRUCTIONS)
    return found


class Redis(abc.ABC):
    """What tests do with a Redis, whoever runs it. Its port stays the same from start to start."""

    def __init__(self) -> None:
        self.port = quiet_port()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        """Whether it answers, and be it with a refusal: a port alone may be that of who stands before it."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(1) != b""
        except OSError:
            return False

    @abc.abstractmethod
    def start(self) -> None:
        """Start it, empty, and wait until it answers."""

    @abc.abstractmethod
    def kill(self) -> None:
        """kill -9."""

    @abc.abstractmethod
    def pause(self) -> None:
        """It keeps its connections and answers nothing."""

    @abc.abstractmethod
    def resume(self) -> None:
        """It answers again."""

    @abc.abstractmethod
    def remove(self) -> None:
        """End it and remove all it had."""

    def contents(self) -> dict[bytes, bytes]:
        """Every key and its value."""
        with redis.Redis.from_url(self.url) as client:
            return {key: client.get(key) or b"" for key in client.scan_iter()}

    def let_pass(self, seconds: float) -> None:
        """Age all it holds: keys end so much sooner, and moments that they hold are so much nearer."""
        with redis.Redis.from_url(self.url) as client:
            for key, value in self.contents().items():
                left = client.pttl(key) - int(seconds * 1000)
                moment = str(int(value) - int(seconds * 1e6)).encode() if value.isdigit() else value
                client.set(key, moment, px=max(1, left))
                if left <= 1:
                    client.delete(key)

    def clear(self) -> None:
        """Empty it."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()


class RedisServer(Redis):
    """One redis-server process."""

    def __init__(self, *options: str, config: Path | None = None) -> None:
        super().__init__()
        self._options, self._config = options, () if config is None else (str(config),)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="runlane-redis-"))

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def command(self) -> tuple[str, ...]:
        options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self._directory))
        return (redis_server_binary(), *self._config, "--port", str(self.port), *options, *self._options)

    def start(self) -> None:
        self._process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.answers():
                return
            time.sleep(0.01)
        raise RuntimeError("redis-server did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        assert self._process is not None
        stop(self._process.pid)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)
