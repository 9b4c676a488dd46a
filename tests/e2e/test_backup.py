"""A backup of an engine under load, restored elsewhere: nothing that was accepted before it began is lost."""

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from runlane.adapters.nats.topology import stream_configs
from runlane.contracts import subjects
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from tests.e2e.conftest import WORKFLOWS
from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.executions import finished, notes, submit
from tests.support.nats import NatsServer
from tests.support.raw_vendor import Vendor

FINAL = {"Success", "Failed", "Cancelled"}


def runlane(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "runlane_cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


async def succeed(*arguments: object) -> dict[str, Any]:
    """What it printed as JSON."""
    ran = await asyncio.to_thread(runlane, *arguments, "--json")
    assert ran.returncode == 0, ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


class Load:
    """Executions of several kinds, each with a file of its own for what its code did."""

    def __init__(self, client: httpx.AsyncClient, directory: Path) -> None:
        self.client, self.directory = client, directory
        self.gate = directory / "gate"
        self.accepted: dict[str, Path] = {}

    async def submit(self) -> None:
        """One more of some kind."""
        number = len(self.accepted)
        journal = self.directory / f"notes-{number}"
        at_journal = {"journal": str(journal)}
        kind, parameters, options = [
            ("waits", at_journal | {"seconds": 0}, {}),
            ("flaky", at_journal, {}),
            ("long_sleep", at_journal | {"seconds": 8}, {}),
            ("steps", at_journal | {"gate": str(self.gate)}, {}),
            ("waits", at_journal | {"seconds": 0}, {"params": {"delaySeconds": 6}}),
        ][number % 5]
        self.accepted[await submit(self.client, kind, parameters, **options)] = journal

    async def until_stopped(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await self.submit()


async def ended_of(client: httpx.AsyncClient, ids: list[str]) -> set[str]:
    answers = [await client.get(f"/executions/{execution_id}") for execution_id in ids]
    return {str(a.json()["executionId"]) for a in answers if a.status_code == 200 and a.json()["status"] in FINAL}


async def test_what_was_accepted_before_a_backup_is_complete_after_its_restore(
    own_engine: Engine, tmp_path: Path
) -> None:
    saved, elsewhere = tmp_path / "backup.tar", tmp_path / "elsewhere"
    async with own_engine.client() as client:
        load = Load(client, tmp_path)
        while len(load.accepted) < 60:
            await load.submit()
        stop = asyncio.Event()
        loading = asyncio.create_task(load.until_stopped(stop))
        before = list(load.accepted)
        ended = await ended_of(client, before)
        told = await succeed("backup", saved, "--data", own_engine.data, "--with-master-key")
        stop.set()
        await loading
    own_engine.kill()
    untouched = {execution_id: load.accepted[execution_id].read_text() for execution_id in ended}
    shutil.rmtree(own_engine.data)
    assert len(load.accepted) > len(before), "nothing was accepted meanwhile: no load"
    assert told["records"]
    assert told["masterKey"]
    worth_keeping = {config["name"] for config in stream_configs(Settings())} - {subjects.PERMITS, subjects.OUTBOUND}
    assert set(told["streams"]) == worth_keeping, "a stream is not copied"

    restored = await succeed("restore", saved, "--data", elsewhere)
    assert restored["streams"] == told["streams"]
    load.gate.touch()
    again = Engine(elsewhere, WORKFLOWS)
    again.start()
    try:
        async with again.client() as client:
            records = [await finished(client, execution_id, within=150) for execution_id in before]
            assert {record["status"] for record in records} == {"Success"}, again.log()
            assert len(load.accepted) > 60
        with sqlite3.connect(f"file:{elsewhere}/records.db?mode=ro", uri=True) as store:

            def recorded() -> bool:
                query = "SELECT execution_id, count(*), max(status) FROM executions GROUP BY execution_id"
                found = {row[0]: row[1:] for row in store.execute(query)}
                return all(found.get(execution_id) == (1, "Success") for execution_id in before)

            await eventually(recorded)
        compared = await succeed("verify", "--data", elsewhere)
        assert compared["executions"] >= len(before)
        assert (compared["differences"], compared["undecodable"]) == ([], 0)
        for execution_id, said in untouched.items():
            assert load.accepted[execution_id].read_text() == said, "something that had ended ran again"
        for execution_id in before:
            lines = notes(load.accepted[execution_id])
            finished_steps = [line for line in lines if " step " in line or line == "once"]
            assert len(finished_steps) == len(set(finished_steps)), "a step that was stored ran again"
    finally:
        again.stop()


async def test_a_restored_engine_takes_new_work_and_keeps_its_keys(own_engine: Engine, tmp_path: Path) -> None:
    saved, elsewhere = tmp_path / "saved", tmp_path / "elsewhere"
    async with own_engine.client(admin=True) as admin:
        (await admin.put("/orgs/demo/secrets/api_key", json={"value": "a-true-secret"})).raise_for_status()
        (await admin.put("/orgs/demo/config/region", json={"value": "emea"})).raise_for_status()
        keys = own_engine.credentials()
    await succeed("backup", saved, "--data", own_engine.data)
    master_key = own_engine.data / "master.key"
    assert not [path for path in saved.rglob("*") if path.name in ("master.key", "credentials.json")]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (saved, *saved.rglob("*")) if path.is_file())
    own_engine.kill()

    told = await succeed("restore", saved, "--data", elsewhere)
    assert any("master key" in note for note in told["notes"])
    refused = await asyncio.to_thread(runlane, "up", "--data", elsewhere, "--workflows", WORKFLOWS, "--port", 0)
    assert refused.returncode == 2
    assert "master.key is gone" in refused.stderr
    shutil.rmtree(elsewhere)
    told = await succeed("restore", saved, "--data", elsewhere, "--master-key", master_key)
    assert told["notes"] == []
    again = Engine(elsewhere, WORKFLOWS)
    again.start()
    try:
        headers = {"Authorization": f"Bearer {keys['org_key']}"}
        async with httpx.AsyncClient(base_url=again.url, headers=headers, timeout=40) as client:
            answer = await client.post("/workflows/secretive", json={})
            assert answer.json()["result"]["length"] == len("a-true-secret")
            assert answer.json()["result"]["config"] == "emea"
    finally:
        again.stop()


async def test_another_engines_master_key_is_refused(engine: Engine, tmp_path: Path) -> None:
    saved, elsewhere, other = tmp_path / "saved", tmp_path / "elsewhere", tmp_path / "other.key"
    await succeed("backup", saved, "--data", engine.data)

    for content, reason in ((generate_master_key(), "not the master key of the backup"), ("short", "cannot be used")):
        other.write_text(content)
        ran = await asyncio.to_thread(runlane, "restore", saved, "--data", elsewhere, "--master-key", other)
        assert ran.returncode == 2
        assert reason in ran.stderr
        assert content not in ran.stderr
        assert not elsewhere.exists()
    ran = await asyncio.to_thread(runlane, "restore", saved, "--data", elsewhere, "--master-key", tmp_path / "none")
    assert (ran.returncode, "cannot be read" in ran.stderr) == (2, True)


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.0])
async def test_a_truncated_backup_is_refused(engine: Engine, tmp_path: Path, kept: float) -> None:
    saved, elsewhere = tmp_path / "saved.tar", tmp_path / "elsewhere"
    await succeed("backup", saved, "--data", engine.data)
    os.truncate(saved, int(saved.stat().st_size * kept))

    ran = await asyncio.to_thread(runlane, "restore", saved, "--data", elsewhere)

    assert ran.returncode in (1, 2)
    assert any(reason in ran.stderr for reason in ("cannot be unpacked", "is damaged", "no backup")), ran.stderr
    assert os.listdir(tmp_path) == ["saved.tar"], "half a restore was left"


