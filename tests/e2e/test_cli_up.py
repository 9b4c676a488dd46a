"""`runlane up` and the commands beside it, as a user types them: real processes, real signals, one data directory."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from runlane_cli.natsserver import free_port
from tests.support.engine import Engine, descendants
from tests.support.eventually import eventually

EXAMPLES = Path(__file__).parents[2] / "examples"

BLOCKS = """
import re
import time
from pathlib import Path
from runlane import Context, workflow


@workflow(name="block", description="Blocks its process", execution_mode="async")
async def block(context: Context, started: str) -> None:
    Path(started).touch()
    while True:
        time.sleep(0.01)
"""

RUNAWAY = "r'(a+)+$', 'a' * 64 + 'b'"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine of the test's own, over workflows that it may change."""
    workflows = tmp_path / "workflows"
    workflows.mkdir()
    (workflows / "hello.py").write_text((EXAMPLES / "workflows" / "hello.py").read_text())
    made = Engine(tmp_path / "data", workflows)
    yield made
    if made.process is not None:
        made.kill()


def runlane(*words: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "runlane_cli.main", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RUNLANE_")}
    return subprocess.run(
        command, cwd=cwd, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )


def alive(pids: list[int]) -> list[int]:
    """Those that run; one that only waits to be reaped does not."""
    return [pid for pid in pids if "\nState:\tZ" not in status(pid)]


def nobody_of(pids: list[int]) -> bool:
    """True when none of them runs; says which do."""
    left = {pid: status(pid)[:200] for pid in alive(pids)}
    assert not left, left
    return True


def status(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return "\nState:\tZ"


def test_commands_find_the_engine_of_their_directory(engine: Engine) -> None:
    engine.start()

    def here(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        ran = runlane(*words, "--data", str(engine.data), cwd=engine.data.parent, stdin=stdin)
        assert "Traceback" not in ran.stderr
        return ran

    ran = here("run", "hello", "--param", "name=Ada")
    assert (ran.returncode, json.loads(ran.stdout)["greeting"]) == (0, "Hello, Ada!"), ran.stderr
    assert "Greeting Ada" in ran.stderr

    accepted = json.loads(here("run", "hello", "--params", '{"name": "Grace"}', "--no-wait", "--json").stdout)
    tailed = here("executions", "tail", accepted["executionId"])
    assert json.loads(tailed.stdout)["greeting"] == "Hello, Grace!"
    assert accepted["executionId"] in here("executions", "list").stdout
    assert "Greeting Grace" in here("executions", "show", accepted["executionId"]).stdout
    again = here("executions", "retry", accepted["executionId"], "--wait", "--json")
    assert json.loads(again.stdout)["trigger"] == {"kind": "retry", "reference": accepted["executionId"]}

    assert here("run", "hello", "--param", "name= ").returncode == 1
    assert here("run", "hello", "--param", "language=xx", "--param", "name=a").returncode == 2
    assert here("run", "no_such_workflow").returncode == 2
    assert here("executions", "show", "no_such_execution").returncode == 2

    assert here("orgs", "add", "acme", "--name", "Acme", "--time-zone", "Europe/Vienna").returncode == 0
    assert "Acme" in here("orgs", "list").stdout
    assert here("config", "set", "limit", "[1, 2]", "--org", "acme").returncode == 0
    assert json.loads(here("config", "get", "limit", "--org", "acme").stdout) == [1, 2]
    assert here("secrets", "set", "token", "--org", "acme", stdin="s3cret-value\n").returncode == 0
    listed = here("secrets", "list", "--org", "acme")
    assert "token" in listed.stdout
    assert "s3cret-value" not in listed.stdout
    assert json.loads(here("schedules", "--json").stdout) == {"schedules": []}


async def test_it_goes_on_where_it_was_after_a_stop_and_after_kill_9(engine: Engine) -> None:
    engine.start()
    keys = engine.credentials()
    ran = runlane("run", "hello", "--param", "name=Ada", "--json", "--data", str(engine.data), cwd=engine.data.parent)
    execution_id = json.loads(ran.stdout)["executionId"]

    process = engine.process
    engine.stop()
    assert process is not None
    assert process.returncode == 0
    assert not (engine.data / "runlane.json").exists()
    engine.start()
    engine.kill()
    engine.start()

    assert engine.credentials() == keys
    async with engine.client() as client:
        found = (await client.get(f"/executions/{execution_id}")).json()
        assert found["status"] == "Success"
        assert (await client.post("/workflows/hello", json={"name": "Ada"})).status_code == 200


async def test_kill_9_of_the_supervisor_ends_everything_even_code_that_blocks(engine: Engine, tmp_path: Path) -> None:
    (engine.workflows / "block.py").write_text(BLOCKS)
    engine.start()
    async with engine.client() as client:
        assert (await client.post("/workflows/block", json={"started": str(tmp_path / "started")})).status_code == 202
    await eventually((tmp_path / "started").exists)
    assert engine.process is not None
    family = descendants(engine.process.pid)
    assert len(family) > 6

    engine.kill()

    await eventually(lambda: nobody_of(family))


async def test_kill_9_of_the_supervisor_ends_even_code_that_never_lets_go_of_the_interpreter(
    engine: Engine, tmp_path: Path
) -> None:
    (engine.workflows / "block.py").write_text(BLOCKS.replace("time.sleep(0.01)", f"re.match({RUNAWAY})"))
    engine.start()
    async with engine.client() as client:
        await client.post("/workflows/block", json={"started": str(tmp_path / "started")})
    await eventually((tmp_path / "started").exists)
    assert engine.process is not None
    family = descendants(engine.process.pid)

    engine.kill()

    await eventually(lambda: nobody_of(family))


async def test_a_second_ctrl_c_ends_everything_at_once(engine: Engine, tmp_path: Path) -> None:
    (engine.workflows / "block.py").write_text(BLOCKS)
    engine.start()
    async with engine.client() as client:
        await client.post("/workflows/block", json={"started": str(tmp_path / "started")})
    await eventually((tmp_path / "started").exists)
    process = engine.process
    assert process is not None
    family = descendants(process.pid)

    process.send_signal(signal.SIGINT)
    await eventually(lambda: "Draining" in engine.log())
    process.send_signal(signal.SIGINT)

    assert await eventually(lambda: process.poll() is not None)
    await eventually(lambda: nobody_of(family))


async def test_a_service_that_dies_comes_back_and_the_state_file_knows_it(engine: Engine) -> None:
    engine.start()
    state = engine.data / "runlane.json"
    before = json.loads(state.read_text())["services"]
    assert set(before) == {"nats-server", "recorder", "executor-1", "scheduler", "gateway"}

    os.kill(before["gateway"], signal.SIGKILL)

    after = await eventually(lambda: (now := json.loads(state.read_text())["services"]) != before and now)
    assert after["gateway"] != before["gateway"]
    assert {**after, "gateway": 0} == {**before, "gateway": 0}

    async def serves() -> bool:
        try:
            async with engine.client() as client:
                return (await client.post("/workflows/hello", json={"name": "Ada"})).status_code == 200
        except httpx.TransportError:
            return False

    await eventually(serves)
    assert "gateway ended (killed by SIGKILL); starting it again" in engine.log()


def test_a_second_engine_on_the_same_directory_is_refused(engine: Engine) -> None:
    engine.start()
    command = ("up", "--data", str(engine.data), "--workflows", str(engine.workflows))

    same_directory = runlane(*command, "--port", "0", cwd=engine.data.parent)
    same_port = runlane(
        "up",
        "--data",
        "other",
        "--workflows",
        str(engine.workflows),
        "--port",
        str(engine.port),
        cwd=engine.data.parent,
    )

    assert same_directory.returncode == 2
    assert f"already running on {engine.data}" in same_directory.stderr
    assert same_port.returncode == 2
    assert "it is in use" in same_port.stderr


async def test_reload_takes_over_a_changed_workflow(engine: Engine) -> None:
    engine.options = ("--reload", "--executors", "2", "--durability", "fsync")
    engine.start()
    file = engine.workflows / "hello.py"

    file.write_text(file.read_text().replace('"Hello"', '"Ahoy"'))

    async def changed() -> bool:
        async with engine.client() as client:
            answer = await client.post("/workflows/hello", json={"name": "Ada"})
        return bool((answer.json().get("result") or {}).get("greeting") == "Ahoy, Ada!")

    await eventually(changed, within=20)
    assert "sync_interval: always" in (engine.data / "nats.conf").read_text()
    assert len(json.loads((engine.data / "runlane.json").read_text())["services"]) == 6


def test_each_service_has_a_health_port_of_its_own(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """They all took RUNLANE_HEALTH_PORT itself, and only the first of them could start."""
    first = consecutive_ports(3)
    monkeypatch.setenv("RUNLANE_HEALTH_PORT", str(first))
    engine.start()

    shown = [httpx.get(f"http://127.0.0.1:{port}/metrics").text for port in range(first, first + 3)]

    assert "runlane_recorder_lag_events" in shown[0]
    assert "runlane_scheduler_schedules" in shown[1]
    assert "runlane_executions_running" in shown[2]
    head = httpx.head(f"http://127.0.0.1:{first}/readyz")
    assert (head.status_code, head.content, int(head.headers["content-length"]) > 0) == (200, b"", True)


def consecutive_ports(count: int) -> int:
    """The first of so many that nobody listens on at this moment."""
    while True:
        first = free_port()
        with suppress(OSError), ExitStack() as held:
            for port in range(first, first + count):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


def test_a_service_that_cannot_start_is_named_and_nothing_is_left_running(engine: Engine) -> None:
    engine.data.mkdir()
    (engine.data / "master.key").write_text("not a key")
    command = ("up", "--data", str(engine.data), "--workflows", str(engine.workflows), "--port", str(free_port()))

    ran = runlane(*command, cwd=engine.data.parent)

    assert ran.returncode == 1
    assert "does not start (exit code 2)" in ran.stderr
    assert "master key" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_init_makes_a_project_whose_test_passes(tmp_path: Path) -> None:
    made = runlane("init", "project", cwd=tmp_path)
    assert made.returncode == 0, made.stderr

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "."],
        cwd=tmp_path / "project",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert "3 passed" in tested.stdout, tested.stdout + tested.stderr
    again = runlane("init", "project", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists already" in again.stderr


async def test_the_project_that_init_makes_runs(engine: Engine, tmp_path: Path) -> None:
    assert runlane("init", "project", cwd=tmp_path).returncode == 0
    engine.workflows = tmp_path / "project" / "workflows"
    engine.start()

    async with engine.client() as client:
        answer = await client.post("/workflows/hello", json={"name": "Ada"})

    assert answer.json()["result"] == {"greetings": ["Hello Ada of Demo organisation"]}


def test_the_demo_succeeds() -> None:
    ran = subprocess.run(
        [sys.executable, str(EXAMPLES / "demo.py")], capture_output=True, text=True, check=False, timeout=120
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"Variables"' in ran.stdout
