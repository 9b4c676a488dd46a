"""A real Redis of the tests' own: free port, nothing on disk, kill, freeze and restart at will."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis

from tests.support.stopping import stop

INSTRUCTIONS = (
    "no Redis server: run scripts/install_redis.sh, install one (Debian: apt-get install redis-server), "
    "or point RUNLANE_REDIS_SERVER at one"
)


def redis_server_binary() -> str:
    """The redis-server to test with; raises with instructions where there is none."""
    named = os.environ.get("RUNLANE_REDIS_SERVER")
    found = named or shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise RuntimeError(INSTRUCTIONS)
    return found


class RedisServer:
    """One redis-server process."""

    def __init__(self, *options: str, config: Path | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._options, self._config = options, () if config is None else (str(config),)
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = Path(tempfile.mkdtemp(prefix="runlane-redis-"))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def command(self) -> tuple[str, ...]:
        options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self._directory))
        return (redis_server_binary(), *self._config, "--port", str(self.port), *options, *self._options)

    def start(self) -> None:
        """Start it, on the same port as before, and wait until it takes connections."""
        self._process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.answers():
                return
            time.sleep(0.01)
        raise RuntimeError("redis-server did not start")

    def answers(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        assert self._process is not None
        stop(self._process.pid)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def remove(self) -> None:
        """End it and remove all it had."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    # --- what it holds ------------------------------------------------------------------------------------------------

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