async def test_verify_finds_what_was_done_to_the_records_by_hand(own_engine: Engine, tmp_path: Path) -> None:
    async with own_engine.client() as client:
        ids = [
            await submit(client, "waits", {"journal": str(tmp_path / "notes"), "seconds": 0}, params={})
            for _ in range(5)
        ]
        for execution_id in ids:
            await finished(client, execution_id)
    deleted, changed, kept, copied, _ = ids
    whole = await succeed("verify", "--data", own_engine.data)
    assert (whole["executions"], whole["differences"]) == (5, [])

    with closing(sqlite3.connect(own_engine.data / "records.db")) as store:
        columns = [row[1] for row in store.execute("PRAGMA table_info(executions)") if row[1] != "execution_id"]
        names = ", ".join(columns)
        for table in ("executions", "payloads", "traces", "transitions"):
            store.execute(f"DELETE FROM {table} WHERE execution_id = ?", (deleted,))
        store.execute("UPDATE executions SET status = 'Failed' WHERE execution_id = ?", (changed,))
        store.execute(
            f"INSERT INTO executions (execution_id, {names}) SELECT 'doubled', {names} FROM executions "
            "WHERE execution_id = ?",
            (copied,),
        )
        store.commit()
    expected = {(deleted, "missing"), (changed, "changed"), ("doubled", "extra")}

    found = await asyncio.to_thread(runlane, "verify", "--data", own_engine.data, "--json")
    assert found.returncode == 1
    assert {(one["id"], one["kind"]) for one in json.loads(found.stdout)["differences"]} == expected
    shown = await asyncio.to_thread(runlane, "verify", "--data", own_engine.data)
    assert shown.returncode == 1
    assert "status" in shown.stdout
    assert kept not in shown.stdout

    repaired = await succeed("verify", "--data", own_engine.data, "--repair", "--remove-extra")
    assert {(one["id"], one["repaired"]) for one in repaired["differences"]} == {(id_, True) for id_, _ in expected}
    assert (await succeed("verify", "--data", own_engine.data))["differences"] == []


