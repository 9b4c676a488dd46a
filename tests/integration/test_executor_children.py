"""The child processes of an executor, without the executor."""

import asyncio
import gc
import os
import signal
import warnings
from multiprocessing import forkserver
from pathlib import Path

import pytest

from runlane_executor.children import Children
from tests.support.eventually import eventually

WORKFLOWS = Path(__file__).parents[1] / "e2e" / "workflows"


async def test_a_child_is_started_though_the_fork_server_has_just_been_killed() -> None:
    children = Children(str(WORKFLOWS), "default", 1, lambda _child, _frame: None, lambda _child, _code: None)
    await children.start()
    for _ in range(5):
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)  # type: ignore[attr-defined]
        child = await children.alone()
        assert child.alive
    children.close()
    await eventually(lambda: not children._children)


async def test_an_executor_that_ends_while_it_starts_a_child_leaves_no_socket_open() -> None:
    children = Children(str(WORKFLOWS), "default", 1, lambda _child, _frame: None, lambda _child, _code: None)
    await children.start()
    starting = asyncio.create_task(children.alone())
    await asyncio.sleep(0)  # it waits for the thread that starts the process
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del starting
        gc.collect()

    children.close()
    await eventually(lambda: not children._children)
    assert [str(it.message) for it in caught if issubclass(it.category, ResourceWarning)] == []
