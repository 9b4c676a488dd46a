"""The supervisor over small fake services, and over a real nats-server."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import nats
import pytest
from nats.errors import Error as NatsError

from runlane.contracts.grants import OPERATOR
from runlane_cli.brokerwatch import keep_writing
from runlane_cli.natsserver import NatsServer, find_program, free_port
from runlane_cli.problems import CommandFailed
from runlane_cli.process import ServiceSpec
from runlane_cli.supervisor import RestartPauses, Service
from tests.support.eventually import eventually

READY = "import os, signal, sys, time\nos.write(int(os.environ['RUNLANE_READY_FD']), b'ready\\n')\n"
SERVES = READY + "signal.pause()\n"


class Family:
    """Services of a test, and what was told of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: list[str] = []
        self.services: list[Service] = []
        self.changes = 0

    def service(self, script: str, **more: object) -> Service:
        spec = ServiceSpec(
            name="fake",
            command=(sys.executable, "-c", script, str(self.directory)),
            log=self.directory / "fake.log",
            environment=dict(os.environ),
            **more,  # type: ignore[arg-type]
        )
        return self.keep(spec)

    def keep(self, spec: ServiceSpec) -> Service:
        service = Service(spec, self.told.append, self._changed, RestartPauses(first=0.01))
        self.services.append(service)
        return service

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[Family]:
    made = Family(tmp_path)
    yield made
    for service in made.services:
        service.kill()
        await service.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


async def test_start_returns_once_the_service_says_it_is_ready(family: Family) -> None:
    service = family.service(SERVES)

    await service.start()

    assert service.pid is not None
    assert alive(service.pid)
    assert family.changes == 1


async def test_a_service_has_a_session_of_its_own_so_that_ctrl_c_does_not_reach_it(family: Family) -> None:
    service = family.service(SERVES)
    await service.start()

    assert service.pid is not None
    assert os.getsid(service.pid) == service.pid


async def test_a_service_that_dies_is_started_again(family: Family) -> None:
    service = family.service(SERVES)
    await service.start()
    first = service.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)

    await eventually(lambda: service.pid not in (None, first))
    assert family.told == ["fake ended (killed by SIGKILL); starting it again"]


async def test_what_a_dead_service_had_started_ends_with_it(family: Family) -> None:
    starts_another = (
        READY + "import pathlib, subprocess\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path(sys.argv[1], f'other-{other.pid}').touch()\n"
        "signal.pause()\n"
    )
    service = family.service(starts_another)
    await service.start()
    marker = await eventually(lambda: next(family.directory.glob("other-*"), None))
    other = int(marker.name.removeprefix("other-"))
    assert alive(other)

    assert service.pid is not None
    os.kill(service.pid, signal.SIGKILL)

    await eventually(lambda: not alive(other))


async def test_a_service_that_keeps_dying_before_it_is_ready_is_given_up_with_the_end_of_its_log(
    family: Family,
) -> None:
    service = family.service("import sys; sys.exit('no such database')")

    with pytest.raises(CommandFailed, match=r"fake does not start \(exit code 1\)(.|\n)*no such database"):
        await service.start()

    assert family.changes == 3
    assert service.pid is None


async def test_a_service_that_cannot_even_be_started_is_given_up_with_the_reason(family: Family) -> None:
    spec = msgspec.structs.replace(family.service(SERVES).spec, log=family.directory / "missing" / "fake.log")

    with pytest.raises(CommandFailed, match="No such file or directory"):
        await family.keep(spec).start()


async def test_a_service_whose_settings_cannot_work_is_given_up_at_once(family: Family) -> None:
    service = family.service("raise SystemExit(2)")

    with pytest.raises(CommandFailed, match="exit code 2"):
        await service.start()

    assert family.changes == 1


async def test_an_exit_before_ready_that_happens_once_is_forgiven(family: Family) -> None:
    second_time_lucky = (
        "import os, pathlib, signal, sys\n"
        "mark = pathlib.Path(sys.argv[1], 'tried')\n"
        "if not mark.exists():\n"
        "    mark.touch()\n"
        "    sys.exit(1)\n"
    ) + SERVES
    service = family.service(second_time_lucky)

    await service.start()

    assert family.told == ["fake ended (exit code 1); starting it again"]


async def test_stop_lets_the_service_drain(family: Family) -> None:
    drains = READY + (
        "def drain(*_):\n"
        "    time.sleep(0.1)\n"
        "    open(os.path.join(sys.argv[1], 'drained'), 'w').close()\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, drain)\n"
        "os.write(1, b'armed')\n"
        "while True: signal.pause()\n"
    )
    service = family.service(drains)
    await service.start()
    await eventually(lambda: b"armed" in service.spec.log.read_bytes())

    await service.stop()

    assert (family.directory / "drained").exists()
    assert service.pid is None
    assert family.told == []


async def test_a_service_that_does_not_drain_is_ended(family: Family) -> None:
    stubborn = (
        "import os, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + READY + "while True: signal.pause()\n"
    )
    service = family.service(stubborn, stop_seconds=0.05)
    await service.start()
    pid = service.pid
    assert pid is not None

    await service.stop()

    assert not alive(pid)
    assert family.told == ["fake did not drain within 0.05 s and was ended"]


