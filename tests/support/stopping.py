"""Stops a process as SIGSTOP does, and knows when it stands."""

import os
import signal
import time
from pathlib import Path


def stop(pid: int, within: float = 10.0) -> None:
    """SIGSTOP, and wait until each of its threads has stopped: on another core one may answer a call meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + within
    while not _stands(pid):
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        time.sleep(0.001)


def _stands(pid: int) -> bool:
    states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(state in "TZ" for state in states)
