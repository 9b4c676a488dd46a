"""The child processes of an executor: started warm, noticed at once when they die, ended when they must be.

One spare child, imports done, waits to replace one that dies, and to help out while authors' code blocks all the others
(`time.sleep` in an async function): a child that does not answer gets no new work as long as another does. A reload
starts a new generation; the old one finishes what it runs on the code it began with.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext, ForkServerProcess
from typing import Any

import msgspec

from runlane.contracts.directory import ImportFailure, Manifest
from runlane.telemetry import logger
from runlane_executor.child import child_main
from runlane_executor.frames import Ping, Pipe, Pong, Ready, Run, ToIntake

_log = logger(__name__)

_TERM_SECONDS = 1.0  # between SIGTERM and SIGKILL
_IMPORT_SECONDS = 60.0
_PING_SECONDS = 0.25
_BLOCKED_SECONDS = 0.5  # a child that has not answered for so long gets no new work
_MOST_HELPERS = 4  # children beyond the number that there should be, while others are blocked
_CRASH_PAUSE_SECONDS = 0.5  # before another try when a child dies while it imports
_FORK_TRIES, _FORK_PAUSE_SECONDS = 10, 0.05


class ChildDied(Exception):
    """A child ended before it was given anything to do."""


class Child:
    """One child process as the intake sees it."""

    def __init__(self, generation: int, dedicated: bool) -> None:
        self.generation, self.dedicated = generation, dedicated
        self.running: set[str] = set()
        self.ready: asyncio.Future[Ready] = asyncio.get_running_loop().create_future()
        self.alive = True
        self.retired = False
        self.ending = False
        self.died_importing = False
        self._pinged_at: float | None = None
        self.pipe: Pipe
        self.process: ForkServerProcess
        self._config: dict[str, Mapping[str, Any]] = {}

    @property
    def pid(self) -> int:
        return self.process.pid or 0

    @property
    def blocked(self) -> bool:
        """Whether it leaves a ping unanswered."""
        now = asyncio.get_running_loop().time()
        return self._pinged_at is not None and now - self._pinged_at > _BLOCKED_SECONDS

    def ping(self) -> None:
        if self._pinged_at is None:
            self._pinged_at = asyncio.get_running_loop().time()
            self.pipe.send(Ping())

    def ponged(self) -> None:
        self._pinged_at = None

    def run(self, frame: Run, config: Mapping[str, Any]) -> None:
        """Hand it an execution, and the organisation's configuration if it has another version of it."""
        org = frame.identity.org_id
        if self._config.get(org) is not config:
            self._config[org] = config
            frame = msgspec.structs.replace(frame, config=dict(config))
        self.running.add(frame.identity.execution_id)
        self.pipe.send(frame)


