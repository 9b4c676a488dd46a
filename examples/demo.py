"""`make demo`: starts the engine on a fresh directory, runs a workflow in each mode over HTTP, shows the record.

Exits with 1 when anything is not as it should be, or when a process is left over.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

WORKFLOWS = Path(__file__).parent / "workflows"
STOP_SECONDS = 60
LAST_SECONDS = 5  # for what was ended to be gone


def main() -> None:
    with (
        tempfile.TemporaryDirectory(prefix="runlane-demo-") as directory,
        engine(Path(directory)) as ready,
        client(ready) as http,
    ):
        synchronous(http)
        asynchronous(http)
        scheduled(http)
        execution_id = onboarding(http)
        title("The record")
        show(succeeded(http.get(f"/executions/{execution_id}/record")))
    title("Done; everything was stopped.")


def synchronous(http: httpx.Client) -> None:
    title("Synchronous: the caller waits for the result")
    answer = succeeded(http.post("/workflows/hello", json={"name": "Ada", "language": "de"}))
    show(answer)
    check(answer["result"]["greeting"] == "Guten Tag, Ada!", "the greeting is right")
    refused = http.post("/workflows/hello", json={"name": 5})
    show(refused.json())
    check(refused.status_code == 400, "a wrong parameter is refused")


def asynchronous(http: httpx.Client) -> None:
    title("Asynchronous: the caller gets an id and looks at it")
    answer = http.post("/workflows/migrate_mailboxes", json={"user_ids": ["ada", "grace", "edsger"]})
    check(answer.status_code == 202, "it was accepted")
    accepted = answer.json()
    show(accepted)
    seen: set[object] = set()
    while (execution := succeeded(http.get(accepted["pollUrl"])))["status"] in ("Queued", "Running"):
        if execution["progress"] not in seen:
            seen.add(execution["progress"])
            print(f"  {execution['status']} {execution['progress'] or 0:.0f} %")
        time.sleep(0.05)
    check(execution["status"] == "Success", "it succeeded")
    show({"status": execution["status"], "result": execution["result"], "durationMs": execution["durationMs"]})


def scheduled(http: httpx.Client) -> None:
    title("Scheduled: nine in the morning in each organisation, and now because we ask for it")
    show(succeeded(http.get("/schedules")))
    answer = http.post("/schedules/daily_licence_audit/run")
    check(answer.status_code == 202, "it was accepted")
    execution = succeeded(http.get(answer.json()["pollUrl"], params={"wait": 20}))
    check(execution["status"] == "Success", "it succeeded")
    show({"trigger": execution["trigger"], "status": execution["status"], "result": execution["result"]})


def onboarding(http: httpx.Client) -> str:
    title("Checkpoints, steps, logs and variables")
    user = {"email": "john@acme.example", "first_name": "John", "last_name": "Doe"}
    answer = succeeded(http.post("/workflows/complex_onboarding", json=user))
    show(answer)
    check(answer["result"]["checkpoints_completed"] == 3, "all checkpoints were reached")
    return str(answer["executionId"])


@contextmanager
def engine(directory: Path) -> Iterator[dict[str, str]]:
    """`runlane up`, from its ready line to the end of its last process."""
    title("Starting nats-server, recorder, executor, scheduler and gateway")
    began = time.monotonic()
    command = [sys.executable, "-m", "runlane_cli.main", "up", "--json", "--port", "0"]
    command += ["--data", str(directory / "data"), "--workflows", str(WORKFLOWS)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline() or "null")
        check(ready is not None, "the engine is ready")
        print(f"  ready after {time.monotonic() - began:.1f} s at {ready['url']}")
        yield ready
    finally:
        services = family(process.pid)
        code = stopped(process)
        check(code == 0, f"the engine was stopped (exit code {code})")
        deadline = time.monotonic() + LAST_SECONDS
        while (left := [pid for pid in services if runs(pid)]) and time.monotonic() < deadline:
            time.sleep(0.02)
        check(not left, f"no process is left over {left}")


def stopped(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()  # everything below it ends with it
        return process.wait()


def client(ready: dict[str, str]) -> httpx.Client:
    """With the key of the organisation `demo`: it needs no organisation header."""
    headers = {"Authorization": f"Bearer {ready['orgApiKey']}"}
    return httpx.Client(base_url=ready["url"], headers=headers, timeout=40, trust_env=False)


def succeeded(answer: httpx.Response) -> dict[str, Any]:
    check(answer.status_code == 200, f"{answer.request.method} {answer.request.url.path}: {answer.text[:500]}")
    body: dict[str, Any] = answer.json()
    return body


def family(root: int) -> set[int]:
    """Every process below one, where the system shows them."""
    parents = {int(entry.name): parent_of(entry) for entry in Path("/proc").glob("[0-9]*")}
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {root}


def parent_of(entry: Path) -> int:
    return int(status(entry)[1])


def runs(pid: int) -> bool:
    return status(Path(f"/proc/{pid}"))[0] not in ("gone", "Z")


def status(entry: Path) -> list[str]:
    """State, parent and more of a process (proc(5))."""
    try:
        return (entry / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["gone", "0"]


def check(good: bool, what: str) -> None:
    if not good:
        print(f"FAILED: {what}", file=sys.stderr)
        raise SystemExit(1)


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def show(value: object) -> None:
    print("\n".join(f"  {line}" for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines()), flush=True)


if __name__ == "__main__":
    main()