async def test_backup_and_restore_overwrite_nothing_and_refuse_what_is_damaged(engine: Engine, tmp_path: Path) -> None:
    saved, there = tmp_path / "saved", tmp_path / "there"
    there.mkdir()
    (there / "file").touch()
    await succeed("backup", saved, "--data", engine.data)

    for arguments, exit_code, reason in (
        (("backup", saved, "--data", engine.data), 2, "overwrites nothing"),
        (("backup", tmp_path / "other", "--data", tmp_path / "nothing"), 2, "No engine runs on"),
        (("restore", saved, "--data", there), 2, "overwrites nothing"),
        (("restore", there, "--data", tmp_path / "x"), 2, "no backup"),
        (("restore", tmp_path / "none", "--data", tmp_path / "x"), 2, "There is no"),
    ):
        ran = await asyncio.to_thread(runlane, *arguments)
        assert (ran.returncode, reason in ran.stderr) == (exit_code, True), ran.stderr

    manifest = json.loads((saved / "manifest.json").read_text())
    for change, reason in (
        ({"format": 99}, "format 99"),
        ({"records_schema": "9999_future"}, "does not know"),
        ({"nats_server": [99, 0]}, "nats-server 99.0"),
        ({"began": "2020-01-01T00:00:00Z"}, "days old"),
    ):
        (saved / "manifest.json").write_text(json.dumps(manifest | change))
        ran = await asyncio.to_thread(runlane, "restore", saved, "--data", tmp_path / "x")
        assert ran.returncode != 0
        assert reason in ran.stderr
    (saved / "manifest.json").write_text(json.dumps(manifest))

    events = saved / "streams" / "EVENTS.snapshot"
    content = bytearray(events.read_bytes())
    content[len(content) // 2] ^= 1
    events.write_bytes(content)
    (saved / "records.db").unlink()
    ran = await asyncio.to_thread(runlane, "restore", saved, "--data", tmp_path / "x")
    assert ran.returncode == 1
    assert "streams/EVENTS.snapshot" in ran.stderr
    assert "records.db" in ran.stderr
    left = set(os.listdir(tmp_path))
    assert left == {"saved", "there"}, "half a restore was left"


async def test_a_server_of_ones_own_is_filled_from_a_backup(engine: Engine, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    told = await succeed("backup", saved, "--data", engine.data)
    server = NatsServer(tmp_path / "nats")
    server.start()
    there = {"RUNLANE_NATS_URL": server.url, "RUNLANE_DATA_DIR": str(tmp_path / "records")}
    try:
        sqlite_only = await asyncio.to_thread(
            runlane,
            "restore",
            saved,
            "--server",
            **there,
            RUNLANE_DATABASE_URL="postgresql+psycopg://localhost/records",
        )
        assert (sqlite_only.returncode, "as SQLite" in sqlite_only.stderr) == (2, True), sqlite_only.stderr
        wrong = await asyncio.to_thread(
            runlane, "restore", saved, "--server", **there, RUNLANE_MASTER_KEY=generate_master_key()
        )
        assert (wrong.returncode, "not the master key" in wrong.stderr) == (2, True), wrong.stderr
        restored = await asyncio.to_thread(runlane, "restore", saved, "--server", "--json", **there)
        assert restored.returncode == 0, restored.stderr
        assert json.loads(restored.stdout)["streams"] == told["streams"]
        assert (tmp_path / "records" / "records.db").exists()
        for path in (tmp_path / "records").iterdir():
            path.unlink()
        again = await asyncio.to_thread(runlane, "restore", saved, "--server", **there)
        assert (again.returncode, "There are streams already" in again.stderr) == (2, True)
        assert not list((tmp_path / "records").iterdir())
    finally:
        server.stop()


async def test_records_of_another_servers_database_are_rebuilt_from_the_events(
    own_engine: Engine, tmp_path: Path
) -> None:
    saved, elsewhere = tmp_path / "saved", tmp_path / "elsewhere"
    async with own_engine.client() as client:
        execution_id = await submit(client, "waits", {"journal": str(tmp_path / "notes"), "seconds": 0})
        await finished(client, execution_id)
    ran = await asyncio.to_thread(
        runlane, "backup", saved, "--data", own_engine.data, "--with-master-key", "--json",
        RUNLANE_DATABASE_URL="postgresql+psycopg://localhost/records",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["records"] is False
    assert "pg_dump" in ran.stderr
    own_engine.kill()

    await succeed("restore", saved, "--data", elsewhere)
    again = Engine(elsewhere, WORKFLOWS)
    again.start()
    try:
        compared = await succeed("verify", "--data", elsewhere)
        assert compared["executions"] >= 1  # a tick may have come as well
        assert compared["differences"] == []
    finally:
        again.stop()


async def test_what_a_subscription_was_sent_before_a_backup_is_not_sent_after_its_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, saved, elsewhere = Vendor(), tmp_path / "saved.tar", tmp_path / "elsewhere"
    receiver.answer("POST /hook")
    await receiver.start()
    monkeypatch.setenv("RUNLANE_ALLOWED_HOSTS", "127.0.0.1")
    engine = Engine(tmp_path / "data", WORKFLOWS)
    await asyncio.to_thread(engine.start)
    async with engine.client(admin=True) as client:
        made = await client.post("/subscriptions/demo", json={"url": f"{receiver.url}/hook", "workflows": ["echo"]})
        assert made.status_code == 201, made.text
        before = await submit(client, "echo", {})
        await eventually(lambda: receiver.seen)
    await succeed("backup", saved, "--data", engine.data, "--with-master-key")
    await asyncio.to_thread(engine.stop)
    await succeed("restore", saved, "--data", elsewhere)
    again = Engine(elsewhere, WORKFLOWS)
    await asyncio.to_thread(again.start)
    async with again.client(admin=True) as client:
        after = await submit(client, "echo", {})
        await eventually(lambda: len(receiver.seen) > 1)
    await asyncio.to_thread(again.stop)
    await receiver.stop()
    assert [json.loads(body)["subject"] for _, _, body in receiver.seen] == [before, after]
