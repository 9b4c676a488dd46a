"""Every command prints JSON with `--json`, and nothing else on stdout; Tab completes names."""

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from runlane_cli.completing import SHELLS, VARIABLE
from runlane_cli.main import app
from tests.support.engine import Engine

#: A service that logs until it ends, and a script for the shell.
PRINTS_NO_DATA = {"serve", "completion"}

#: Run by tests of their own with `--json`: they end, need a server of their own, or a dead letter.
ELSEWHERE = {"up", "drain", "backup", "restore", "verify", "migrate", "secrets rotate-key"}
ELSEWHERE |= {"dead show", "dead redrive", "dead discard", "webhooks replay", "webhooks set", "webhooks rotate"}
ELSEWHERE |= {"approve", "reject"}
ELSEWHERE |= {f"subscriptions {name}" for name in ("add", "show", "set", "remove", "rotate", "test", "attempts")}

WORKFLOWS = """
import asyncio

from runlane import Context, workflow


@workflow(name="hello", description="Greets")
async def hello(context: Context, name: str = "World") -> str:
    context.progress(50, "half of it")
    return f"Hello {name}"


@workflow(name="fails", description="Fails", execution_mode="async")
async def fails(context: Context) -> None:
    raise ValueError("no")


@workflow(name="asks", description="Asks first", execution_mode="async", requires_approval=True)
async def asks(context: Context) -> str:
    return "done"


@workflow(name="waits", description="Waits", execution_mode="async")
async def waits(context: Context) -> None:
    await context.wait_for_event("never")
"""

#: In this order, each on what the ones before left. `{id}` is an execution, `{key}` a key that was made.
COMMANDS = [
    "version",
    "init made",
    "deploy-secrets secrets",
    "doctor",
    "events-access",
    "whoami",
    "workflows",
    "schedules",
    "executors",
    "run hello --param name=Ada",
    "batch hello batch.ndjson",
    "executions list",
    "executions show {id}",
    "executions tail {id}",
    "executions retry {id}",
    "executions cancel {waiting}",
    "executions send-event {other} never",
    "executions bulk-cancel --workflow waits --yes",
    "executions bulk-retry --status Cancelled --workflow waits --yes",
    "overview",
    "approvals list",
    "approvals show {asking}",
    "approvals set-rule hello --required",
    "approvals rules",
    "approvals delete-rule hello",
    "config set limit 3",
    "config get limit",
    "config list",
    "config import config.json",
    "config delete limit",
    "secrets set token --value s3cret",
    "secrets list",
    "secrets delete token",
    "orgs add acme --name Acme",
    "orgs list",
    "orgs disable hello",
    "orgs enable hello",
    "orgs delete acme --yes",
    "keys create helpdesk --permission canExecuteWorkflows",
    "keys list",
    "keys show {key}",
    "keys revoke {key}",
    "forms list",
    "forms show hello",
    "forms apply form.json",
    "forms submit greeting --field name=Ada",
    "forms delete greeting",
    "dead list",
    "webhooks list",
    "webhooks show hello",
    "webhooks url hello",
    "webhooks deliveries hello",
    "webhooks delete hello",
    "subscriptions list",
    "audit",
]


def commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, set[str]]]:
    if isinstance(command, TyperGroup):
        for name, each in command.commands.items():
            yield from commands(each, (*path, name))
    else:
        yield " ".join(path), {option for one in getattr(command, "params", []) for option in one.opts}


ALL = dict(commands(typer.main.get_command(app)))


def name_of(line: str) -> str:
    return next(" ".join(line.split()[:count]) for count in (2, 1) if " ".join(line.split()[:count]) in ALL)


