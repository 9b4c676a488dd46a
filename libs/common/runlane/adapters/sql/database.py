"""A database as the record store uses it: one writer, some readers, each on threads of its own.

Work is given as plain functions of a `Connection`. Threads rather than SQLAlchemy's asyncio layer: a whole batch costs
one hand-over instead of one per statement, and it needs no greenlet.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from . import dialect

_T = TypeVar("_T")

_READERS = 4
_BUSY_SECONDS = 5.0


class Database:
    """Connections to one database. Readers never wait for the writer."""

    def __init__(self, url: str, *, fsync: bool = False, busy_seconds: float = _BUSY_SECONDS) -> None:
        self.url = dialect.parse_url(url)
        self._writer = _engine(self.url, writing=True, connections=1, fsync=fsync, busy_seconds=busy_seconds)
        self._reader = _engine(self.url, writing=False, connections=_READERS, fsync=fsync, busy_seconds=busy_seconds)
        self._writing = ThreadPoolExecutor(1, "record-writer")
        self._reading = ThreadPoolExecutor(_READERS, "record-reader")

    async def write(self, work: Callable[[Connection], _T]) -> _T:
        """Run `work` in a transaction beside which nobody writes. Raises `StoreUnavailable`; then nothing was written.

        Whoever is cancelled while waiting here does not know whether it was written.
        """
        return await asyncio.get_running_loop().run_in_executor(self._writing, _transaction, self._writer, work)

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """Run `work` on one snapshot of the database. Raises `StoreUnavailable`."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, _transaction, self._reader, work)

    async def close(self) -> None:
        """Wait for what is running and close every connection."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writing.shutdown()
        self._reading.shutdown()
        self._reader.dispose()
        self._writer.dispose()


def _engine(url: URL, *, writing: bool, connections: int, fsync: bool, busy_seconds: float) -> Engine:
    opening = dialect.Opening(writing=writing, connections=connections, fsync=fsync, busy_seconds=busy_seconds)
    return dialect.open_engine(url, opening)


def _transaction(engine: Engine, work: Callable[[Connection], _T]) -> _T:
    try:
        with engine.begin() as connection:
            return work(connection)
    except DBAPIError as problem:
        known = dialect.unavailable(engine.name, problem)
        if known is None:
            raise
        raise known from None
