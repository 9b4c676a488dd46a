"""The pytest plugin: fixtures `fake_context` and `runlane_engine`. Pytest loads it, so it imports next to nothing.

The ini option `runlane_workflows` says where the workflows are, from the directory of pytest's configuration.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from runlane.testing.context import FakeContext
    from runlane.testing.engine import RunningEngine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("runlane_workflows", "Directory of workflow files for `runlane_engine`.", default="workflows")


@pytest.fixture
def fake_context() -> "FakeContext":
    """A context without configuration, secrets and integrations; make a `FakeContext` yourself to give it some."""
    from runlane.testing.context import FakeContext

    return FakeContext()


@pytest.fixture(scope="session")
def runlane_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[RunningEngine]":
    """A real engine with the workflows of the project, on a free port, in a directory of its own; one for all tests."""
    from runlane.testing.engine import RunningEngine

    workflows = request.config.rootpath / request.config.getini("runlane_workflows")
    if not workflows.is_dir():
        message = f"There is no directory {workflows}: name yours in the ini option runlane_workflows."
        pytest.fail(message, pytrace=False)
    with RunningEngine(workflows, tmp_path_factory.mktemp("runlane") / "data") as engine:
        yield engine
