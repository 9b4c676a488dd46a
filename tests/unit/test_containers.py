"""Which side serves the tests is said, and nothing of containers is paid for where there is no engine."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.containers import FORCED, Servers
from tests.support.postgresql import PostgresqlServer
from tests.support.redis import RedisServer


@pytest.fixture
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'docker.sock'}")
    monkeypatch.delenv(FORCED, raising=False)


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_local_programs_serve_and_nothing_is_said() -> None:
    said: list[str] = []
    servers = Servers(said.append)
    redis, postgresql = servers.redis(), servers.postgresql()
    try:
        assert (type(redis), type(postgresql), said) == (RedisServer, PostgresqlServer, [])
    finally:
        redis.remove()
        postgresql.remove()


@pytest.mark.usefixtures("no_engine")
def test_without_an_engine_nothing_of_containers_is_imported() -> None:
    asked = "import sys; from tests.support.containers import Servers; Servers(print).redis().remove(); "
    asked += "print(sorted({'docker', 'testcontainers'} & sys.modules.keys()))"
    found = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"


@pytest.mark.usefixtures("no_engine")
def test_containers_that_are_demanded_are_not_replaced_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED, "containers")
    with pytest.raises(RuntimeError, match="no Docker engine answers at unix://"):
        Servers(print).postgresql()


def test_a_side_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED, "container")
    with pytest.raises(RuntimeError, match="containers or local, not 'container'"):
        Servers(print)
