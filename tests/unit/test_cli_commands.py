"""Commands against a small real HTTP server that answers as the gateway does and hangs up at will."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from runlane.client.sse import ServerEvent, read_events
from runlane_cli import following
from runlane_cli.client import Gateway
from runlane_cli.connection import Target
from runlane_cli.main import main
from runlane_cli.natsserver import free_port
from runlane_cli.problems import CommandFailed

MANIFEST = {
    "name": "hello",
    "executionMode": "sync",
    "category": "Examples",
    "description": "Greets [bold]somebody[/bold].",
    "parameters": {"properties": {"name": {"type": "string"}, "times": {"type": "integer"}}},
}
SUCCEEDED = {
    "executionId": "e1",
    "workflowName": "hello",
    "orgId": "demo",
    "status": "Success",
    "queuedAt": "2025-10-10T14:30:00.000Z",
    "durationMs": 1234,
    "attempt": 1,
    "input": {"name": "Ada"},
    "result": {"greeting": "Hallo [red]Ada[/red]"},
    "logs": [{"timestamp": "2025-10-10T14:30:00Z", "level": "info", "message": "Greeting", "data": {"n": 1}}],
}
FAILED = SUCCEEDED | {"status": "Failed", "error": "ValidationError", "message": "no such name", "result": None}
ACCEPTED = {"executionId": "e1", "status": "Queued", "pollUrl": "/executions/e1"}


class Asked(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


def event(id_: str, name: str, **data: object) -> str:
    return f"id: {id_}\nevent: {name}\ndata: {json.dumps(data)}\n\n"


LOG = event("1-0", "log", timestamp="2025-10-10T14:30:00Z", level="info", message="Greeting \x1b[31m[b]Ada[/b]")
ENDED = event("2-1", "state", timestamp="2025-10-10T14:30:01Z", status="Success", durationMs=1234)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A command that has hung up is no trouble of the server's, and its words are not the command's."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class FakeGateway:
    """`answers` maps `METHOD path` to (status, JSON), or to a list of event streams, one for each time it is asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, Any] = {
            "GET /workflows/hello": (200, MANIFEST),
            "POST /workflows/hello": (202, ACCEPTED),
            "GET /executions/e1": (200, SUCCEEDED),
            "GET /executions/e1/events": [LOG + ENDED],
        }
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def last(self, method: str) -> Asked:
        return next(asked for asked in reversed(self.asked) if asked.method == method)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                gateway.asked.append(Asked(self.command, self.path, json.loads(raw) if raw else None, headers))
                missing = (404, {"status": "Failed", "error": "NotFound", "message": "There is no such thing here."})
                answer = gateway.answers.get(f"{self.command} {self.path.partition('?')[0]}", missing)
                if isinstance(answer, list):
                    status, kind, body = 200, "text/event-stream", (answer.pop(0) if answer else "").encode()
                else:
                    status, kind, body = answer[0], "application/json", json.dumps(answer[1]).encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = _answer

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler


@pytest.fixture
def gateway() -> Iterator[FakeGateway]:
    made = FakeGateway()
    yield made
    made.close()


