"""The data directory: who may read it, who may hold it, what is made once; which engine commands find by it."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from runlane.sealing import parse_master_key
from runlane_cli.connection import find_target
from runlane_cli.datadir import DataDirectory, EngineState, new_api_key, write_private
from runlane_cli.problems import CommandFailed

STATE = EngineState(url="http://127.0.0.1:8080", pid=1, nats_url="nats://x", nats_user="u", nats_password="p")


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "data")
    made.create()
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_owner_can_read_it(data: DataDirectory) -> None:
    data.ensure_master_key()
    data.ensure_credentials()
    data.write_state(STATE)

    assert mode(data.path) == 0o700
    assert {mode(data.path / name) for name in ("master.key", "credentials.json", "runlane.json")} == {0o600}


def test_git_leaves_it_alone(data: DataDirectory) -> None:
    assert (data.path / ".gitignore").read_text() == "*\n"


def test_a_directory_that_was_there_keeps_its_mode_and_its_gitignore(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)

    DataDirectory(tmp_path).create()

    assert mode(tmp_path) == 0o755
    assert not (tmp_path / ".gitignore").exists()


def test_key_and_credentials_are_made_once(data: DataDirectory) -> None:
    data.ensure_master_key()
    made = data.master_key.read_text(), data.ensure_credentials()

    data.create()
    data.ensure_master_key()

    assert (data.master_key.read_text(), data.ensure_credentials()) == made
    assert len(parse_master_key(made[0])) == 32


def test_a_lost_master_key_is_not_replaced_where_data_was_sealed_with_it(data: DataDirectory) -> None:
    (data.nats / "jetstream").mkdir()

    with pytest.raises(CommandFailed, match="Put it back"):
        data.ensure_master_key()

    assert not data.master_key.exists()


def test_an_api_key_splits_into_prefix_id_and_secret() -> None:
    keys = {new_api_key() for _ in range(50)}
    parts = [key.split("_") for key in keys]

    assert len(keys) == 50
    assert {len(part) for part in parts} == {3}
    assert {(prefix, len(key_id), len(secret)) for prefix, key_id, secret in parts} == {("rl", 12, 43)}


def test_a_second_process_cannot_hold_it(data: DataDirectory) -> None:
    tries = (
        "import sys, pathlib\n"
        "from runlane_cli.datadir import DataDirectory\n"
        "with DataDirectory(pathlib.Path(sys.argv[1])).locked(): pass\n"
    )
    command = [sys.executable, "-c", tries, str(data.path)]

    with data.locked():
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
    accepted = subprocess.run(command, capture_output=True, text=True, check=False)

    assert f"already running on {data.path} (process {os.getpid()})" in refused.stderr
    assert accepted.returncode == 0, accepted.stderr


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o644)

    write_private(path, b"new")

    assert (path.read_text(), mode(path)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CommandFailed, match="file/data cannot be made"):
        DataDirectory(tmp_path / "file" / "data").create()


def test_a_large_log_is_put_aside(data: DataDirectory) -> None:
    log = data.log("gateway")
    log.write_text("old")
    assert data.log("gateway") == log
    with log.open("ab") as file:
        file.truncate(11 * 1024 * 1024)

    assert not data.log("gateway").exists()
    assert log.with_suffix(".log.1").stat().st_size == 11 * 1024 * 1024


# --- finding the engine -----------------------------------------------------------------------------------------------


def test_commands_find_url_key_and_organisation_in_the_data_directory(data: DataDirectory) -> None:
    credentials = data.ensure_credentials()
    data.write_state(STATE)

    target = find_target(None, None, None, data.path)

    assert (target.url, target.key, target.org) == (STATE.url, credentials.admin_key, "demo")
    assert find_target(None, None, "acme", data.path).org == "acme"
    assert find_target(STATE.url + "/", None, None, data.path).key == credentials.admin_key


def test_a_key_of_the_data_directory_is_not_sent_to_another_engine(data: DataDirectory) -> None:
    data.ensure_credentials()
    data.write_state(STATE)

    with pytest.raises(CommandFailed, match="Which API key"):
        find_target("https://runlane.example", None, None, data.path)


def test_a_key_that_was_given_comes_without_an_organisation(data: DataDirectory) -> None:
    data.ensure_credentials()
    data.write_state(STATE)

    target = find_target(None, "rl_a_b", None, data.path)

    assert (target.url, target.key, target.org) == (STATE.url, "rl_a_b", None)


def test_without_an_engine_it_says_how_to_start_one(data: DataDirectory) -> None:
    with pytest.raises(CommandFailed, match="start one with `runlane up`") as caught:
        find_target(None, None, None, data.path)

    assert caught.value.exit_code == 3


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8080", ""])
def test_a_url_must_be_http(data: DataDirectory, url: str) -> None:
    with pytest.raises(CommandFailed, match="not an http or https URL"):
        find_target(url, "rl_a_b", None, data.path)


def test_an_unreadable_state_file_is_named(data: DataDirectory) -> None:
    (data.path / "runlane.json").write_text("{")

    with pytest.raises(CommandFailed, match=r"runlane\.json cannot be read"):
        find_target(None, None, None, data.path)
