"""What an execution that calls no vendor must not pay for."""

import subprocess
import sys

CHECK = """
import sys
import runlane, runlane.workflow, runlane.context, runlane_executor.child, runlane_executor.runner, runlane_executor.app
print(*[name for name in ("httpx", "httpcore", "runlane.integrations") if name in sys.modules])
"""


def test_an_executor_and_its_children_do_not_load_an_http_client() -> None:
    shown = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.split() == []
