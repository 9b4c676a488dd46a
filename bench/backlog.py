"""A recorder that finds a million events waiting: how fast, and in how much memory? Used by `bench.recovery`."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.records import Records
from bench.rows import Row, load_average
from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.topology import ensure_consumer
from runlane.contracts import subjects
from runlane.ports import Message, Stored
from runlane.settings import Settings
from tests.support.memory_bus import Story, stored
from tests.support.nats import NatsServer

_EVENTS_EACH = 5
#: So many executions are under way at a time: of each, a batch of the recorder holds one event.
_AT_ONCE = 1_000
_GOAL_MIB = 300.0


async def backlog(directory: Path, events: int) -> list[Row]:
    """Fill the stream, then have one recorder drain it into a fresh database, and then two together into another."""
    server = NatsServer(directory / "nats")
    server.start()
    rows = []
    try:
        settings = Settings(data_dir=directory, nats_url=server.url)
        async with open_bus(settings, "bench") as bus:
            for messages in _messages(events // _EVENTS_EACH):
                await asyncio.gather(*(bus.publish(message) for message in messages))
            for count in (1, 2):
                await bus.api(f"CONSUMER.DELETE.{subjects.EVENTS}.{subjects.RECORDER}", None)
                await ensure_consumer(bus, subjects.EVENTS, subjects.RECORDER)
                data = Path(tempfile.mkdtemp(dir=directory))
                rows += await _drain(bus, data, server.url, events, count)
    finally:
        server.stop()
    return rows


def _messages(executions: int) -> Iterator[list[Message]]:
    """What so many executions write, by the stages of a thousand at a time."""
    for first in range(0, executions, _AT_ONCE):
        stories = [Story(f"e{number}") for number in range(first, min(first + _AT_ONCE, executions))]
        stages = (
            [it.queued() for it in stories],
            [it.started() for it in stories],
            [it.traced(it.log("looking up the user"), it.log("found")) for it in stories],
            [it.traced(it.log("done " * 20)) for it in stories],
            [it.succeeded() for it in stories],
        )
        for number, stage in enumerate(stages):
            yield [_message(it, f"{first}:{number}:{place}") for place, it in enumerate(stored(stage))]


def _message(it: Stored, id_: str) -> Message:
    return Message(subject=it.subject, payload=it.payload, id=id_)


async def _drain(bus: NatsBus, data: Path, url: str, events: int, count: int) -> list[Row]:
    began = time.perf_counter()
    recorders = [_recorder(data, url) for _ in range(count)]
    try:
        while (await bus.lag(subjects.EVENTS, subjects.RECORDER)).floor < events:
            assert all(it.poll() is None for it in recorders), (data / "recorder.log").read_text()[-2000:]
            await asyncio.sleep(0.1)
        seconds = time.perf_counter() - began
        peak = max(_peak_mib(it.pid) for it in recorders)
        info = await bus.api(f"CONSUMER.INFO.{subjects.EVENTS}.{subjects.RECORDER}", None)
    finally:
        for it in recorders:
            it.terminate()
        for it in recorders:
            it.wait(20)
    records = Records(data)
    missing = events // _EVENTS_EACH - len(records.succeeded("hello"))
    records.close()
    again = info["delivered"]["consumer_seq"] - events
    what = f"{events:,} events, {count} recorder{'s' * (count > 1)}"
    note = f"{seconds:.1f} s, start included; {again} events delivered again"
    load = load_average()
    return [
        Row(part="backlog", what=f"{what}: recorded", values=[events / seconds], unit="/s", note=note, load=load),
        Row(part="backlog", what=f"{what}: peak memory", values=[peak], goal=_GOAL_MIB, unit="MiB", load=load),
        Row(part="backlog", what=f"{what}: executions missing", values=[missing], goal=1, unit="", load=load),
    ]


def _recorder(data: Path, url: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "RUNLANE_DATA_DIR": str(data),
        "RUNLANE_NATS_URL": url,
        "RUNLANE_RECORD_RETENTION_DAYS": "36500",  # the events tell of a day long past
    }
    command = [sys.executable, "-P", "-m", "runlane_cli.serve", "recorder"]
    with (data / "recorder.log").open("ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _peak_mib(pid: int) -> float:
    """The most that was resident at any time (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