async def test_stop_is_safe_twice_and_before_start(family: Family) -> None:
    never_started, started = family.service(SERVES), family.service(SERVES)
    await started.start()

    await never_started.stop()
    await started.stop()
    await started.stop()

    assert started.pid is None


async def test_stop_ends_a_service_that_waits_for_its_next_try(family: Family) -> None:
    service = Service(
        family.service(SERVES).spec, family.told.append, lambda: None, RestartPauses(first=600, longest=600)
    )
    await service.start()
    for _ in range(2):  # the second pause is the long one
        pid = await eventually(lambda: service.pid)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda pid=pid: service.pid != pid)

    await asyncio.wait_for(service.stop(), 10)

    assert service.pid is None


async def test_a_service_ends_when_its_supervisor_is_killed(family: Family) -> None:
    supervisor = (
        "import asyncio, os, pathlib, sys\n"
        "from runlane_cli.process import ServiceSpec\n"
        "from runlane_cli.supervisor import RestartPauses, Service\n"
        "async def main():\n"
        "    directory = pathlib.Path(sys.argv[1])\n"
        f"    command = (sys.executable, '-c', {SERVES!r})\n"
        "    log, environment = directory / 'inner.log', dict(os.environ)\n"
        "    spec = ServiceSpec(name='inner', command=command, log=log, environment=environment)\n"
        "    service = Service(spec, print, lambda: None, RestartPauses())\n"
        "    await service.start()\n"
        "    (directory / f'inner-{service.pid}').touch()\n"
        "    await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    if sys.platform != "linux":
        pytest.skip("only Linux tells a process of its parent's death")
    outer = await asyncio.create_subprocess_exec(sys.executable, "-c", supervisor, str(family.directory))
    try:
        marker = await eventually(lambda: next(family.directory.glob("inner-*"), None))
        inner = int(marker.name.removeprefix("inner-"))
        assert alive(inner)
    finally:
        outer.kill()
        await outer.wait()

    await eventually(lambda: not alive(inner))


def test_pauses_grow_from_none_and_start_afresh_after_a_long_life() -> None:
    pauses = RestartPauses()

    assert [pauses.after(lived=1) for _ in range(8)] == [0, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    assert [pauses.after(lived=30), pauses.after(lived=1)] == [0, 0.2]


# --- a real nats-server -----------------------------------------------------------------------------------------------


def broker(family: Family, **more: object) -> tuple[NatsServer, Service]:
    server = NatsServer(
        directory=family.directory / 'st "o" re',
        port=free_port(),
        password="a-password",
        **more,  # type: ignore[arg-type]
    )
    config = family.directory / "nats.conf"
    config.write_text(server.config())
    spec = ServiceSpec(
        name="nats-server",
        command=(find_program(), "-c", str(config)),
        log=family.directory / "nats.log",
        environment=dict(os.environ),
        ready=server.answers,
    )
    return server, family.keep(spec)


@pytest.mark.parametrize("durability", ["buffered", "fsync"])
async def test_a_nats_server_keeps_what_it_stored_when_it_is_started_again(family: Family, durability: str) -> None:
    server, service = broker(family, durability=durability)
    await service.start()
    client = await nats.connect(
        server.url, user=OPERATOR, password=server.password_of(OPERATOR), reconnect_time_wait=0.05
    )
    stream = client.jetstream()
    await stream.add_stream(name="S", subjects=["s"])
    await stream.publish("s", b"kept")
    first = service.pid
    assert first is not None

    os.kill(first, signal.SIGKILL)

    await eventually(lambda: service.pid not in (None, first))
    await eventually(lambda: client.is_connected)

    async def stored() -> bool:
        try:
            return (await stream.stream_info("S")).state.messages == 1
        except NatsError:
            return False

    await eventually(stored)
    await client.close()


async def test_a_nats_server_refuses_whoever_lacks_the_password(family: Family) -> None:
    server, service = broker(family)
    await service.start()

    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose": false, "user": "runlane", "pass": "wrong"}\r\nPING\r\n')
    answer = await reader.read()  # it hangs up
    writer.close()
    await writer.wait_closed()

    assert b"Authorization Violation" in answer
    assert b"PONG" not in answer


async def test_a_broker_whose_disk_was_full_writes_again(family: Family) -> None:
    server, service = broker(family)
    await service.start()
    client = await nats.connect(server.url, user=OPERATOR, password=server.password_of(OPERATOR))
    await client.jetstream().add_stream(name="S", subjects=["s.>"])

    async def stored() -> bool:
        try:
            return (await client.jetstream().publish("s.x", b"x" * 200, timeout=0.5)).seq > 0
        except (NatsError, TimeoutError):
            return False

    await eventually(stored)
    assert await server.write_problem() is None
    assert service.pid is not None
    limits = resource.prlimit(service.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (1, limits[1]))  # the nearest to a full disk without a disk
    assert not await stored()
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, limits)
    assert not await stored(), "then there is no need to look after it"
    watching = asyncio.create_task(keep_writing(server, service, family.told.append))
    await eventually(stored, within=30)
    watching.cancel()
    assert any("writes no more" in sentence for sentence in family.told)
    await client.close()
