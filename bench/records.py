"""A look into the record store of a running engine, past the engine. Used by `bench.recovery`."""

import os
import time
from contextlib import suppress
from pathlib import Path

import sqlalchemy

from bench.load import until


def store_url(data: Path) -> str:
    """Where an engine with this data directory keeps its records: as it is told itself."""
    return os.environ.get("RUNLANE_DATABASE_URL") or f"sqlite:///{data / 'records.db'}"


class Records:
    """The record store of the engine with a data directory, only read."""

    def __init__(self, data: Path) -> None:
        url = store_url(data).replace("postgresql://", "postgresql+psycopg://")
        self._engine = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        self._engine.dispose()

    def succeeded(self, workflow: str) -> set[str]:
        """The executions of a workflow that are recorded as succeeded."""
        query = "SELECT execution_id FROM executions WHERE workflow = :workflow AND status = 'Success'"
        return {row[0] for row in self._rows(query, workflow=workflow)}

    def has(self, execution: str) -> bool:
        """Whether this one is."""
        query = "SELECT 1 FROM executions WHERE execution_id = :execution AND status = 'Success'"
        return bool(self._rows(query, execution=execution))

    def tick_started(self, tick: int) -> float | None:
        """When the execution of the tick at these epoch seconds began, in epoch seconds; None until it has."""
        query = """SELECT started_at FROM ticks JOIN executions ON executions.execution_id = ticks.execution_id
                   WHERE ticks.scheduled_for = :tick"""
        rows = self._rows(query, tick=tick * 1_000_000)
        return None if not rows or rows[0][0] is None else rows[0][0] / 1e6

    def _rows(self, query: str, **values: object) -> list[sqlalchemy.Row[tuple[object, ...]]]:
        """None where the database is away: then it is asked again."""
        with suppress(sqlalchemy.exc.OperationalError), self._engine.connect() as connection:
            return list(connection.execute(sqlalchemy.text(query), values))
        return []

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
