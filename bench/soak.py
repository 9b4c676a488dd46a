"""`python -m bench.soak [--minutes N]`: does any process of the engine grow under half of the load that it can take?

Memory (PSS: a page that processes share is counted once) and descriptors of every process, each few seconds. Compared
are the means of the first and of the last tenth of what follows the warm-up. Exits 1 where one grew by more than 5 %.
nats-server keeps an index of every event that is kept: `--keep MINUTES` lets as many go as come, so that what it needs
beyond that can be seen.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import uvloop
from msgspec import Struct, to_builtins

from bench.load import Connection, drive, post
from tests.support.engine import Engine, descendants

WORKFLOWS = Path(__file__).parent / "workflows"
_CALLERS = 16
_CALIBRATION = 4_000
_SAMPLE_SECONDS = 5.0
#: Until caches are filled, pools are open and every child has been replaced once or not at all.
_WARM_SHARE = 0.2
_MOST_GROWTH = 0.05
#: Below this, 5 % is less than one arena of the allocator.
_NOISE_MIB = 2.0
_SPARE_DESCRIPTORS = 4


class Sample(Struct, frozen=True):
    """One process at one moment."""

    second: float
    mib: float
    descriptors: int


class Row(Struct, frozen=True):
    """One process over the whole time."""

    pid: int
    command: str
    mib_first: float
    mib_last: float
    descriptors_first: float
    descriptors_last: float

    @property
    def grew(self) -> bool:
        """Whether it needs more than it did."""
        more = self.mib_last - self.mib_first
        return (
            more > max(_NOISE_MIB, _MOST_GROWTH * self.mib_first)
            or self.descriptors_last - self.descriptors_first > _SPARE_DESCRIPTORS
        )


Samples = dict[int, list[Sample]]


async def soak(engine: Engine, minutes: float, rate: float | None) -> tuple[float, Samples]:
    """The rate of calls, half of what the engine can take where none is given, and every process's samples."""
    key = engine.credentials()["org_key"]
    await drive(engine.port, post("/workflows/noop_sync", key), _CALLERS, _CALIBRATION // 4, 200)
    seconds, _ = await drive(engine.port, post("/workflows/noop_sync", key), _CALLERS, _CALIBRATION, 200)
    rate = rate or _CALIBRATION / seconds / 2
    ends = time.perf_counter() + minutes * 60
    callers = [asyncio.create_task(_call(engine.port, key, rate / _CALLERS, ends)) for _ in range(_CALLERS)]
    samples = await _watch(engine, ends)
    await asyncio.gather(*callers)
    return rate, samples


async def _call(port: int, key: str, rate: float, ends: float) -> None:
    """One caller at its own pace; raises `RuntimeError` at the first answer that is neither 200 nor 503."""
    connection = await Connection.open(port)
    request, due = post("/workflows/noop_sync", key), time.perf_counter()
    while due < ends:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        status, body = await connection.call(request)
        if status == 503:  # a busy machine's disk; who goes on finds out whether something grows
            print(f"503 at {time.strftime('%T')}", flush=True)
        elif status != 200:
            raise RuntimeError(f"HTTP {status}: {body[:300]!r}")
        due += 1 / rate
    connection.close()


async def _watch(engine: Engine, ends: float) -> Samples:
    assert engine.process is not None
    found: Samples = {}
    began = time.perf_counter()
    while time.perf_counter() < ends:
        for pid in [engine.process.pid, *descendants(engine.process.pid)]:
            sample = _sample(pid, time.perf_counter() - began)
            if sample is not None:
                found.setdefault(pid, []).append(sample)
        await asyncio.sleep(_SAMPLE_SECONDS)
    return found


def _sample(pid: int, second: float) -> Sample | None:
    """None for a process that has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return Sample(second, kib / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())))
    except (OSError, StopIteration):
        return None


def rows(samples: Samples, minutes: float, names: dict[int, str]) -> Iterator[Row]:
    """One for each process that was there from the warm-up to the end."""
    warm, end = minutes * 60 * _WARM_SHARE, minutes * 60
    for pid, taken in sorted(samples.items()):
        after = [sample for sample in taken if sample.second >= warm]
        if len(after) < 2 or after[0].second > warm + 3 * _SAMPLE_SECONDS or after[-1].second < end * 0.9:
            continue
        tenth = max(1, len(after) // 10)
        yield Row(
            pid,
            names.get(pid, "?"),
            *_means([sample.mib for sample in after], tenth),
            *_means([float(sample.descriptors) for sample in after], tenth),
        )


def _means(values: Sequence[float], count: int) -> tuple[float, float]:
    return statistics.mean(values[:count]), statistics.mean(values[-count:])


def _names(engine: Engine) -> dict[int, str]:
    """What to call each process: the service it is, or the program."""
    assert engine.process is not None
    services = json.loads((engine.data / "runlane.json").read_text())["services"]
    known = {int(pid): str(name) for name, pid in services.items()} | {engine.process.pid: "up"}
    for name, parent in list(services.items()):
        known |= {pid: f"{name}, child" for pid in descendants(int(parent)) if pid not in known}
    return known


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, help="calls per second; else half of what the engine can take here")
    parser.add_argument("--keep", type=float, metavar="MINUTES", help="how long events are kept; else 7 days")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    if options.keep is not None:
        os.environ["RUNLANE_EVENT_RETENTION_DAYS"] = str(options.keep / 1440)
    with tempfile.TemporaryDirectory(prefix="runlane-bench-") as directory:
        engine = Engine(Path(directory) / "data", WORKFLOWS)
        engine.start()
        try:
            rate, samples = uvloop.run(soak(engine, options.minutes, options.rate))
            found = list(rows(samples, options.minutes, _names(engine)))
        finally:
            engine.stop()
    _print(rate, options.minutes, found)
    if options.json is not None:
        options.json.write_text(json.dumps({"rate": rate, "minutes": options.minutes, "rows": to_builtins(found)}))
    sys.exit(1 if not found or any(row.grew for row in found) else 0)


def _print(rate: float, minutes: float, found: Sequence[Row]) -> None:
    print(f"{rate:,.0f} executions/s for {minutes:g} min; after {_WARM_SHARE:.0%} of it and at the end")
    print(f"{'process':<24}{'pid':>8}{'MiB':>18}{'growth':>9}{'descriptors':>16}")
    for row in found:
        growth = row.mib_last / row.mib_first - 1
        print(
            f"{row.command:<24}{row.pid:>8}{row.mib_first:>8.1f} →{row.mib_last:>8.1f}{growth:>9.1%}"
            f"{row.descriptors_first:>7.0f} →{row.descriptors_last:>7.0f}{'  grew' if row.grew else ''}"
        )


if __name__ == "__main__":
    main()
