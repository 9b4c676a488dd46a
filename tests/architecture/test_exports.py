"""The author's door is a promise: what `from runlane import …` gives, whatever was imported before."""

import subprocess
import sys

import pytest

import runlane

PROMISED = {
    "ApprovalDecision",
    "BaseIntegration",
    "ConfigurationError",
    "Context",
    "DefinitionError",
    "IntegrationError",
    "PermissionError",
    "RetryPolicy",
    "SerializationError",
    "TimeoutError",
    "ValidationError",
    "WorkflowException",
    "workflow",
}


def test_the_exported_names_are_the_promised_ones() -> None:
    assert set(runlane.__all__) == PROMISED
    for name in PROMISED:
        assert getattr(runlane, name).__name__ == name


@pytest.mark.parametrize("first", ["runlane.workflow", "runlane.registry", "runlane.context", "runlane.errors"])
def test_workflow_is_the_decorator_whatever_the_engine_imported_first(first: str) -> None:
    """`runlane.workflow` is a module too, and importing it binds the name in the package."""
    script = f"import {first}; from runlane import workflow, Context; assert callable(workflow), workflow"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_authors_do_not_pay_for_the_engine() -> None:
    script = (
        "import sys; from runlane import workflow, Context, ValidationError, BaseIntegration;"
        "heavy = {'nats', 'redis', 'sqlalchemy', 'fastapi', 'uvicorn', 'pydantic', 'typer'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
