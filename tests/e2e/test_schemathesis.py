"""Everything that `/openapi.json` describes, called with what schemathesis makes of it: with a key and without."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("schemathesis") / "data", Path(__file__).parent / "callable")
    engine.start()
    yield engine
    engine.stop()


@pytest.mark.parametrize("key", ["admin_key", "org_key", None])
def test_no_door_breaks_or_answers_what_is_not_described(harmless: Engine, key: str | None, tmp_path: Path) -> None:
    # One worker: Python 3.11 cannot parse in two threads at once (SystemError: AST constructor recursion depth).
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"]
    command += [f"{harmless.url}/openapi.json", "--workers=1", "--max-examples=20", "--no-color", "--seed=1"]
    # Streams end when the execution does, which is later than the patience of this tool.
    command += ["--exclude-path-regex=/events$", f"--checks={','.join(CHECKS)}"]
    if key is not None:
        command += ["-H", f"Authorization: Bearer {harmless.credentials()[key]}"]
        command += ["-H", "X-Organization-Id: demo"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=240)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
