"""`python -m bench.store [--rows N] [--postgresql]`: what reading, writing and retention cost in a store that is full.

Fills a database with so many executions, then asks for pages and records as the gateway does, writes as the recorder
does, there and in an empty one by turns, and removes old ones while both go on.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy
import uvloop

from bench.store_reads import HEADING, Figure, measure_pages, measure_records
from bench.store_rows import ORGS, WORKFLOWS, fill, id_of, start_of
from runlane.adapters.sql import dialect, schema
from runlane.adapters.sql.store import open_record_store
from runlane.contracts.events import AnyEvent
from runlane.ports import RecordStore
from tests.support.memory_bus import Story, stored
from tests.support.postgresql import PostgresqlServer

_EACH = 5
#: Executions in a batch: what a recorder takes at once.
_BATCH = 100
#: As the recorder does.
_PRUNED_AT_ONCE, _REST = 200, 2.0


def _engine(url: str) -> sqlalchemy.Engine:
    return sqlalchemy.create_engine(dialect.parse_url(url))


def prepare(url: str, rows: int) -> float:
    """Migrate and fill, from where an earlier run stopped; the seconds it took."""
    asyncio.run(schema.migrate(url))
    began, engine = time.perf_counter(), _engine(url)
    with engine.connect() as connection:
        there: int = connection.exec_driver_sql("SELECT count(*) FROM executions").scalar_one()
        last = sqlalchemy.text("SELECT 1 FROM executions WHERE execution_id = :id")
        if connection.execute(last, {"id": id_of((rows - 1) // 10 * 10, rows)[1]}).first():
            there = rows  # of an earlier run, which may have removed some
        if engine.dialect.name == "sqlite":
            for pragma in ("synchronous=OFF", "cache_size=-1000000", "temp_store=MEMORY"):
                connection.exec_driver_sql(f"PRAGMA {pragma}")
        connection.commit()
        fill(connection, there, rows, lambda made: print(f"  {made:,} executions", end="\r", flush=True))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            # As autovacuum does some time after so much has come.
            connection.exec_driver_sql("VACUUM ANALYZE")
        else:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return time.perf_counter() - began


class Writer:
    """Executions of now, in batches, as a recorder writes them."""

    def __init__(self, store: RecordStore) -> None:
        self._store, self._sequence, self._number = store, 10**9, 0

    async def batch(self) -> float:
        """Write one; the seconds that the store took."""
        events: list[AnyEvent] = []
        for _ in range(_BATCH):
            self._number += 1
            now = datetime.now(UTC)
            id_ = f"{int(now.timestamp() * 1000):012x}{uuid.uuid4().hex[:20]}"
            story = Story(id_, f"org{self._number % ORGS}", f"workflow{self._number % WORKFLOWS}", now)
            lines = [story.log("looked up user 4711 of tenant " + "0123456789" * 8) for _ in range(2)]
            events += [story.queued(), story.started(), story.traced(lines[0]), story.traced(lines[1])]
            events.append(story.succeeded() if self._number % 16 else story.failed())
        batch = stored(events, first=self._sequence)
        self._sequence += len(batch)
        began = time.perf_counter()
        await self._store.apply(batch)
        return time.perf_counter() - began


async def write_rates(full: RecordStore, empty: RecordStore, seconds: float) -> dict[str, float]:
    """Executions written a second, in both by turns."""
    writers, took = {"empty": Writer(empty), "full": Writer(full)}, {"empty": [0.0][:0], "full": [0.0][:0]}
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        for name, writer in writers.items():
            took[name].append(await writer.batch())
    rates = {name: _BATCH * len(each) / sum(each) for name, each in took.items()}
    return {**rates, "share": rates["full"] / rates["empty"], "slowest_batch_ms": max(took["full"]) * 1000}


async def retention(store: RecordStore, total: int, gone: int) -> tuple[dict[str, float], list[Figure]]:
    """Remove the oldest while others read and write."""
    start, step = start_of(total)
    before, removed, over = start + step * gone + timedelta(seconds=1), 0, asyncio.Event()
    writer, waits = Writer(store), [0.0][:0]

    async def prune() -> float:
        nonlocal removed
        began = time.perf_counter()
        while True:
            started = time.perf_counter()
            count = await store.prune(before, _PRUNED_AT_ONCE)
            if not count:
                break
            removed += count
            await asyncio.sleep(_REST * (time.perf_counter() - started))
        over.set()
        return time.perf_counter() - began

    async def write() -> None:
        while not over.is_set():
            began = time.perf_counter()
            await writer.batch()
            waits.append(time.perf_counter() - began)

    async def read() -> list[Figure]:
        found: list[Figure] = []
        while not over.is_set():
            found += await measure_pages(store, total, 2, lambda _: None)
            found.append(await measure_records(store, total, 20))
        return found

    took, _, figures = await asyncio.gather(prune(), write(), read())
    facts = {
        "removed": removed,
        "removed_per_second": removed / took,
        "written_per_second": _BATCH * len(waits) / took,
        "batch_p50_ms": statistics.median(waits) * 1000,
        "batch_max_ms": max(waits) * 1000,
    }
    pages = [second for figure in figures if figure.goal == 0.05 for second in figure.seconds]
    records = [second for figure in figures if figure.goal == 0.02 for second in figure.seconds]
    return facts, [Figure("any page, meanwhile", pages, 0.05, 0), Figure("a record, meanwhile", records, 0.02, 1)]


async def measure(url: str, empty_url: str, options: Any) -> dict[str, object]:
    async with open_record_store(url) as full, open_record_store(empty_url, migrate=True) as empty:
        print(HEADING)
        figures = await measure_pages(full, options.rows, options.times, print)
        figures.append(await measure_records(full, options.rows, 4 * options.times))
        print(figures[-1].line())
        rates = await write_rates(full, empty, options.seconds)
        print("executions written a second: " + "  ".join(f"{name} {value:,.2f}" for name, value in rates.items()))
        facts: dict[str, float] = {}
        if options.prune:
            facts, meanwhile = await retention(full, options.rows, options.prune)
            print("retention: " + "  ".join(f"{name} {value:,.1f}" for name, value in facts.items()))
            for figure in meanwhile:
                print(figure.line())
            figures += meanwhile
    told = {it.what: {"p50_ms": it.quantile(0.5) * 1e3, "p99_ms": it.quantile(0.99) * 1e3} for it in figures}
    return {"reads": told, "writes": rates, "retention": facts, "load_average": os.getloadavg()[0]}


@contextlib.contextmanager
def databases(options: Any) -> Iterator[tuple[str, str]]:
    """The addresses of the full one and of an empty one."""
    directory = options.directory or Path(tempfile.mkdtemp(prefix="runlane-bench-store-"))
    directory.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        if options.postgresql:
            server = PostgresqlServer()
            stack.callback(server.remove)
            server.make()
            yield options.url or server.create_database(), server.create_database()
        else:
            empty = Path(tempfile.mkdtemp(dir=directory)) / "records.db"
            yield options.url or f"sqlite:///{directory / 'full.db'}", f"sqlite:///{empty}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.store", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--postgresql", action="store_true", help="instead of SQLite; a server of its own")
    parser.add_argument("--directory", type=Path, default=None, help="for the databases of SQLite, which stay there")
    parser.add_argument("--url", default=None, help="a database to fill, or that an earlier run has filled")
    parser.add_argument("--times", type=int, default=200, help="how often each page is asked for")
    parser.add_argument("--seconds", type=float, default=15.0, help="for which writing is measured")
    parser.add_argument("--prune", type=int, default=0, help="how many of the oldest are removed in the end")
    parser.add_argument("--json", type=Path, default=None, help="also write the figures to this file")
    options = parser.parse_args()
    with databases(options) as (url, empty_url):
        took = prepare(url, options.rows)
        print(f"{options.rows:,} executions, {_engine(url).dialect.name}; filled in {took:,.0f} s")
        document = uvloop.run(measure(url, empty_url, options))
    if options.json is not None:
        options.json.write_text(json.dumps({"rows": options.rows, **document}, indent=2))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
