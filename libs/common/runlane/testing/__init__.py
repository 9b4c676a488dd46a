"""What authors test workflows with. The names are loaded when they are asked for: pytest loads the plugin beside them
in every project.

    context = FakeContext(config={"region": "emea"}, integrations={"msgraph": FakeIntegration(MsGraph, create_user={})})
    run = await run_workflow(onboard_user, context, email="a@b.c")
    assert run.result == {"user_id": "1"}
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runlane.testing.context import TIMES_OUT, FakeContext
    from runlane.testing.engine import RunningEngine
    from runlane.testing.integrations import FakeIntegration, UnexpectedCall
    from runlane.testing.running import WorkflowRun, run_workflow

__all__ = [
    "TIMES_OUT",
    "FakeContext",
    "FakeIntegration",
    "RunningEngine",
    "UnexpectedCall",
    "WorkflowRun",
    "run_workflow",
]

_HOMES = {
    "TIMES_OUT": "context",
    "FakeContext": "context",
    "FakeIntegration": "integrations",
    "RunningEngine": "engine",
    "UnexpectedCall": "integrations",
    "WorkflowRun": "running",
    "run_workflow": "running",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'runlane.testing' has no attribute {name!r}")
    value = getattr(import_module(f"runlane.testing.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
