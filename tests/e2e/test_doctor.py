"""`runlane doctor` on a real engine, whole and with things really broken."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.topology import inspect_topology
from runlane.clock import SystemClock
from runlane.contracts import subjects
from runlane.ports import Message
from runlane.settings import Settings
from runlane_cli.doctor import examine
from runlane_cli.findings import Finding
from runlane_cli.machine import Limits
from runlane_cli.surroundings import ask_services, judge_durability, streams
from tests.support.engine import Engine

WORKFLOWS = Path(__file__).parents[2] / "examples" / "workflows"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    running = Engine(tmp_path_factory.mktemp("doctor") / "data", WORKFLOWS)
    running.start()
    yield running
    running.stop()


class Told:
    """What the command said as JSON."""

    def __init__(self, code: int, out: str) -> None:
        self.code, self.answer = code, json.loads(out)

    def of(self, check: str) -> list[dict[str, Any]]:
        return [finding for finding in self.answer["findings"] if finding["check"] == check]

    def broken(self) -> set[str]:
        assert all(finding["mend"] for finding in self.answer["findings"] if finding["status"] != "ok")
        return {finding["check"] for finding in self.answer["findings"] if finding["status"] == "broken"}


def ask(data: Path, **environment: str) -> Told:
    command = [sys.executable, "-m", "runlane_cli.main", "doctor", "--data", str(data), "--json"]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env={**os.environ, **environment}
    )
    return Told(ran.returncode, ran.stdout)


def one(findings: list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


def test_a_whole_engine_is_healthy(engine: Engine) -> None:
    told = ask(engine.data)

    assert (told.code, told.answer["healthy"], told.broken()) == (0, True, set())
    checks = {finding["check"] for finding in told.answer["findings"]}
    assert checks >= {"python", "packages", "nats-server", "master key", "permissions", "disk", "processes"}
    assert checks >= {"gateway", "nats", "clock", "streams", "durability", "record store"}


def test_what_others_can_read_is_broken_and_the_command_it_names_mends_it(engine: Engine) -> None:
    credentials = engine.data / "credentials.json"
    credentials.chmod(0o644)

    told = ask(engine.data)

    assert (told.code, told.broken()) == (1, {"permissions"})
    mend = told.of("permissions")[0]["mend"].partition(";")[0]
    subprocess.run(mend.split(), check=True)
    assert ask(engine.data).code == 0


def test_a_server_that_promises_less_than_was_asked_for_is_broken(engine: Engine) -> None:
    state = engine.data / "runlane.json"
    before = state.read_bytes()
    state.write_bytes(msgspec.json.encode(msgspec.json.decode(before) | {"durability": "fsync"}))
    try:
        assert ask(engine.data).broken() == {"durability"}
    finally:
        state.write_bytes(before)


def test_redis_that_is_set_and_not_there_is_broken_and_its_password_is_not_told(engine: Engine) -> None:
    told = ask(engine.data, RUNLANE_REDIS_URL="redis://:s3cret@127.0.0.1:1/0")

    assert told.broken() == {"redis"}
    assert "s3cret" not in json.dumps(told.answer)


def test_a_setting_that_cannot_be_read_is_told_of(engine: Engine) -> None:
    told = ask(engine.data, RUNLANE_EXECUTOR_SLOTS="many")

    assert told.broken() == {"settings"}
    assert "RUNLANE_EXECUTOR_SLOTS" in told.of("settings")[0]["found"]


def test_a_disk_without_room_is_broken(engine: Engine) -> None:
    found = examine(engine.data, limits=Limits(disk_broken=2**62))

    assert one(found, "disk").status == "broken"
    assert one(examine(engine.data, limits=Limits(disk_low=2**62)), "disk").status == "warning"


class WrongClock(SystemClock):
    """One that somebody has set wrongly, by so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._error = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self._error


@pytest.mark.parametrize(("seconds", "status"), [(30, "warning"), (-30, "warning"), (600, "broken"), (-600, "broken")])
def test_a_clock_that_is_wrong_is_noticed(engine: Engine, seconds: float, status: str) -> None:
    found = examine(engine.data, clock=WrongClock(seconds), limits=Limits(clock_broken=300))

    assert one(found, "clock").status == status


