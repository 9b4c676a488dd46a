"""One child process of the supervisor: started in a session of its own, tied to our life, its stderr in a log file."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from subprocess import DEVNULL

from msgspec import Struct

_TETHER = str(Path(__file__).with_name("tether.py"))
_TAIL_BYTES = 4096


class ServiceSpec(Struct, frozen=True, kw_only=True):
    """What to run. `ready` returns once it serves; without it, the process says so on RUNLANE_READY_FD.

    `stop_seconds`: how long it may drain between SIGTERM and SIGKILL.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]
    stop_seconds: float = 10.0
    ready: Callable[[], Awaitable[None]] | None = None


class ServiceProcess:
    """A process that was started. The terminal's Ctrl-C does not reach it; our death does (on Linux)."""

    def __init__(self, process: asyncio.subprocess.Process, says_ready: Awaitable[bool]) -> None:
        self._process = process
        self._says_ready = says_ready

    @classmethod
    async def start(cls, spec: ServiceSpec) -> "ServiceProcess":
        if spec.ready is not None:
            return cls(await _spawn(spec, {}, ()), _answers(spec.ready))
        reading, writing = os.pipe()
        try:
            process = await _spawn(spec, {"RUNLANE_READY_FD": str(writing)}, (writing,))
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return cls(process, _told_ready(reading))

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self) -> bool:
        """True once it serves, False when it ended before."""
        waiting = {asyncio.ensure_future(self._says_ready), asyncio.ensure_future(self._process.wait())}
        done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return self._process.returncode is None and any(task.result() is True for task in done)

    async def wait(self) -> int:
        """Its exit code, negative for a signal. What it left running of its own is ended with it."""
        code = await self._process.wait()
        self.kill()
        return code

    def terminate(self) -> None:
        """Ask it to drain."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and everything it started, at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def describe_exit(code: int) -> str:
    """`exit code 1`, `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def last_lines(log: Path, count: int = 8) -> str:
    """The end of a log, for somebody who wants to know why a service does not start."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in lines[-count:])


async def _spawn(spec: ServiceSpec, extra: Mapping[str, str], pass_fds: tuple[int, ...]) -> asyncio.subprocess.Process:
    tethered = (sys.executable, "-I", "-S", _TETHER, str(os.getpid()), *spec.command)
    with spec.log.open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *tethered,
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            env={**spec.environment, **extra},
            pass_fds=pass_fds,
            start_new_session=True,
        )


async def _told_ready(descriptor: int) -> bool:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", 0)
    )
    try:
        return await reader.readline() == b"ready\n"
    finally:
        transport.close()


async def _answers(ready: Callable[[], Awaitable[None]]) -> bool:
    await ready()
    return True
