"""What a process that does not need it must not pay for."""

import subprocess
import sys


def test_an_executor_and_its_children_do_not_load_an_http_client() -> None:
    executor = "runlane_executor.child, runlane_executor.runner, runlane_executor.app"
    assert (
        _loaded(f"runlane, runlane.workflow, runlane.context, {executor}", "httpx", "httpcore", "runlane.integrations")
        == []
    )


def test_a_gateway_and_a_recorder_whose_schema_is_there_do_not_load_alembic() -> None:
    assert _loaded("runlane_gateway.app, runlane_recorder.app", "alembic") == []


def _loaded(imports: str, *unwanted: str) -> list[str]:
    """Which of the unwanted modules come with an import."""
    check = f"import sys, {imports}; print(*[name for name in {unwanted!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60)
    return shown.stdout.split()