class Shell:
    """Runs command lines in a directory where an engine runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "runlane_cli.main", *words]
        return subprocess.run(
            command,
            cwd=self.directory,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def json(self, line: str) -> Any:
        ran = self(*line.split(), "--json")
        assert ran.returncode == 0, f"{line}: {ran.stdout}{ran.stderr}"
        return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    directory = tmp_path_factory.mktemp("json")
    (directory / "workflows").mkdir()
    (directory / "workflows" / "jobs.py").write_text(WORKFLOWS)
    (directory / "config.json").write_text('{"domain": "acme.example"}')
    (directory / "batch.ndjson").write_text('{"parameters": {"name": "Ada"}}\n{"parameters": {"name": "Grace"}}\n')
    form = {"id": "greeting", "name": "Greeting", "linkedWorkflow": "hello"}
    form["fields"] = [{"name": "name", "type": "text", "label": "Name"}]  # type: ignore[assignment]
    (directory / "form.json").write_text(json.dumps(form))
    engine = Engine(directory / ".runlane", directory / "workflows")
    engine.start()
    yield Shell(directory)
    engine.stop()


def test_every_command_has_json_and_is_tried() -> None:
    assert {name for name, options in ALL.items() if "--json" not in options} == PRINTS_NO_DATA
    assert {name_of(line) for line in COMMANDS} | ELSEWHERE | PRINTS_NO_DATA == ALL.keys()


def test_every_command_prints_json_and_nothing_else(shell: Shell) -> None:
    ids: Mapping[str, str] = {
        "id": shell.json("run hello")["executionId"],
        "asking": shell.json("run asks --no-wait")["executionId"],
        "waiting": shell.json("run waits --no-wait")["executionId"],
        "other": shell.json("run waits --no-wait")["executionId"],
    }
    for line in COMMANDS:
        said = shell.json(line.format_map({**ids, "key": ids.get("key", "")}))
        if line.startswith("keys create"):
            ids = {**ids, "key": said["id"]}


def test_who_waits_for_an_execution_that_fails_exits_with_1(shell: Shell) -> None:
    assert shell("run", "fails").returncode == 1
    failed = shell.json("executions list --workflow fails --limit 1")["executions"][0]["executionId"]
    assert shell("executions", "tail", failed).returncode == 1
    assert shell("executions", "retry", failed, "--wait").returncode == 1
    assert shell("forms", "submit", "fails").returncode == 1
    assert shell("run", "fails", "--no-wait").returncode == 0


@pytest.mark.parametrize("shell_name", SHELLS)
def test_each_shell_is_offered_commands_workflows_organisations_and_executions(shell: Shell, shell_name: str) -> None:
    script = shell("completion", shell_name).stdout
    assert f"{VARIABLE}=complete_{shell_name}" in script

    def offered(line: str) -> str:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_TYPER_COMPLETE_ARGS": line}
        fish = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
        return shell(**words, **fish, **{VARIABLE: f"complete_{shell_name}"}).stdout

    assert "executions" in offered("runlane exec")
    assert "hello" in offered("runlane run he")
    assert "demo" in offered("runlane run hello --org de")
    known = shell.json("run hello")["executionId"]
    assert known in offered(f"runlane executions show {known[:12]}")


def test_where_no_engine_is_nothing_is_offered_and_nothing_said(tmp_path: Path) -> None:
    line = "runlane run he"
    ran = Shell(tmp_path)(COMP_WORDS=line, COMP_CWORD="2", **{VARIABLE: "complete_bash"})

    assert (ran.stdout.strip(), ran.stderr) == ("", "")


def test_a_shell_that_is_not_known_is_refused(tmp_path: Path) -> None:
    ran = Shell(tmp_path)("completion", "tcsh")

    assert (ran.returncode, "bash, zsh, fish" in ran.stderr) == (2, True)


def test_a_terminal_sees_a_bar_and_a_pipe_sees_none(shell: Shell) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "runlane_cli.main", "run", "hello"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, cwd=shell.directory, stdout=follower, stderr=follower, env=environment) as process:
        os.close(follower)
        seen = read_all(leader, time.monotonic() + 60)
        assert process.wait(60) == 0

    assert b"\x1b[" in seen
    assert "━".encode() in seen
    piped = shell("run", "hello")
    assert "\x1b" not in piped.stdout + piped.stderr
    assert "━" not in piped.stdout + piped.stderr


def read_all(descriptor: int, deadline: float) -> bytes:
    seen = b""
    while time.monotonic() < deadline:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # the last writer is gone
            break
        if not part:
            break
        seen += part
    os.close(descriptor)
    return seen
