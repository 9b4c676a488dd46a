"""The process that runs authors' code. It holds no credentials: all it has is a pipe to the intake.

Started by `children.py` through a fork server that has imported this module. It ends as soon as the intake is gone.
"""

import asyncio
import gc
import multiprocessing
import os
import select
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import uvloop

from runlane.contracts.directory import ImportFailure
from runlane.contracts.events import Failure
from runlane.errors import WorkflowNotFound
from runlane.registry import Discovery, discover
from runlane.workflow import WorkflowSpec
from runlane_executor import prints
from runlane_executor.frames import (
    BudgetAnswer,
    Kept,
    Ping,
    Pipe,
    Pong,
    Raised,
    Ready,
    Run,
    SecretAnswer,
    Stop,
    Stopped,
    ToChild,
    TokenAnswer,
    framed,
)
from runlane_executor.leash import end_with_parent
from runlane_executor.runner import run
from runlane_executor.runtime import PipeRuntime, Secrets
from runlane_executor.vendor_calls import VendorCalls

_THREADS = 256


def child_main(pipe: socket.socket, root: str, origin: str, allowed_hosts: frozenset[str]) -> None:
    """Import the workflows under `root`, say so, and run what comes until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for the supervisor
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # code that does not end when asked is ended by this
    end_with_parent()
    _end_with_the_intake(pipe)
    multiprocessing.current_process().daemon = False  # or authors' code could have no process pool
    prints.take_over()
    found = discover(Path(root), origin)
    gc.freeze()  # what was imported stays: no collection need look through it
    pipe.sendall(framed(_ready(found)))  # before any work: what waits in the pipe may block the loop at once
    uvloop.run(_serve(pipe, found, VendorCalls(allowed_hosts)))


def _end_with_the_intake(pipe: socket.socket) -> None:
    """Leave even if the loop is blocked in authors' code: a thread waits for the other end to hang up."""

    def watch() -> None:
        poll = select.poll()
        poll.register(pipe.fileno(), select.POLLRDHUP if sys.platform == "linux" else select.POLLHUP)
        poll.poll()
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="intake watch").start()


async def _serve(pipe: socket.socket, found: Discovery, vendor_calls: VendorCalls) -> None:
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Plain workflows run in threads: as many as there are slots, or they would wait for each other.
    loop.set_default_executor(ThreadPoolExecutor(_THREADS, "workflow"))
    child = _Child(found, vendor_calls)
    child.pipe = Pipe(ToChild, child.hear, gone.set)  # before it connects: work may be waiting in the socket
    await loop.create_unix_connection(lambda: child.pipe, sock=pipe)
    await gone.wait()
    os._exit(0)


def _ready(found: Discovery) -> Ready:
    manifests = [msgspec.json.encode(spec.manifest) for spec in found.workflows.values()]
    return Ready(manifests, [msgspec.json.encode(_described(failure)) for failure in found.failures])


def _described(failure: ImportFailure) -> ImportFailure:
    return msgspec.structs.replace(failure, traceback=failure.traceback[-20_000:])


def _not_here(frame: Run) -> Raised:
    """The workflow's file has changed since the executor last looked, and no longer holds it."""
    problem = WorkflowNotFound(f"The workflow {frame.identity.workflow!r} is no longer in its file.")
    failure = Failure(problem.code, problem.message)
    return Raised(frame.identity.execution_id, failure, problem.retryable, [problem.code])


class _Child:
    """Dispatches frames to the executions in this process."""

    pipe: Pipe

    def __init__(self, found: Discovery, vendor_calls: VendorCalls) -> None:
        self._vendor_calls = vendor_calls
        self._workflows: dict[str, WorkflowSpec] = found.workflows
        self._running: dict[str, tuple[asyncio.Task[None], PipeRuntime]] = {}
        self._config: dict[str, dict[str, object]] = {}
        self._secrets = Secrets()

    def hear(self, frame: ToChild) -> None:
        match frame:
            case Run():
                self._run(frame)
            case Stop(execution_id=execution_id):
                if execution_id in self._running:
                    task, runtime = self._running[execution_id]
                    runtime.stopping = True
                    task.cancel()
            case Ping():
                self.pipe.send(Pong())
            case SecretAnswer():
                self._secrets.answered(frame)
            case TokenAnswer() | BudgetAnswer():
                self._vendor_calls.answered(frame)
            case Kept(execution_id=execution_id, number=number):
                if execution_id in self._running:
                    self._running[execution_id][1].kept(number)

    def _run(self, frame: Run) -> None:
        execution_id, org = frame.identity.execution_id, frame.identity.org_id
        if frame.config is not None:
            self._config[org] = frame.config
        runtime = PipeRuntime(execution_id, self.pipe, self._secrets, self._config.get(org, {}), self._vendor_calls)
        task = asyncio.get_running_loop().create_task(self._finish(frame, runtime), name=execution_id)
        self._running[execution_id] = (task, runtime)
        task.add_done_callback(lambda _: self._ended(execution_id, task))

    def _ended(self, execution_id: str, task: "asyncio.Task[None]") -> None:
        self._running.pop(execution_id, None)
        if task.cancelled():
            self.pipe.send(Stopped(execution_id))  # before its first step, so it could not say so itself

    async def _finish(self, frame: Run, runtime: PipeRuntime) -> None:
        spec = self._workflows.get(frame.identity.workflow)
        if spec is None:
            self.pipe.send(_not_here(frame))
            return
        outcome = await run(spec, frame, runtime)
        runtime.over = True
        self.pipe.send(outcome)
