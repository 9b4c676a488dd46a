"""Does to a cluster what the plan says, and undoes it."""

import asyncio
import os
import shutil
import signal
import sqlite3
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from tests.chaos.brokers import behave
from tests.chaos.cluster import Cluster
from tests.chaos.history import History
from tests.chaos.plan import Fault
from tests.chaos.proxy import Mode


class Faults:
    """Faults of one cluster; those of one target come one after the other."""

    def __init__(self, cluster: Cluster, history: History, began: float) -> None:
        self._cluster, self._history, self._began = cluster, history, began
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.done = 0
        self.skipped: list[str] = []

    async def run(self, faults: list[Fault]) -> None:
        await asyncio.gather(*(self._one(fault) for fault in faults))

    async def _one(self, fault: Fault) -> None:
        await asyncio.sleep(max(0.0, self._began + fault.at - time.monotonic()))
        async with self._locks[fault.target]:
            self._history.note(did="fault", kind=fault.kind, target=fault.target, seconds=fault.seconds)
            happened = await self._make(fault)
            self._history.note(did="fault over", kind=fault.kind, target=fault.target, happened=happened)
        if happened:
            self.done += 1
        else:
            self.skipped.append(f"{fault.kind} {fault.target}")

    async def _make(self, fault: Fault) -> bool:
        match fault.kind:
            case "kill":
                return self._kill(fault.target)
            case "stop":
                return await self._stop(fault.target, fault.seconds)
            case "away":
                return await self._keep_away(fault.target, fault.seconds)
            case "cut":
                for proxy in self._cluster.links[fault.target].proxies:
                    proxy.cut()
                return True
            case "partition":
                await self._cluster.brokers.partition(fault.target, fault.seconds)
                return True
            case "lock":
                return await self._lock(fault.seconds)
            case "full":
                return await self._fill(fault.seconds)
            case _:
                mode: Mode = fault.kind  # type: ignore[assignment]  # the plan has no other
                await behave(self._cluster.links[fault.target].proxies, mode, fault.seconds)
                return True

    def _kill(self, target: str) -> bool:
        pids = self._cluster.pids(target)
        for pid in pids[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return bool(pids)

    async def _stop(self, target: str, seconds: float) -> bool:
        pids = self._cluster.pids(target)[:1]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        return bool(pids)

    async def _keep_away(self, target: str, seconds: float) -> bool:
        """As if its machine were lost: what is started in its place is killed, too."""
        end = time.monotonic() + seconds
        happened = False
        while time.monotonic() < end:
            happened |= self._kill(target)
            await asyncio.sleep(0.1)
        return happened

    async def _lock(self, seconds: float) -> bool:
        """Somebody else writes to the database and does not come to an end."""
        if self._cluster.database_url:
            await asyncio.to_thread(_lock_tables, self._cluster.database_url, seconds)
            return True
        path = self._cluster.data.path / "records.db"
        if not path.exists():
            return False
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA busy_timeout=50")
            if not await self._begin(connection):
                return False
            await asyncio.sleep(seconds)
            connection.execute("ROLLBACK")
        finally:
            connection.close()
        return True

    async def _begin(self, connection: sqlite3.Connection) -> bool:
        for _ in range(200):
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                await asyncio.sleep(0.02)
            else:
                return True
        return False

    async def _fill(self, seconds: float) -> bool:
        """The disk is full for a while."""
        if not self._cluster.own_disk:
            return False
        filler = self._cluster.disk / "filler"
        try:
            await _fill_up(self._cluster.disk, filler, seconds)
        finally:
            filler.unlink(missing_ok=True)
        return True


def _lock_tables(url: str, seconds: float) -> None:
    """Of PostgreSQL: nobody else reads or writes records."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute("LOCK TABLE executions IN ACCESS EXCLUSIVE MODE")
        connection.execute("SELECT pg_sleep(%s)", [seconds])
        connection.rollback()


async def _fill_up(disk: Path, filler: Path, seconds: float) -> None:
    """Take all that is free, and what becomes free meanwhile."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    size = 0
    with filler.open("wb") as file:
        while loop.time() < end:
            free = shutil.disk_usage(disk).free
            if free:
                with suppress(OSError):
                    await asyncio.to_thread(os.posix_fallocate, file.fileno(), size, free)
                    size += free
            await asyncio.sleep(0.1)