class Ran(NamedTuple):
    code: object
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def runlane(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Command:
    """Run a command line in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNLANE_URL", gateway.url)
    monkeypatch.setenv("RUNLANE_API_KEY", "rl_key_secret")
    monkeypatch.setattr(following, "_AGAIN_SECONDS", 0)

    def run(*words: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["runlane", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ran(ended.value.code, captured.out, captured.err)

    return run


# --- run --------------------------------------------------------------------------------------------------------------


def test_run_prints_the_result_on_stdout_and_the_rest_on_stderr(runlane: Command, gateway: FakeGateway) -> None:
    ran = runlane("run", "hello", "--param", "name=5", "--param", "times=2", "--org", "acme")

    assert (ran.code, json.loads(ran.out)) == (0, {"greeting": "Hallo [red]Ada[/red]"})
    assert "Greeting �[31m[b]Ada[/b]" in ran.err
    asked = gateway.last("POST")
    assert asked.body == {"name": "5", "times": 2}
    assert asked.headers["authorization"] == "Bearer rl_key_secret"
    assert asked.headers["x-organization-id"] == "acme"
    assert asked.headers["prefer"] == "respond-async"


def test_run_passes_delay_and_idempotency_key(runlane: Command, gateway: FakeGateway) -> None:
    ran = runlane("run", "hello", "--delay", "1.5", "--idempotency-key", "k", "--no-wait")

    assert (ran.code, ran.out) == (0, "e1\n")
    assert gateway.last("POST").path == "/workflows/hello?delaySeconds=1.5"
    assert gateway.last("POST").headers["idempotency-key"] == "k"
    assert "x-organization-id" not in gateway.last("POST").headers


def test_run_exits_with_1_when_the_execution_failed(runlane: Command, gateway: FakeGateway) -> None:
    gateway.answers["GET /executions/e1"] = (200, FAILED)
    gateway.answers["GET /executions/e1/events"] = [event("2-0", "state", status="Failed")]

    ran = runlane("run", "hello", "--json")

    assert ran.code == 1
    assert json.loads(ran.out) == FAILED
    said = "runlane: hello did not succeed. ValidationError: no such name\n"
    assert ran.err == f"{said}Look at all of it with: runlane executions show e1\n"


def test_run_goes_on_where_it_was_when_the_stream_breaks(runlane: Command, gateway: FakeGateway) -> None:
    gateway.answers["GET /executions/e1/events"] = [LOG, "", ENDED]

    ran = runlane("run", "hello")

    assert ran.code == 0
    streams = [asked for asked in gateway.asked if asked.path.endswith("/events")]
    assert [asked.headers.get("last-event-id") for asked in streams] == [None, "1-0", "1-0"]
    assert ran.err.count("Greeting") == 1


def test_run_exits_with_4_when_it_still_runs_after_the_timeout(runlane: Command, gateway: FakeGateway) -> None:
    gateway.answers["GET /executions/e1/events"] = []

    ran = runlane("run", "hello", "--timeout", "0.05")

    assert ran.code == 4
    assert "runlane executions tail e1" in ran.err


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (400, {"message": "must be a string", "details": {"field": "name"}}, 2, "name: must be a string"),
        (401, {"message": "This API key is not valid."}, 2, "Check --key"),
        (404, {"message": "There is no workflow 'hello'."}, 2, "There is no workflow"),
        (503, {"message": "NATS is away"}, 3, "NATS is away"),
        (500, {"message": "An unexpected error occurred"}, 1, "unexpected error"),
        (502, "a proxy's page", 1, "HTTP 502"),
    ],
)
def test_a_refusal_becomes_a_sentence_and_an_exit_code(
    runlane: Command, gateway: FakeGateway, status: int, body: object, code: int, message: str
) -> None:
    gateway.answers["POST /workflows/hello"] = (status, body)

    ran = runlane("run", "hello", "--no-wait")

    assert ran.code == code
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_an_engine_that_does_not_answer_is_exit_code_3(runlane: Command) -> None:
    ran = runlane("workflows", "--url", f"http://127.0.0.1:{free_port()}")

    assert ran.code == 3
    assert "cannot be reached" in ran.err
    assert ran.err.endswith("Look whether it runs there; --url or RUNLANE_URL names another.\n")


@pytest.mark.parametrize(
    "words",
    [
        ("run",),
        ("run", "hello", "--param", "novalue"),
        ("run", "hello", "--delay", "-1"),
        ("run", "hello", "--params", "[]"),
        ("nonsense",),
        ("executions", "list", "--limit", "0"),
        ("serve", "nonsense"),
        ("up", "--workflows", "/no/such/directory"),
        ("up", "--executors", "0"),
    ],
)
def test_wrong_use_is_exit_code_2(runlane: Command, words: tuple[str, ...]) -> None:
    ran = runlane(*words)

    assert ran.code == 2
    assert "Traceback" not in ran.err


# --- looking at executions and the directory --------------------------------------------------------------------------


def test_executions_list_shows_ids_whole_and_passes_filters(runlane: Command, gateway: FakeGateway) -> None:
    execution_id = "0" * 32
    page = {"executions": [SUCCEEDED | {"executionId": execution_id}], "next": "cursor"}
    gateway.answers["GET /executions"] = (200, page)

    ran = runlane("executions", "list", "--status", "Failed", "--status", "Success", "--workflow", "hello")

    assert execution_id in ran.out
    assert "--after cursor" in ran.err
    assert gateway.last("GET").path == "/executions?status=Failed&status=Success&workflow=hello&limit=20"
    assert json.loads(runlane("executions", "list", "--json").out) == page


def test_executions_show_tells_what_happened(runlane: Command) -> None:
    ran = runlane("executions", "show", "e1")

    assert ran.code == 0
    for part in ("Success", "1.2 s", 'Greeting  {"n": 1}', "Hallo [red]Ada[/red]"):
        assert part in ran.out


def test_progress_is_shown_in_percent(runlane: Command, gateway: FakeGateway) -> None:
    gateway.answers["GET /executions/e1"] = (200, SUCCEEDED | {"progress": 37.5})

    assert "37.5 %" in runlane("executions", "show", "e1").out


def test_a_secret_that_was_read_is_a_line_as_others_are(runlane: Command, gateway: FakeGateway) -> None:
    read = 'id: 1-0\nevent: secret\ndata: {"timestamp": "2025-10-10T14:30:00Z", "name": "halo_client_secret"}\n\n'
    gateway.answers["GET /executions/e1/events"] = [read + ENDED]

    said = runlane("run", "hello").err

    assert "halo_client_secret was read" in said
    assert "timestamp" not in said


def test_an_id_cannot_lead_to_another_path(runlane: Command, gateway: FakeGateway) -> None:
    ran = runlane("executions", "show", "../workflows")

    assert ran.code == 2
    assert gateway.last("GET").path == "/executions/..%2Fworkflows"


def test_cancel_and_retry(runlane: Command, gateway: FakeGateway) -> None:
    gateway.answers["POST /executions/e1/cancel"] = (200, {"executionId": "e1", "status": "Cancelled"})
    gateway.answers["POST /executions/e1/retry"] = (202, ACCEPTED)

    assert runlane("executions", "cancel", "e1", "--reason", "wrong org").out == "e1 Cancelled\n"
    assert gateway.last("POST").body == {"reason": "wrong org"}
    assert runlane("executions", "retry", "e1").out == "e1\n"
    assert json.loads(runlane("executions", "retry", "e1", "--wait").out) == SUCCEEDED["result"]


def test_workflows_shows_which_files_did_not_import(runlane: Command, gateway: FakeGateway) -> None:
    failure = {"file": "broken.py", "message": "NameError: nmae", "origin": "default"}
    gateway.answers["GET /workflows"] = (200, {"workflows": [MANIFEST], "failures": [failure]})

    ran = runlane("workflows")

    assert "Greets [bold]somebody[/bold]." in ran.out
    assert "broken.py could not be imported" in ran.err
    assert "NameError: nmae" in ran.err


def test_schedules_shows_when_each_runs_next(runlane: Command, gateway: FakeGateway) -> None:
    audit = {"workflow": "audit", "schedule": "0 9 * * *", "timeZone": "org", "enabled": False, "nextFires": []}
    gateway.answers["GET /schedules"] = (200, {"schedules": [audit]})

    assert "paused" in runlane("schedules").out


def test_config_is_set_as_json_or_text(runlane: Command, gateway: FakeGateway) -> None:
    gateway.answers["PUT /orgs/acme/config/limit"] = (200, {})
    gateway.answers["GET /orgs/acme/config"] = (200, {"config": [{"key": "limit", "value": [1, "a"]}]})

    assert runlane("config", "set", "limit", "[1, 2]", "--org", "acme").code == 0
    assert gateway.last("PUT").body == {"value": [1, 2]}
    assert runlane("config", "set", "limit", "many", "--org", "acme").code == 0
    assert gateway.last("PUT").body == {"value": "many"}
    assert json.loads(runlane("config", "get", "limit", "--org", "acme").out) == [1, "a"]
    assert runlane("config", "get", "other", "--org", "acme").code == 2
    assert '[1, "a"]' in runlane("config", "list", "--org", "acme").out


def test_config_needs_an_organisation(runlane: Command) -> None:
    ran = runlane("config", "list")

    assert ran.code == 2
    assert "Which organisation?" in ran.err


def test_a_secret_comes_from_stdin_and_is_not_printed(
    runlane: Command, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gateway.answers["PUT /orgs/acme/secrets/token"] = (200, {})
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    with file.open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        ran = runlane("secrets", "set", "token", "--org", "acme")

    assert gateway.last("PUT").body == {"value": "s3cret"}
    assert "s3cret" not in ran.out + ran.err


def test_an_empty_secret_is_refused(runlane: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open() as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        ran = runlane("secrets", "set", "token", "--org", "acme")

    assert ran.code == 2


def test_orgs_are_added_and_listed(runlane: Command, gateway: FakeGateway) -> None:
    acme = {"id": "acme", "name": "Acme", "timeZone": "Europe/Vienna", "tenantId": None}
    gateway.answers["PUT /orgs/acme"] = (200, acme)
    gateway.answers["GET /orgs"] = (200, {"organizations": [acme]})

    assert runlane("orgs", "add", "acme", "--name", "Acme", "--time-zone", "Europe/Vienna").code == 0
    assert gateway.last("PUT").body == {"name": "Acme", "time_zone": "Europe/Vienna"}
    assert "Europe/Vienna" in runlane("orgs", "list").out


def test_version(runlane: Command) -> None:
    assert runlane("version").out.startswith("runlane 0.")


# --- parts ------------------------------------------------------------------------------------------------------------


def test_server_sent_events_are_read_as_the_standard_says() -> None:
    lines = [": hello", "id: 1", "event: log", "data: a", "data:b", "", "data:  c", "", "", "event: x", "", "data: cut"]

    assert list(read_events(lines)) == [ServerEvent("log", "a\nb", "1"), ServerEvent("message", " c", "1")]


def test_following_gives_up_on_a_gateway_that_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_AWAY_SECONDS", 0)
    monkeypatch.setattr(following, "_AGAIN_SECONDS", 0)
    target = Target(url=f"http://127.0.0.1:{free_port()}", key="rl_a_b", org=None)

    with Gateway(target) as gateway, pytest.raises(CommandFailed) as caught:
        following.follow(gateway, "e1", lambda *_: None)

    assert caught.value.exit_code == 3
