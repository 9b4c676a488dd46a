"""A real nats-server of the tests' own: free port, own store, kill and restart at will."""

import json
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path

from tests.support.stopping import stop


def nats_server_binary() -> str:
    """The nats-server to test with; fails with instructions when there is none."""
    candidates = [os.environ.get("RUNLANE_NATS_SERVER"), f"{sysconfig.get_path('scripts')}/nats-server"]
    found = next((path for path in candidates if path and Path(path).exists()), None) or shutil.which("nats-server")
    if found is None:
        raise RuntimeError("no nats-server: run `make install`, or point RUNLANE_NATS_SERVER at one")
    return found


class NatsServer:
    """One nats-server process with JetStream in `directory`; under `config`, where everything it says holds."""

    def __init__(self, directory: Path, config: Path | None = None) -> None:
        self.directory, self.config = directory, config
        self.port = -1
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, on the same port as before if it ran before, and wait until it accepts connections."""
        self.directory.mkdir(parents=True, exist_ok=True)
        for stale in self.directory.glob("*.ports"):
            stale.unlink()
        log = self.directory / "nats.log"
        command = [nats_server_binary(), "--ports_file_dir", str(self.directory), "-l", str(log)]
        if self.config is None:
            command += ["-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.directory / "store")]
        else:
            command += ["-c", str(self.config)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            for file in self.directory.glob("*.ports"):
                text = file.read_text()
                if text:
                    self.port = int(json.loads(text)["nats"][0].rpartition(":")[2])
                    return
            if self._process.poll() is not None:
                break
        raise RuntimeError(f"nats-server did not start: {log.read_text() if log.exists() else 'no log'}")

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it in order."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        assert self._process is not None
        stop(self._process.pid)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None
