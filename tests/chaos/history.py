"""The history: what clients and workflow code did and saw, one JSON object a line, appended outside the engine."""

import os
import time
from pathlib import Path
from typing import Any

import msgspec


class History:
    """Appends to a file in single writes, so that lines of several processes never mix."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def note(self, **facts: Any) -> None:
        os.write(self._handle, msgspec.json.encode({"at": round(time.time(), 4), **facts}) + b"\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """All lines in the order in which they were written; a last one without its end does not count."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [msgspec.json.decode(line) for line in lines]
