"""What authors run: the project that `runlane init` makes, SPEC §9's test as written, and the engine fixture."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

#: SPEC §9, word for word.
SPEC_TEST = """\
# tests/unit/test_workflows.py
import pytest
from unittest.mock import AsyncMock, MagicMock
from workflows.user_onboarding import onboard_user

@pytest.mark.asyncio
async def test_onboard_user_success():
    # Mock context
    context = MagicMock()
    context.org_id = "org-123"
    context.org_name = "Test Org"
    context.get_config = MagicMock(return_value="default_value")

    # Mock integration
    mock_graph = AsyncMock()
    mock_graph.create_user = AsyncMock(return_value={"id": "user-456"})
    context.get_integration = MagicMock(return_value=mock_graph)

    # Execute workflow
    result = await onboard_user(
        context,
        email="test@example.com",
        first_name="Test",
        last_name="User"
    )

    # Assert
    assert result["success"] is True
    assert result["user_id"] == "user-456"
    mock_graph.create_user.assert_called_once()
"""
SPEC_WORKFLOW = """\
from runlane import ConfigurationError, IntegrationError, ValidationError, workflow


@workflow(name="user_onboarding", description="Makes a user.", timeout_seconds=30)
async def onboard_user(context, email, first_name, last_name):
    if not email or "@" not in email:
        raise ValidationError("Invalid email address", field="email")
    if not context.has_config("msgraph_client_id"):
        raise ConfigurationError("Microsoft Graph not configured", config_key="msgraph_client_id")
    context.log("info", "Starting", {"location": context.get_config("default_office_location", "Remote")})
    context.save_checkpoint("start", {"email": email})
    graph = context.get_integration("msgraph")
    try:
        user = await graph.create_user(email, first_name, last_name)
    except Exception as e:
        raise IntegrationError(integration="msgraph", message=f"Failed to create user: {str(e)}")
    context.set_variable("user_id", user["id"])
    return {"success": True, "user_id": user["id"], "org": context.org_name}
"""
ENGINE_TEST = """\
def test_hello_runs_in_an_engine(runlane_engine):
    execution = runlane_engine.run("hello", name="Ada")
    assert execution["status"] == "Success", execution
    assert execution["result"] == {"greetings": ["Hello Ada of Demo organisation"]}, execution


def test_its_doors_are_open(runlane_engine, fake_context):
    with runlane_engine.client() as client:
        answer = client.post("/forms/hello/submit", json={"name": "Ada", "times": 11})
    assert answer.json()["details"] == {"field": "times"}
    with runlane_engine.client(admin=True) as client:
        assert client.get("/orgs").status_code == 200
"""


def run(directory: Path, *command: str, within: float = 120) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )


def test_the_mock_test_of_the_spec_passes_as_written(tmp_path: Path) -> None:
    for name, text in (("workflows/user_onboarding.py", SPEC_WORKFLOW), ("tests/unit/test_workflows.py", SPEC_TEST)):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    ran = run(tmp_path, "pytest", "-q", "tests")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


def test_a_new_project_tests_its_workflow_and_its_engine(tmp_path: Path) -> None:
    made = run(tmp_path, "runlane_cli.main", "init", ".")
    assert made.returncode == 0, made.stderr
    ran = run(tmp_path, "pytest", "-q")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (tmp_path / "tests" / "test_engine.py").write_text(ENGINE_TEST)
    ran = run(tmp_path, "pytest", "-q", "tests/test_engine.py")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


def test_an_engine_without_workflows_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(textwrap.dedent("def test_it(runlane_engine): ..."))
    ran = run(tmp_path, "pytest", "-q")
    assert ran.returncode == 1
    assert "ini option runlane_workflows" in ran.stdout
