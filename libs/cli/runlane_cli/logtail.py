"""Shows what services write to their logs, each line with the service's name before it: `runlane up --verbose`."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

_LOOK_SECONDS = 0.2


class _Tail:
    """What comes to one log from now on, line by line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0
        self._unfinished = b""

    def new_lines(self) -> list[str]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            text = self._unfinished + file.read()
            self._position = file.tell()
        *lines, self._unfinished = text.split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]


async def tail_logs(logs: Sequence[Path]) -> None:
    """Copy new lines of these logs to stderr until cancelled."""
    tails = {path.stem: _Tail(path) for path in logs}
    while True:
        for name, tail in tails.items():
            for line in tail.new_lines():
                print(f"{name:<12} {line}", file=sys.stderr)
        await asyncio.sleep(_LOOK_SECONDS)
