"""What authors' code prints: a line becomes a log line of the execution that printed it, redacted as all of them.

`child` puts these in place of stdout and stderr; `runner` says which execution runs. What no execution printed, such
as the traceback of a thread, goes to the executor's log, with every secret masked that this process has been given.
"""

import io
import os
import sys
import threading
from contextvars import ContextVar
from typing import TextIO

from runlane.context import Context
from runlane.redaction import Redactor

#: A longer line is logged in pieces; the record shows 1,000 characters of each.
_LONGEST_LINE = 16 * 1024

#: Knows every secret that this process has been given.
known_secrets = Redactor()


class Printing:
    """The lines that one execution prints. `close` it at its end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._begun: dict[str, str] = {}
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False
        _current.set(self)

    @property
    def open(self) -> bool:
        """False too in a process that authors' code forked: it has no way to the intake."""
        return not self._closed and self._process == os.getpid()

    def write(self, level: str, text: str) -> None:
        with self._lock:
            *lines, rest = (self._begun.get(level, "") + text).split("\n")
            if len(rest) > _LONGEST_LINE:
                lines, rest = [*lines, rest], ""
            self._begun[level] = rest
        for line in lines:
            if line.strip():
                self._context.log(level, line)

    def close(self) -> None:
        """Log what has no end of line yet. Whatever is printed later is not the execution's."""
        for level in list(self._begun):
            self.write(level, "\n")
        self._closed = True


_current: ContextVar[Printing | None] = ContextVar("printing", default=None)


class _Printed(io.RawIOBase):
    def __init__(self, level: str, otherwise: TextIO) -> None:
        self._level, self._otherwise = level, otherwise

    def writable(self) -> bool:
        return True

    def write(self, data: object, /) -> int:
        raw = bytes(data)  # type: ignore[call-overload]  # whatever has a buffer
        text = raw.decode("utf-8", "replace")
        printing = _current.get()
        if printing is not None and printing.open:
            printing.write(self._level, text)
        else:
            self._otherwise.write(known_secrets.text(text))
            self._otherwise.flush()
        return len(raw)


def take_over() -> None:
    """From now on what this process prints goes where this module says."""
    otherwise = sys.stderr
    sys.stdout, sys.stderr = _stream("info", otherwise), _stream("warning", otherwise)


class _Stream(io.TextIOWrapper):
    def close(self) -> None:
        """All executions of this process share it: what one of them closes stays open."""


def _stream(level: str, otherwise: TextIO) -> TextIO:
    raw = _Printed(level, otherwise)
    # The wrapper hands everything on at once, so a plain raw stream will do for its buffer.
    return _Stream(raw, encoding="utf-8", errors="backslashreplace", write_through=True)  # type: ignore[arg-type]
