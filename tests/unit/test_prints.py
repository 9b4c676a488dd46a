"""What authors' code prints, and where it goes."""

import asyncio
import io
import logging
import sys
import threading

import pytest

from runlane.testing import FakeContext
from runlane_executor import prints
from runlane_executor.prints import Printing


def taken_over(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The executor's log; stdout and stderr are ours until the test ends. (pytest sets its own between its phases.)"""
    log = io.StringIO()
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", log)
    prints.take_over()
    return log


async def test_prints_become_redacted_log_lines_of_their_own_execution(monkeypatch: pytest.MonkeyPatch) -> None:
    otherwise = taken_over(monkeypatch)

    async def run(name: str) -> FakeContext:
        context = FakeContext(secrets={"api_key": f"secret-of-{name}"})
        printing = Printing(context)
        secret = await context.get_secret("api_key")
        print("got", secret)
        await asyncio.sleep(0)
        print("to stderr", secret, file=sys.stderr)
        await asyncio.to_thread(print, f"{name}: two\nlines \ud800")
        sys.stdout.close()
        sys.stdout.buffer.write(f"{secret} without an end".encode())
        printing.close()
        return context

    one, other = await asyncio.gather(run("one"), run("other"))

    assert [line for _, line in one.logs] == [
        "got [REDACTED]",
        "to stderr [REDACTED]",
        "one: two",
        "lines \\ud800",
        "[REDACTED] without an end",
    ]
    assert [level for level, _ in other.logs] == ["info", "warning", "info", "info", "info"]
    assert otherwise.getvalue() == ""


async def test_what_no_execution_prints_goes_to_the_log_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    otherwise = taken_over(monkeypatch)
    prints.known_secrets.learn("s3cret-value-123")
    context = FakeContext()
    printing = Printing(context)
    thread = threading.Thread(target=print, args=("from a thread s3cret-value-123",))
    thread.start()
    thread.join()
    printing.close()
    print("too late s3cret-value-123")
    assert logging.lastResort is not None
    logging.lastResort.emit(logging.makeLogRecord({"msg": "logged s3cret-value-123"}))

    assert "from a thread [REDACTED]\n" in otherwise.getvalue()
    assert "too late [REDACTED]\n" in otherwise.getvalue()
    assert "logged [REDACTED]\n" in otherwise.getvalue()
    assert "s3cret" not in otherwise.getvalue()
    assert context.logs == []


async def test_a_line_without_an_end_is_logged_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_over(monkeypatch)
    context = FakeContext()
    printing = Printing(context)
    for _ in range(100):
        print("x" * 1000, end="")
    assert len(context.logs) >= 5
    printing.close()
