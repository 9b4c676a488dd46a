"""The commands that README and guides show, run against one engine as a user types them."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import ROOT, Block, blocks
from tests.support.engine import Engine

SHOWN = blocks("sh", "console", documents=[ROOT / "README.md", ROOT / "docs" / "guide" / "operating.md"])

#: Guides whose commands are run in this order, each as one script.
GUIDES = ("organisations", "secrets", "access", "forms", "approvals", "fairness")

#: What other tests run: the demo, `init` with its test, `up` itself. `make test` is this. Azure has a stand-in only.
ELSEWHERE = (
    "make ",
    ". .venv/bin/activate",
    "runlane init",
    "runlane up",
    "cd ",
    "pip install 'runlane[azure]'",
    "export RUNLANE_SECRETS_PROVIDER=azure",
)


class Session:
    """The second terminal: in the project that `runlane init` made, the environment active, an engine running."""

    def __init__(self, engine: Engine, project: Path) -> None:
        self.engine, self.project = engine, project
        programs = project.parent / "bin"
        programs.mkdir()
        _program(programs / "runlane", f'exec {sys.executable} -m runlane_cli.main "$@"')
        _program(programs / "last-id", f"runlane executions list --limit 1 --json | {sys.executable} -c '{_FIRST_ID}'")
        self._environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(project),
            "TOKEN": "a-token-of-a-vendor",
            "HALO_SECRET": "a-secret-of-halo",
            "KEY": engine.credentials()["org_key"],
        }
        self._administrator = f"RUNLANE_URL={engine.url} RUNLANE_API_KEY={engine.credentials()['admin_key']}"

    def run(self, *blocks: Block) -> str:
        """The blocks in a shell that stops at the first command which fails; what it said."""
        text = "\n".join(self._script(block) for block in blocks)
        ran = subprocess.run(
            ["bash", "-eu", "-o", "pipefail", "-c", f"{self._administrator}\n{text}"],
            cwd=self.project,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ran.returncode == 0, f"{blocks[0].place}\n{text}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def python(self, block: Block) -> str:
        """A Python program, in the place of whoever has URL and key in the environment; what it printed."""
        environment = {**self._environment, "RUNLANE_URL": self.engine.url, "RUNLANE_API_KEY": self._environment["KEY"]}
        command = [sys.executable, "-c", block.text]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert ran.returncode == 0, f"{block.place}\n{ran.stderr}"
        return ran.stdout

    def _script(self, block: Block) -> str:
        text = "\n".join(line for line in block.text.splitlines() if not line.startswith((*ELSEWHERE, "KEY=")))
        text = text.replace("http://127.0.0.1:8080", self.engine.url).replace("curl ", "curl --fail --silent ")
        return re.sub(r"(?<!\$)\bID\b(?!=)", "$(last-id)", text)


_FIRST_ID = 'import json, sys; print(json.load(sys.stdin)["executions"][0]["executionId"])'


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    project = tmp_path_factory.mktemp("reader") / "my-automation"
    subprocess.run([sys.executable, "-m", "runlane_cli.main", "init", str(project)], check=True, timeout=60)
    for number, block in enumerate(blocks("python", documents=[ROOT / "README.md"])):
        (project / "workflows" / f"shown_{number}.py").write_text(block.text)
    for block in blocks("python", documents=[ROOT / "docs" / "guide" / "approvals.md"]):
        if "@workflow" in block.text:
            (project / "workflows" / "people.py").write_text(block.text)
    engine = Engine(project / ".runlane", project / "workflows")
    engine.start()
    yield Session(engine, project)
    engine.stop()


def test_every_command_shown_does_what_is_said(session: Session) -> None:
    """In their order: a later block looks at what an earlier one did."""
    said = "\n".join(session.run(block) for block in SHOWN)

    assert "Hello Ada of Demo organisation" in said
    assert "child died" in said
    assert session.engine.log().count("Traceback") == 0


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_of_a_guide_works(session: Session, guide: str) -> None:
    """In their order: `secrets` speaks of the organisation that `organisations` made."""
    session.run(*blocks("sh", documents=[ROOT / "docs" / "guide" / f"{guide}.md"]))

    assert session.engine.log().count("Traceback") == 0


def test_nothing_is_shown_that_no_test_runs() -> None:
    lines = [line.strip() for block in SHOWN for line in block.text.splitlines() if line.strip()]

    run_here = [line for line in lines if not line.startswith(ELSEWHERE)]

    words = {line.split("=")[0].split()[0] for line in run_here}
    assert words == {"runlane", "curl", "KEY", "ID", "sleep", "kill", "echo"}


def test_the_programs_of_the_clients_guide_run(session: Session) -> None:
    programs = blocks("python", documents=[ROOT / "docs" / "guide" / "client.md"])
    assert len(programs) == 4
    said = [session.python(program) for program in programs]
    assert "Success" in said[0]
    assert "state" in said[1]
