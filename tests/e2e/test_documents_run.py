"""The commands and snippets that documents show, run as a reader types them; and what is not run, with the reason."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documents import DOCUMENTS, ROOT, blocks
from tests.support.engine import Engine
from tests.support.reader import Reader

SHOWN = blocks("sh", "console", documents=[ROOT / "README.md", ROOT / "docs" / "guide" / "operating.md"])

#: Guides whose commands are run in this order, each as one script.
GUIDES = ("organisations", "secrets", "access", "forms", "approvals", "fairness", "webhooks", "integrations")

#: Beginnings of lines that are not run here, each with the reason.
LEFT_OUT = {
    "make ": "`make demo` and `make test` are these tests and `test_cli_up.py`",
    ". .venv/bin/activate": "the tests' own environment is active",
    "runlane init": "the fixture here does it, with the test of the project in `test_cli_up.py`",
    "runlane up": "the fixture here does it",
    "RUNLANE_ALLOWED_HOSTS=": "starts an engine: `test_tutorial.py` and `test_examples.py` do, so",
    "RUNLANE_IDENTITY_FILE=": "starts an engine: `test_people.py` does, with tokens of a real issuer",
    'curl http://127.0.0.1:8080/me -H "Authorization: Bearer $TOKEN"': "`test_people.py` asks with such a token",
    "cd ": "the shell is there",
    "python -m examples.vendors": "`test_tutorial.py` and `test_examples.py` run it",
    "pip install 'runlane[azure]'": "Azure has a stand-in only, in `tests/unit`",
    "export RUNLANE_SECRETS_PROVIDER=azure": "the same",
}

#: Documents of which other tests run the commands, or nobody, with the reason.
ELSEWHERE = {
    "docs/tutorial.md": "`test_tutorial.py`",
    "examples/README.md": "`test_examples.py`",
    "docs/guide/subscriptions.md": "`test_subscriptions_guide.py`",
    "docs/guide/testing.md": "`test_the_tests_of_the_testing_guide_pass` below",
    "docs/reference/cli.md": "`test_json_everywhere.py` has the shells complete",
    "docs/guide/distributed.md": "needs a container engine; `make cluster-test` runs the same as processes",
    "CONTRIBUTING.md": "the commands of development, this one among them",
    "bench/README.md": "measures for minutes",
}

#: Variables that guides take for granted: values of vendors.
VARIABLES = {
    "TOKEN": "a-token-of-a-vendor",
    "HALO_SECRET": "a-secret-of-halo",
    "GRAPH_SECRET": "a-secret-of-microsoft",
    "SLACK_SIGNING_SECRET": "a-signing-secret-of-slack-0815",
    "SHOPIFY_CLIENT_SECRET": "a-client-secret-of-shopify-4711",
}

#: Workflows of other vendors' events that the guide of webhooks names without showing them.
_SENDERS = """
from typing import Any

from runlane import Context, workflow


@workflow(name="slack_events", description="Slack tells", webhook_enabled=True, execution_mode="async")
async def slack_events(context: Context, event: Any) -> None: ...


@workflow(name="orders", description="Shopify tells", webhook_enabled=True, execution_mode="async")
async def orders(context: Context, order: Any) -> None: ...


@workflow(name="mail_arrived", description="Graph tells", webhook_enabled=True, execution_mode="async")
async def mail_arrived(context: Context, notifications: Any) -> None: ...
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The second terminal: in the project that `runlane init` made, an engine running."""
    project = tmp_path_factory.mktemp("reader") / "my-automation"
    subprocess.run([sys.executable, "-m", "runlane_cli.main", "init", str(project)], check=True, timeout=60)
    guides = [ROOT / "docs" / "guide" / f"{name}.md" for name in ("approvals", "forms", "webhooks")]
    for number, block in enumerate(blocks("python", documents=[ROOT / "README.md", *guides])):
        if "@workflow" in block.text:
            (project / "workflows" / f"shown_{number}.py").write_text(block.text)
    (project / "workflows" / "senders.py").write_text(_SENDERS)
    engine = Engine(project / ".runlane", project / "workflows")
    engine.start()
    yield Reader(engine, project, tuple(LEFT_OUT), **VARIABLES)
    engine.stop()


def test_every_command_shown_does_what_is_said(session: Reader) -> None:
    """In their order: a later block looks at what an earlier one did."""
    said = "\n".join(session.run(block) for block in SHOWN)

    assert "Hello Ada of Demo organisation" in said
    assert "child died" in said
    assert session.engine.log().count("Traceback") == 0


@pytest.mark.parametrize("guide", GUIDES)
def test_every_command_of_a_guide_works(session: Reader, guide: str) -> None:
    """In their order: `secrets` speaks of the organisation that `organisations` made."""
    session.run(*blocks("sh", documents=[ROOT / "docs" / "guide" / f"{guide}.md"]))

    assert session.engine.log().count("Traceback") == 0


def test_the_tests_of_the_testing_guide_pass(tmp_path: Path) -> None:
    """All its blocks are one file of tests in a project that `runlane init` made."""
    project = tmp_path / "onboarding"
    subprocess.run([sys.executable, "-m", "runlane_cli.main", "init", str(project)], check=True, timeout=60)
    shown = blocks("python", documents=[ROOT / "docs" / "guide" / "testing.md"])
    (project / "tests" / "test_shown.py").write_text("\n\n".join(block.text for block in shown))

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "asyncio_mode=auto"],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )

    assert ran.returncode == 0, ran.stdout
    assert f"{len(re.findall('def test_', ''.join(block.text for block in shown))) + 3} passed" in ran.stdout


def test_the_programs_of_the_clients_guide_run(session: Reader) -> None:
    programs = blocks("python", documents=[ROOT / "docs" / "guide" / "client.md"])

    said = [session.python(program) for program in programs]

    assert len(said) == 4
    assert "Success" in said[0]
    assert "state" in said[1]


@pytest.mark.parametrize("number", [0, 1, 2], ids=["live", "durable", "socket"])
def test_each_listener_of_the_events_guide_hears_what_runs(session: Reader, number: int) -> None:
    programs = blocks("python", documents=[ROOT / "docs" / "guide" / "events.md"])
    access = session.run(*blocks("sh", documents=[ROOT / "docs" / "guide" / "events.md"]), then="env")
    environment = dict(line.split("=", 1) for line in access.splitlines() if line.startswith("NATS_"))

    with session.listener(programs[number], environment) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline() == "listening\n"
        session.run(text="runlane run hello --param name=Ada > /dev/null")
        heard = listener.communicate(timeout=60)[0]

    assert len(programs) == 3
    assert listener.returncode == 0
    assert "dev.runlane.execution.started" in heard
    assert "dev.runlane.execution.succeeded" in heard


def test_nothing_is_shown_that_no_test_runs() -> None:
    run_here = {
        "README.md",
        "docs/guide/operating.md",
        "docs/guide/events.md",
        *(f"docs/guide/{guide}.md" for guide in GUIDES),
    }

    showing = {block.place.partition(":")[0] for block in blocks("sh", "console", "bash", "shell")}

    assert showing == run_here | ELSEWHERE.keys()


def test_no_line_is_left_out_that_no_document_has() -> None:
    lines = [line for block in blocks("sh") for line in block.text.splitlines()]

    for beginning in LEFT_OUT:
        assert any(line.startswith(beginning) for line in lines), beginning


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_block_is_fenced_so_that_none_escapes_these_tests(document: Path) -> None:
    outside = re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.M | re.S)

    assert re.search(r"\n\n {4}\S.*", outside) is None
