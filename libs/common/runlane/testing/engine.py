"""The whole engine for a test session: `runlane up` as a process on a free port. Called by the pytest plugin."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import httpx

__all__ = ["RunningEngine"]

_START_SECONDS = 60.0
_STOP_SECONDS = 60.0
_ANSWER_SECONDS = 45.0


class RunningEngine:
    """An engine over a directory of workflows. Use it in a `with` block."""

    def __init__(self, workflows: Path, data: Path) -> None:
        self._workflows, self._data = workflows, data
        self._process: subprocess.Popen[bytes] | None = None
        self._log = data.parent / f"{data.name}.log"
        #: Where the gateway is.
        self.url = ""
        #: A key of an administrator, and one of the organisation `org`.
        self.api_key = self.org_api_key = self.org = ""

    def __enter__(self) -> "RunningEngine":
        command = [sys.executable, "-m", "runlane_cli.main", "up", "--json", "--port", "0"]
        command += ["--workflows", str(self._workflows), "--data", str(self._data)]
        # What this shell is set to talk to is another engine.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNLANE_")}
        kept = {name: value for name, value in os.environ.items() if name == "RUNLANE_NATS_SERVER"}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env={**environment, **kept}
            )
        try:
            known = json.loads(self._first_line(self._process))
        except BaseException:
            self._end()
            raise
        self.url, self.org = known["url"], known["org"]
        self.api_key, self.org_api_key = known["apiKey"], known["orgApiKey"]
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def client(self, *, admin: bool = False) -> httpx.Client:
        """An HTTP client with the organisation's key, or the administrator's speaking for that organisation."""
        headers = {"Authorization": f"Bearer {self.api_key if admin else self.org_api_key}"}
        if admin:
            headers["X-Organization-Id"] = self.org
        return httpx.Client(base_url=self.url, headers=headers, timeout=_ANSWER_SECONDS, trust_env=False)

    def run(self, workflow: str, /, **parameters: Any) -> dict[str, Any]:
        """Run a workflow and return `GET /executions/{id}` once it has ended; raises `RuntimeError` when refused."""
        with self.client() as client:
            started = client.post(f"/workflows/{workflow}", json=parameters, headers={"Prefer": "respond-async"})
            if started.status_code != httpx.codes.ACCEPTED:
                raise RuntimeError(f"{workflow} was refused: {started.text}")
            while True:
                execution: dict[str, Any] = client.get(started.json()["pollUrl"], params={"wait": 20}).json()
                if execution["status"] in ("Success", "Failed", "Cancelled"):
                    return execution

    def _first_line(self, process: "subprocess.Popen[bytes]") -> bytes:
        """What `runlane up --json` prints when it is ready."""
        if process.stdout is None:
            raise RuntimeError("the engine's output is not read")
        line, deadline = b"", time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise RuntimeError(f"the engine is not ready after {_START_SECONDS:g} s: {self._said()}")
                line += self._some(process.stdout)
        return line

    def _some(self, output: IO[bytes]) -> bytes:
        read = os.read(output.fileno(), 4096)
        if not read:
            raise RuntimeError(f"the engine ended: {self._said()}")
        return read

    def _said(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()
