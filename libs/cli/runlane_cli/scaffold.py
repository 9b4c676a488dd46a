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
"""Workflows are functions: call them with a FakeContext."""

import asyncio
import sys
from pathlib import Path

import pytest

from runlane import ValidationError
from runlane.testing import FakeContext

sys.path.insert(0, str(Path(__file__).parents[1] / "workflows"))

from hello import hello


def test_hello_greets_as_often_as_asked() -> None:
    context = FakeContext(org_name="Acme")

    result = asyncio.run(hello(context, name="Ada", times=2))

    assert result == {"greetings": ["Hello Ada of Acme", "Hello Ada of Acme"]}


def test_hello_refuses_to_greet_too_often() -> None:
    with pytest.raises(ValidationError, match="from 1 to 10"):
        asyncio.run(hello(FakeContext(), name="Ada", times=11))
'''

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
