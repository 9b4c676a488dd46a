"""The child processes of an executor, without the executor."""

import os
import signal
from multiprocessing import forkserver
from pathlib import Path

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
