"""A look into the record store of a running engine, past the engine. Used by `bench.recovery`."""

import sqlite3
import time
from contextlib import suppress
from pathlib import Path

from bench.load import until


class Records:
    """The SQLite file of an engine's record store, only read."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)

    def close(self) -> None:
        self._connection.close()

    def succeeded(self, workflow: str) -> set[str]:
        """The executions of a workflow that are recorded as succeeded."""
        query = "SELECT execution_id FROM executions WHERE workflow = ? AND status = 'Success'"
        return {row[0] for row in self._connection.execute(query, (workflow,))}

    def has(self, execution: str) -> bool:
        """Whether this one is."""
        query = "SELECT 1 FROM executions WHERE execution_id = ? AND status = 'Success'"
        return self._connection.execute(query, (execution,)).fetchone() is not None

    def tick_started(self, tick: int) -> float | None:
        """When the execution of the tick at these epoch seconds began, in epoch seconds; None until it has."""
        query = """SELECT started_at FROM ticks JOIN executions ON executions.execution_id = ticks.execution_id
                   WHERE ticks.scheduled_for = ?"""
        row = self._connection.execute(query, (tick * 1_000_000,)).fetchone()
        return None if row is None or row[0] is None else row[0] / 1e6

    async def missing(self, wanted: set[str], workflow: str, within: float) -> int:
        """How many of these are not recorded as succeeded, once all are or so many seconds later."""
        left, looked = set(wanted), 0.0

        def none_left() -> bool:
            nonlocal left, looked
            if left and time.monotonic() - looked > 0.2:
                left -= self.succeeded(workflow)
                looked = time.monotonic()
            return not left

        with suppress(TimeoutError):
            await until(none_left, within)
        return len(left)
