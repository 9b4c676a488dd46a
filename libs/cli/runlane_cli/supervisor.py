"""Keeps services running: starts them, waits until ready, starts again what dies, stops them. Used by `engine`."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from .problems import CommandFailed
from .process import ServiceProcess, ServiceSpec, describe_exit, last_lines

Tell = Callable[[str], None]

#: What a service exits with when its settings cannot work (see runlane.service): starting it again does not help.
_SETTINGS_CANNOT_WORK = 2
_DEATHS_BEFORE_READY = 3
_START_SECONDS = 60.0


class RestartPauses:
    """How long to wait before starting a service again: not at all at first, then longer each time, up to `longest`."""

    def __init__(self, first: float = 0.2, longest: float = 5.0, settled: float = 30.0) -> None:
        self._first, self._longest, self._settled = first, longest, settled
        self._next = 0.0

    def after(self, lived: float) -> float:
        """The pause after a process that lived so many seconds."""
        pause = 0.0 if lived >= self._settled else self._next
        self._next = min(self._longest, pause * 2) if pause else self._first
        return pause


class Service:
    """One service, kept running from `start` to `stop`: `tell` hears of each death, `changed` of each new process."""

    def __init__(self, spec: ServiceSpec, tell: Tell, changed: Callable[[], None], pauses: RestartPauses) -> None:
        self.spec = spec
        self._tell, self._changed, self._pauses = tell, changed, pauses
        self._process: ServiceProcess | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process id while a process runs."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Return once it is ready for the first time; raises `CommandFailed` with the end of its log if not."""
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._keeping = asyncio.create_task(self._keep(ready), name=f"keep {self.spec.name}")
        try:
            await asyncio.wait_for(ready, _START_SECONDS)
        except TimeoutError:
            raise self._failure(f"not ready within {_START_SECONDS:g} s") from None

    async def stop(self) -> None:
        """Let it drain, then end it. Safe to call twice, and before `start`."""
        self._stopping.set()
        if self._process is not None:
            self._process.terminate()
        if self._keeping is not None:
            _, late = await asyncio.wait({self._keeping}, timeout=self.spec.stop_seconds)
            if late:
                self._tell(f"{self.spec.name} did not drain within {self.spec.stop_seconds:g} s and was ended")
                self.kill()
            await self._keeping

    async def restart(self, grace: float = 5.0) -> None:
        """End its process, which then is started again; return when that has ended."""
        process = self._process
        if process is None:
            return
        process.terminate()
        ended = asyncio.ensure_future(process.wait())
        if (await asyncio.wait({ended}, timeout=grace))[1]:
            process.kill()
        await ended

    def kill(self) -> None:
        """End it at once and do not start it again."""
        self._stopping.set()
        if self._process is not None:
            self._process.kill()

    async def _keep(self, ready: asyncio.Future[None]) -> None:
        loop, deaths = asyncio.get_running_loop(), 0
        while not self._stopping.is_set():
            began = loop.time()
            code, reason = await self._run_once(ready)
            if self._stopping.is_set():
                break
            deaths += 1
            if not ready.done() and (code == _SETTINGS_CANNOT_WORK or deaths == _DEATHS_BEFORE_READY):
                ready.set_exception(self._failure(reason))
                return
            self._tell(f"{self.spec.name} ended ({reason}); starting it again")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._pauses.after(loop.time() - began))
        if not ready.done():
            ready.set_exception(CommandFailed(f"{self.spec.name} was stopped before it was ready."))

    async def _run_once(self, ready: asyncio.Future[None]) -> tuple[int | None, str]:
        """Its exit code and how it ended; no code where it could not even be started, for want of memory or disk."""
        try:
            process = await ServiceProcess.start(self.spec)
        except OSError as problem:
            return None, str(problem)
        self._process = process
        if self._stopping.is_set():
            process.terminate()  # asked to stop while it was being started
        self._changed()
        try:
            if await process.ready() and not ready.done():
                ready.set_result(None)
            code = await process.wait()
            return code, describe_exit(code)
        finally:
            self._process = None

    def _failure(self, reason: str) -> CommandFailed:
        return CommandFailed(
            f"{self.spec.name} does not start ({reason}). The end of {self.spec.log}:\n{last_lines(self.spec.log)}"
        )


async def start_together(*services: Service) -> None:
    """Start all at once; raises the first failure."""
    await asyncio.gather(*(service.start() for service in services))


async def stop_together(*services: Service) -> None:
    """Let all drain at once."""
    await asyncio.gather(*(service.stop() for service in services))
