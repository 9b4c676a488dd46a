"""The PostgreSQL and the Redis that tests share: in containers where a Docker engine answers, else local programs.

RUNLANE_TEST_SERVERS=containers or =local forces one side. testcontainers is imported only after an engine answered.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests.support.postgresql import Postgresql, PostgresqlServer
from tests.support.redis import Redis, RedisServer

if TYPE_CHECKING:
    from docker.models.containers import Container

FORCED = "RUNLANE_TEST_SERVERS"
_COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"


class Servers:
    """Makes servers on the side that is to serve; `say` tells people what they would not expect."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._decided: dict[str, bool] = {}
        self._forced = os.environ.get(FORCED, "")
        if self._forced not in ("", "containers", "local"):
            raise RuntimeError(f"{FORCED} is containers or local, not {self._forced!r}")

    def postgresql(self) -> Postgresql:
        """One that is not made yet."""
        image = _image("postgres")
        return PostgresqlContainer(image) if self._contained(image) else PostgresqlServer()

    def redis(self) -> Redis:
        """One that is not started yet."""
        image = _image("redis")
        return RedisContainer(image) if self._contained(image) else RedisServer()

    def _contained(self, image: str) -> bool:
        if image not in self._decided:
            self._decided[image] = self._decide(image)
        return self._decided[image]

    def _decide(self, image: str) -> bool:
        if self._forced == "local":
            return False
        answering = engine_answers()
        problem = _image_problem(image) if answering else f"no Docker engine answers at {_engine()}"
        if problem is None:
            return True
        if self._forced:
            raise RuntimeError(f"{FORCED}=containers, but {problem}")
        if answering:
            self._say(f"Local programs serve the tests, although Docker is there: {problem}")
        return False


class _InContainer:
    """The life of a server in a container, as `Postgresql` and `Redis` leave it to whoever runs them."""

    port: int
    answers: Callable[[], bool]

    def __init__(self, image: str, inside: str, command: list[str], environment: dict[str, str]) -> None:
        from testcontainers.core.container import DockerContainer

        super().__init__()
        self._definition = DockerContainer(image, env=environment).with_command(command)
        # On loopback alone, for neither server asks for a password; and on the same port after each kill.
        self._definition.ports[inside] = ("127.0.0.1", self.port)  # type: ignore[assignment]  # docker-py takes a pair
        self._container: Container | None = None

    def make(self) -> None:
        self._container = self._definition.start().get_wrapped_container()
        self._wait()

    def start(self) -> None:
        if self._container is None:
            self.make()
            return
        self._container.start()
        self._wait()

    def stop(self) -> None:
        self._running().stop()

    def kill(self) -> None:
        self._running().kill()
        self._running().wait()

    def pause(self) -> None:
        self._running().pause()

    def resume(self) -> None:
        self._running().unpause()

    def remove(self) -> None:
        self._definition.stop()

    def _running(self) -> "Container":
        assert self._container is not None
        return self._container

    def _wait(self, within: float = 60.0) -> None:
        container, deadline = self._running(), time.monotonic() + within
        while time.monotonic() < deadline and container.status != "exited":
            if self.answers():
                return
            time.sleep(0.02)
            container.reload()
        said = container.logs().decode(errors="replace")[-2000:]
        raise RuntimeError(f"what runs in a container does not answer on port {self.port} ({FORCED}=local?): {said}")


class PostgresqlContainer(_InContainer, Postgresql):
    """One server in a container."""

    def __init__(self, image: str) -> None:
        environment = {
            "POSTGRES_USER": "runlane",
            "POSTGRES_HOST_AUTH_METHOD": "trust",
            "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --no-locale",
        }
        super().__init__(image, "5432/tcp", ["postgres", "-c", "max_connections=200"], environment)


class RedisContainer(_InContainer, Redis):
    """One server in a container."""

    def __init__(self, image: str) -> None:
        options = ["--save", "", "--appendonly", "no", "--protected-mode", "no"]
        super().__init__(image, "6379/tcp", ["redis-server", *options], {})


def engine_answers(within: float = 0.5) -> bool:
    """Whether a Docker engine answers at its socket on this machine."""
    scheme, _, path = _engine().partition("://")
    if scheme != "unix":
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(within)
        try:
            probe.connect(path)
            probe.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in probe.recv(64)
        except OSError:
            return False


def _engine() -> str:
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def _image(service: str) -> str:
    """What is deployed is what is tested."""
    found: str = yaml.safe_load(_COMPOSE.read_text())["services"][service]["image"]
    return found


def _image_problem(image: str) -> str | None:
    """Why there is no such image, not even after a pull."""
    from testcontainers.core.config import testcontainers_config

    # Its reaper removes what a killed session left. Where its image cannot be had, tests run without.
    if not testcontainers_config.ryuk_disabled and _pull_problem(testcontainers_config.ryuk_image) is not None:
        testcontainers_config.ryuk_disabled = True
    return _pull_problem(image)


def _pull_problem(image: str) -> str | None:
    from docker.errors import DockerException, ImageNotFound
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.docker_client import DockerClient

    name = testcontainers_config.hub_image_name_prefix + image
    with contextlib.closing(DockerClient().client) as engine:
        try:
            engine.images.get(name)
        except ImageNotFound:
            try:
                engine.images.pull(name)
            except (DockerException, OSError) as problem:
                return f"{name} can be neither found nor pulled ({problem})"
    return None
