"""docs/tutorial.md as a newcomer plays it: files are saved where it says, commands typed in their order."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import ROOT, Block, steps
from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.reader import Reader
from tests.support.vendors import vendors

TUTORIAL = ROOT / "docs" / "tutorial.md"

#: What the fixtures do, in the same order: the clone, the environment, the engine, the vendors.
DONE = ("git clone", "cd ", "make install", ". .venv", "runlane init", "RUNLANE_ALLOWED_HOSTS=", "python -m examples.")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    project = tmp_path / "my-automation"
    subprocess.run([sys.executable, "-m", "runlane_cli.main", "init", str(project)], check=True, timeout=60)
    monkeypatch.setenv("RUNLANE_ALLOWED_HOSTS", "127.0.0.1")
    engine = Engine(project / ".runlane", project / "workflows", "--reload")
    engine.start()
    with vendors() as settings:
        (project / "vendors.sh").write_text(settings)
        yield Reader(engine, project, DONE)
    engine.stop()


def test_the_tutorial_from_the_project_to_the_test(reader: Reader) -> None:
    said = []
    for before, language, block in steps(TUTORIAL):
        if language == "python":
            _save(reader, before, block)
        elif language == "sh":
            said.append(reader.run(block))

    text = "\n".join(said)
    assert "Hello Ada of Demo organisation" in text
    assert '"locked": true' in text
    assert '"reason": "she stays"' in text
    assert '"alan.turing@acme.example"' in text
    assert "passed" in text
    assert reader.engine.log().count("Traceback") == 0


def _save(reader: Reader, before: str, block: Block) -> None:
    """As the sentence before it says; and wait until the engine has it, as people do."""
    path = re.findall(r"Save this as `([^`]+)`", before)[-1]
    (reader.directory / path).write_text(block.text)
    if path.startswith("workflows/"):
        name = Path(path).stem

        def known() -> bool:
            listed = json.loads(reader.run(Block("test", "runlane workflows --json")))
            return name in [workflow["name"] for workflow in listed["workflows"]]

        asyncio.run(eventually(known))


def test_what_the_tutorial_leaves_to_the_fixtures_is_typed_in_it() -> None:
    typed = [line for _, language, block in steps(TUTORIAL) if language == "sh" for line in block.text.splitlines()]

    for beginning in DONE:
        assert any(line.startswith(beginning) for line in typed), beginning
    assert os.environ.get("RUNLANE_ALLOWED_HOSTS") is None