class Children:
    """All children of one executor."""

    def __init__(
        self,
        root: str,
        origin: str,
        count: int,
        heard: Callable[[Child, ToIntake], None],
        died: Callable[[Child, int | None], None],
        allowed_hosts: frozenset[str] = frozenset(),
    ) -> None:
        self._root, self._origin, self._count = root, origin, count
        self._heard, self._died, self._allowed_hosts = heard, died, allowed_hosts
        self._context: ForkServerContext = multiprocessing.get_context("forkserver")
        self._children: set[Child] = set()
        self._working: list[Child] = []
        self._spare: Child | None = None
        self._generation = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing = False
        self.manifests: dict[str, Manifest] = {}
        self.failures: list[ImportFailure] = []

    async def start(self) -> None:
        """Start the first generation and return when its code is loaded."""
        _forget_main()
        self._context.set_forkserver_preload(["runlane_executor.fork_server"])
        await self.reload()
        self._background(self._watch())

    async def reload(self) -> None:
        """Load the code anew: new executions go to new children, the old ones end when they are done."""
        self._generation += 1
        first, ready = await self._first()
        others = await asyncio.gather(*(self._spawn() for _ in range(self._count)))
        old = [*self._working, *([self._spare] if self._spare else [])]
        self._working, self._spare = [first, *others[1:]], others[0]
        self.manifests = {m.name: m for m in (msgspec.json.decode(raw, type=Manifest) for raw in ready.manifests)}
        self.failures = [msgspec.json.decode(raw, type=ImportFailure) for raw in ready.failures]
        for child in old:
            self._retire(child)

    def pick(self) -> Child | None:
        """The child with the least to do of those that answer."""
        alive = (child for child in self._working if child.alive)
        return min(alive, key=lambda child: (child.blocked, len(child.running)), default=None)

    async def alone(self) -> Child:
        """A child that runs nothing else, for an execution under which one has died."""
        child = await self._spawn(dedicated=True)
        await child.ready
        return child

    def done(self, child: Child, execution_id: str) -> None:
        """An execution in it is over."""
        child.running.discard(execution_id)
        if not child.running and (child.retired or child.dedicated):
            child.pipe.close()

    def end(self, child: Child) -> None:
        """End a child whose code does not end when asked."""
        if not child.ending:
            child.ending = True
            _signal(child.pid, signal.SIGTERM)
            asyncio.get_running_loop().call_later(_TERM_SECONDS, _signal, child.pid, signal.SIGKILL)

    def close(self) -> None:
        """The executor is ending: so do the children."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        for child in self._children:
            child.pipe.close()
            _signal(child.pid, signal.SIGKILL)

    async def _first(self) -> tuple[Child, Ready]:
        """A child whose imports are done; one that dies over them is tried again."""
        while True:
            child = await self._spawn()
            try:
                return child, await child.ready
            except ChildDied:
                _log.error("a child died while it imported the workflow files", directory=self._root)
                await asyncio.sleep(_CRASH_PAUSE_SECONDS)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_PING_SECONDS)
            for child in self._children:
                child.ping()
            if self._spare is not None and all(child.blocked for child in self._working):
                self._help(self._spare)
            elif len(self._working) > self._count:
                self._dismiss()

    def _help(self, spare: Child) -> None:
        """Nobody answers: the spare child takes the new work, and another is made ready."""
        if len(self._working) < self._count + _MOST_HELPERS:
            _log.warning("authors' code blocks every child", children=len(self._working))
            self._working.append(spare)
            self._spare = None
            self._background(self._make_spare(self._generation))

    def _dismiss(self) -> None:
        """There are more children than there should be: let one go that has nothing to do, if enough of them answer."""
        answering = [child for child in self._working if not child.blocked]
        idle = next((child for child in answering if not child.running), None)
        if idle is not None and len(answering) > self._count:
            self._working.remove(idle)
            self._retire(idle)

    async def _make_spare(self, generation: int) -> None:
        child = await self._spawn()
        if self._spare is None and generation == self._generation:
            self._spare = child
        else:
            self._retire(child)

    def _retire(self, child: Child) -> None:
        child.retired = True
        if not child.running:
            child.pipe.close()

    async def _spawn(self, dedicated: bool = False) -> Child:
        """Start a child; its `ready` is a future. Starting blocks for some milliseconds, so a thread does it."""
        child = Child(self._generation, dedicated)
        ours, theirs = socket.socketpair()
        child.process = self._context.Process(
            target=child_main,
            args=(theirs, self._root, self._origin, self._allowed_hosts),
            name="runlane child",
            daemon=True,
        )
        loop = asyncio.get_running_loop()
        try:
            await asyncio.to_thread(_start, child.process, theirs)
            ours.setblocking(False)
            _, child.pipe = await loop.create_unix_connection(
                lambda: Pipe(ToIntake, lambda frame: self._hear(child, frame), lambda: self._lost(child)), sock=ours
            )
        except BaseException:
            ours.close()  # the executor is ending: the child sees it and ends too
            raise
        self._children.add(child)
        loop.call_later(_IMPORT_SECONDS, self._check_ready, child)
        return child

    def _hear(self, child: Child, frame: ToIntake) -> None:
        if isinstance(frame, Ready):
            if not child.ready.done():
                child.ready.set_result(frame)
        elif isinstance(frame, Pong):
            child.ponged()
        else:
            self._heard(child, frame)

    def _check_ready(self, child: Child) -> None:
        if child.alive and not child.ready.done():
            _log.error("the workflow files do not finish importing", seconds=_IMPORT_SECONDS, directory=self._root)
            self.end(child)

    def _lost(self, child: Child) -> None:
        child.alive = False
        if not child.ready.done():
            child.died_importing = True
            child.ready.set_exception(ChildDied())
            child.ready.exception()  # seen: most children are awaited by nobody
        _signal(child.pid, signal.SIGKILL)  # its pipe is closed: whatever it still does, it does for nobody
        self._children.discard(child)
        expected = child in self._working or child is self._spare
        if child in self._working:
            self._working.remove(child)
            if self._spare is not None:
                self._working.append(self._spare)
                self._spare = None
        if child is self._spare:
            self._spare = None
        if not self._closing:
            self._background(self._after(child, expected))

    async def _after(self, child: Child, expected: bool) -> None:
        """Say that it died, and start another in its place if it had one."""
        if child.running:
            await asyncio.to_thread(child.process.join, 1.0)
            _log.warning("a child died", pid=child.pid, exit=child.process.exitcode, running=len(child.running))
        self._died(child, child.process.exitcode)
        if not expected or child.generation != self._generation:
            return
        if child.died_importing:
            _log.error("a child died while it imported the workflow files", directory=self._root)
            await asyncio.sleep(_CRASH_PAUSE_SECONDS)
        if len(self._working) < self._count:
            self._working.append(await self._spawn())
        elif self._spare is None:
            self._spare = await self._spawn()

    def _background(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _start(process: ForkServerProcess, theirs: socket.socket) -> None:
    with theirs:
        for _ in range(_FORK_TRIES):
            try:
                process.start()
                return
            except (EOFError, ConnectionError):
                time.sleep(_FORK_PAUSE_SECONDS)  # the fork server was killed: once it is gone, another is started
        process.start()


def _signal(pid: int, number: signal.Signals) -> None:
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _forget_main() -> None:
    """Keep the fork server from importing this process's main module into every child."""
    main = sys.modules["__main__"]
    main.__spec__ = None
    main.__dict__.pop("__file__", None)