def test_an_engine_that_was_killed_is_not_there_and_what_it_left_is_said(tmp_path: Path) -> None:
    killed = Engine(tmp_path / "data", WORKFLOWS)
    killed.start()
    killed.kill()

    told = ask(killed.data)

    assert told.code == 1
    assert told.broken() >= {"processes", "gateway", "nats"}


def test_a_master_key_that_is_spoiled_and_a_port_that_is_taken_are_told_of_an_engine_that_does_not_run(
    tmp_path: Path,
) -> None:
    (tmp_path / "nats" / "jetstream").mkdir(parents=True)
    tmp_path.chmod(0o700)
    key = tmp_path / "master.key"
    key.write_text("no key")
    key.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = ask(tmp_path, RUNLANE_HTTP_PORT=str(taken.getsockname()[1]))

    assert told.broken() == {"master key"}
    assert told.of("port")[0]["status"] == "warning"
    key.unlink()
    assert ask(tmp_path).broken() == {"master key"}


async def test_a_stream_that_is_gone_and_one_that_is_configured_otherwise(bus: NatsBus, settings: Settings) -> None:
    await bus.api(f"STREAM.DELETE.{subjects.DEAD}", None)
    events = await bus.api(f"STREAM.INFO.{subjects.EVENTS}", None)
    await bus.api(f"STREAM.UPDATE.{subjects.EVENTS}", events["config"] | {"max_age": 3_600_000_000_000})
    await bus.api(f"CONSUMER.DELETE.{subjects.EVENTS}.{subjects.RECORDER}", None)

    found = await ask_services(settings, None, None, SystemClock(), Limits())

    assert one(found, f"stream {subjects.DEAD}").status == "broken"
    drift = one(found, f"stream {subjects.EVENTS}")
    assert (drift.status, "max_age" in drift.found) == ("warning", True)
    assert one(found, f"stream {subjects.EVENTS}/{subjects.RECORDER}").status == "broken"


async def test_a_queue_that_is_nearly_full(bus: NatsBus, settings: Settings) -> None:
    queue = await bus.api(f"STREAM.INFO.{subjects.REQUESTS}", None)
    subject = subjects.request("1", "demo", "hello")
    for number in range(9):
        await bus.publish(Message(subject=subject, payload=bytes(10_000), id=f"n{number}"))
    await bus.api(f"STREAM.UPDATE.{subjects.REQUESTS}", queue["config"] | {"max_bytes": 100_000})

    conditions = await inspect_topology(bus, settings)

    name = f"stream {subjects.REQUESTS}"
    assert one(list(streams(conditions, Limits())), name).status == "warning"
    assert one(list(streams(conditions, Limits(full_broken=0.85))), name).status == "broken"


async def test_a_record_store_without_a_schema_or_with_another_one(bus: NatsBus, settings: Settings) -> None:
    async def store() -> Finding:
        return one(await ask_services(settings, None, None, SystemClock(), Limits()), "record store")

    assert (await store()).status == "broken"
    with sqlite3.connect(settings.data_dir / "records.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('0000')")
    database.close()
    assert "0000" in (await store()).found


async def test_a_nats_server_that_nobody_asks_is_a_warning_and_one_that_does_not_tell_is_broken(
    bus: NatsBus, settings: Settings
) -> None:
    async def told(monitor: str | None) -> Finding:
        return one(await ask_services(settings, None, monitor, SystemClock(), Limits()), "durability")

    assert (await told(None)).status == "warning"
    assert (await told("http://127.0.0.1:1")).status == "broken"
    assert (await told("nonsense")).status == "broken"


def test_durability_is_judged_by_what_the_server_does() -> None:
    assert judge_durability("fsync", {"sync_always": True}).status == "ok"
    assert judge_durability("fsync", {"sync_interval": 120_000_000_000}).status == "broken"
    assert judge_durability("buffered", {"sync_interval": 120_000_000_000}).status == "ok"
    assert judge_durability("buffered", {}).status == "broken"
