"""`runlane init`: the files of a small project. What it makes is run by our own tests."""

from pathlib import Path

from .problems import USAGE, CommandFailed

_WORKFLOW = '''\
"""A first workflow."""

from runlane import Context, ValidationError, workflow


@workflow(name="hello", description="Greets somebody.")
async def hello(context: Context, name: str, times: int = 1) -> dict[str, object]:
    if not 1 <= times <= 10:
        raise ValidationError("times must be from 1 to 10", field="times")
    greetings = []
    for number in range(times):
        context.log("info", f"Greeting {name}", {"number": number + 1})
        greetings.append(f"Hello {name} of {context.org_name}")
        context.progress(100 * (number + 1) / times)
    return {"greetings": greetings}
'''

_TEST = '''\
"""`run_workflow` runs a workflow as the engine does, in memory and without waiting."""

import asyncio

import pytest
from hello import hello

from runlane import ValidationError
from runlane.testing import FakeContext, run_workflow


def test_hello_greets_as_often_as_asked(fake_context: FakeContext) -> None:
    run = asyncio.run(run_workflow(hello, fake_context, name="Ada", times=2))

    assert run.status == "Success"
    assert run.result == {"greetings": ["Hello Ada of Test Org", "Hello Ada of Test Org"]}
    assert run.logs[0] == ("info", "Greeting Ada")


def test_hello_refuses_to_greet_too_often() -> None:
    run = asyncio.run(run_workflow(hello, name="Ada", times=11))

    assert (run.status, run.error.details) == ("Failed", {"field": "times"})


def test_hello_needs_a_name() -> None:
    with pytest.raises(ValidationError, match="name"):
        asyncio.run(run_workflow(hello, times=2))
'''

_PYTEST = """\
[pytest]
testpaths = tests
pythonpath = workflows
runlane_workflows = workflows
"""

_README = """\
# Workflows

In an environment that has `runlane` and `pytest`:

    pytest                                        # test the workflows
    runlane up --reload                           # run the engine; it prints its URL and an API key
    runlane run hello --param name=Ada            # in another terminal, in this directory
    runlane executions list

Workflows are the functions under `@workflow` in `workflows/`. The engine keeps what it knows in `.runlane/`:
back it up, and keep it out of version control, because its keys lie there.
"""

_FILES = {
    "workflows/hello.py": _WORKFLOW,
    "tests/test_hello.py": _TEST,
    "pytest.ini": _PYTEST,
    "README.md": _README,
    ".gitignore": ".runlane/\n.venv/\n__pycache__/\n.pytest_cache/\n",
}


def make_project(directory: Path) -> list[Path]:
    """Write the files and return their paths; raises `CommandFailed`, with nothing written, where one exists."""
    paths = {directory / name: content for name, content in _FILES.items()}
    for path in paths:
        if path.exists():
            raise CommandFailed(f"{path} exists already; `runlane init` changes nothing that is there.", USAGE)
    try:
        for path, content in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
    except OSError as problem:
        raise CommandFailed(f"{problem.filename} cannot be written: {problem.strerror}.", USAGE) from None
    return list(paths)
