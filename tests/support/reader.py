"""A reader of our documents: types the commands of their blocks into a shell, against a running engine."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.documents import ROOT, Block
from tests.support.engine import Engine

_FIRST_ID = 'import json, sys; print(json.load(sys.stdin)["executions"][0]["executionId"])'
_DELIVERY = 'import json, sys; print(json.load(sys.stdin)["deliveries"][0]["id"])'


class Reader:
    """The second terminal: in the project `directory`, the environment active. `left_out`: beginnings of lines that are
    not typed, since other tests do what they say."""

    def __init__(self, engine: Engine, directory: Path, left_out: tuple[str, ...] = (), **environment: str) -> None:
        self.engine, self.directory, self.left_out = engine, directory, left_out
        programs = engine.data.parent / "reader-bin"
        programs.mkdir()
        _program(programs / "pytest", f'exec {sys.executable} -m pytest "$@"')
        _program(programs / "runlane", f'exec {sys.executable} -m runlane_cli.main "$@"')
        _program(programs / "python", f'exec {sys.executable} "$@"')
        _program(programs / "last-id", f"runlane executions list --limit 1 --json | {sys.executable} -c '{_FIRST_ID}'")
        deliveries = "runlane webhooks deliveries process_ticket_update --outcome accepted --json"
        _program(programs / "last-delivery", f"{deliveries} | {sys.executable} -c '{_DELIVERY}'")
        self._environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(directory),
            "PYTHONPATH": str(ROOT),
            "KEY": engine.credentials()["org_key"],
            **environment,
        }
        administrator = engine.credentials()["admin_key"]
        self._administrator = f"RUNLANE_URL={engine.url} RUNLANE_API_KEY={administrator}"

    def run(self, *blocks: Block, text: str = "", then: str = "") -> str:
        """The blocks, or a text, in a shell that stops at the first command which fails; what it said."""
        text = "\n".join([text, *(self._script(block) for block in blocks), then])
        ran = subprocess.run(
            ["bash", "-eu", "-O", "expand_aliases", "-o", "pipefail", "-c", f"{self._administrator}\n{text}"],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
        places = [block.place for block in blocks]
        assert ran.returncode == 0, f"{places}\n{text}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def python(self, block: Block) -> str:
        """A Python program, in the place of whoever has URL and key in the environment; what it printed."""
        environment = {**self._environment, "RUNLANE_URL": self.engine.url, "RUNLANE_API_KEY": self._environment["KEY"]}
        command = [sys.executable, "-c", block.text]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert ran.returncode == 0, f"{block.place}\n{ran.stderr}"
        return ran.stdout

    @contextmanager
    def listener(self, block: Block, environment: Mapping[str, str]) -> "Iterator[subprocess.Popen[str]]":
        """A Python program that runs while the reader does something else."""
        command = [sys.executable, "-c", block.text]
        program = subprocess.Popen(command, env={**self._environment, **environment}, stdout=subprocess.PIPE, text=True)
        try:
            yield program
        finally:
            program.kill()
            program.wait()

    def _script(self, block: Block) -> str:
        text = "\n".join(line for line in block.text.splitlines() if not line.startswith((*self.left_out, "KEY=")))
        text = text.replace(" DELIVERY", " $(last-delivery)")
        text = text.replace("http://127.0.0.1:8080", self.engine.url)
        text = re.sub(r"\bcurl (-s )?", "curl --fail --silent ", text)
        return re.sub(r"(?<!\$)\bID\b(?!=)", "$(last-id)", text)


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
