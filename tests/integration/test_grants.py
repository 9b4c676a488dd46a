"""What no service may do on NATS, tried on a real server. What each may do, every end-to-end test shows: `runlane up`
gives each service its own user."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from msgspec.structs import replace
from nats.aio.client import Client

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.topology import HANDOVER_SECONDS, consumer_config
from runlane.contracts import subjects
from runlane.contracts.grants import OPERATOR, USERS, grant
from runlane.settings import Settings
from runlane_cli.natsserver import NatsServer, free_port
from tests.support.eventually import eventually
from tests.support.nats import NatsServer as Process

_RESULT = "runlane.event.acme.hello.e1.state.succeeded"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    directory = tmp_path_factory.mktemp("grants")
    server = NatsServer(directory=directory / "store", port=free_port(), password="a-password")
    (directory / "nats.conf").write_text(server.config())
    process = Process(directory / "process", config=directory / "nats.conf")
    process.start()
    yield server
    process.stop()


class Visitor:
    """A client that may be refused things."""

    def __init__(self, client: Client, refusals: list[str]) -> None:
        self.client, self.refusals = client, refusals

    async def attempt(self, direction: str, subject: str) -> None:
        """Do it, and have an answer to a ping after it: by then the server has said whether it refuses."""
        if direction == "publish":
            await self.client.publish(subject, b"{}")
        else:
            await self.client.subscribe(subject)
        await self.client.flush(10)


@pytest.fixture
async def visitor(server: NatsServer, request: pytest.FixtureRequest) -> AsyncIterator[Visitor]:
    refusals: list[str] = []

    async def heard(problem: Exception) -> None:
        refusals.append(str(problem))

    user = request.param
    client = await nats.connect(
        server.url, user=user, password=server.password_of(user), error_cb=heard, inbox_prefix=f"_INBOX.{user}".encode()
    )
    yield Visitor(client, refusals)
    await client.close()


_FORBIDDEN = [
    *(
        (service, "publish", subject)
        for service in USERS
        for subject in (
            "$JS.API.STREAM.DELETE.EVENTS",
            "$JS.API.STREAM.PURGE.REQUESTS",
            "$JS.API.STREAM.UPDATE.EVENTS",
            "$JS.API.STREAM.MSG.DELETE.EVENTS",
            "$JS.API.CONSUMER.DELETE.EVENTS.recorder",
            "$JS.API.ACCOUNT.PURGE.G",
            "anything.else",
        )
    ),
    *(
        (service, "subscribe", f"_INBOX.{other}.>")
        for service in USERS
        for other in (*USERS, OPERATOR)
        if other != service
    ),
    *((service, "subscribe", subject) for service in USERS for subject in (">", "runlane.>", "runlane.event.>")),
    ("gateway", "publish", _RESULT),
    ("gateway", "publish", "runlane.event.acme.hello.e1.state.started"),
    ("gateway", "publish", "runlane.event.acme.hello.e1.trace"),
    ("gateway", "publish", "runlane.reply.g1.e1"),
    ("gateway", "publish", "$JS.API.CONSUMER.MSG.NEXT.REQUESTS.executors-0"),
    ("gateway", "publish", "$JS.API.CONSUMER.CREATE.EVENTS.mine.runlane.event.>"),
    ("executor", "publish", "runlane.event.acme.hello.e1.queued"),
    ("executor", "publish", "runlane.audit.acme"),
    ("executor", "publish", "runlane.control.cancel.e1"),
    ("executor", "publish", "$KV.DIRECTORY.keys.k1"),
    ("executor", "publish", "$KV.DIRECTORY.secrets.acme.token"),
    ("executor", "subscribe", "runlane.reply.>"),
    ("executor", "subscribe", "runlane.live.>"),
    ("scheduler", "publish", _RESULT),
    ("scheduler", "publish", "$KV.DIRECTORY.keys.k1"),
    ("scheduler", "publish", "$JS.API.CONSUMER.MSG.NEXT.EVENTS.recorder"),
    ("scheduler", "publish", "$JS.API.CONSUMER.CREATE.EVENTS.mine.runlane.event.>"),
    ("recorder", "publish", _RESULT),
    ("subscriber", "publish", _RESULT),
    ("subscriber", "publish", "runlane.request.0.acme.hello"),
    ("subscriber", "publish", "$JS.API.DIRECT.GET.REQUESTS"),
    ("subscriber", "publish", "$JS.API.CONSUMER.CREATE.REQUESTS.mine.runlane.request.>"),
    ("subscriber", "publish", "$JS.API.CONSUMER.CREATE.EVENTS.recorder.runlane.event.>"),
    ("subscriber", "publish", "$JS.API.CONSUMER.MSG.NEXT.EVENTS.recorder"),
    ("subscriber", "publish", "$JS.ACK.EVENTS.recorder.1.1.1.1.1"),
    ("subscriber", "subscribe", "$KV.DIRECTORY.>"),
    ("recorder", "publish", "runlane.event.acme.hello.e1.queued"),
    ("recorder", "publish", "$KV.DIRECTORY.keys.k1"),
    ("recorder", "publish", "$JS.API.CONSUMER.MSG.NEXT.REQUESTS.executors"),
]


@pytest.mark.parametrize(
    ("visitor", "direction", "subject"), _FORBIDDEN, indirect=["visitor"], ids=lambda value: str(value)
)
async def test_a_service_is_refused_what_is_not_its_own(visitor: Visitor, direction: str, subject: str) -> None:
    await visitor.attempt(direction, subject)
    await eventually(lambda: any("permissions violation" in told for told in visitor.refusals))


@pytest.mark.parametrize(
    ("visitor", "direction", "subject"),
    [(service, "publish", subject) for service in USERS for subject in grant(service).publish]
    + [(service, "subscribe", subject) for service in USERS for subject in grant(service).subscribe],
    indirect=["visitor"],
    ids=lambda value: str(value),
)
async def test_a_service_is_given_what_is_its_own(visitor: Visitor, direction: str, subject: str) -> None:
    concrete = subject if direction == "subscribe" else subject.replace("*", "some").replace(">", "thing")
    await visitor.attempt(direction, concrete)
    await visitor.attempt("publish", "forbidden")  # refused in its turn, after what was tried before it
    await eventually(lambda: visitor.refusals)
    assert ["forbidden" in told for told in visitor.refusals] == [True]


async def test_a_service_does_not_pass_for_another(server: NatsServer) -> None:
    async def refused() -> bool:
        client = Client()
        try:
            await client.connect(
                server.url, user=OPERATOR, password=server.password_of("executor"), allow_reconnect=False
            )
        except nats.errors.Error:
            return True
        finally:
            await client.close()  # refused or not: nats-py leaves the connection open
        return False

    assert await eventually(refused)


async def test_a_service_starts_though_another_version_made_a_consumer_that_is_not_its_own(
    server: NatsServer, tmp_path: Path
) -> None:
    """It used to end for want of the right to change it: after an upgrade whoever was restarted first was away."""
    settings = Settings(
        nats_url=server.url, data_dir=tmp_path, nats_user=OPERATOR, nats_password=server.password_of(OPERATOR)
    )
    settings = replace(settings, queue_max_bytes=256 * 1024**2)
    async with open_bus(settings, "operator") as bus:
        older = consumer_config(subjects.EVENTS, subjects.RECORDER) | {"priority_timeout": 77_000_000_000}
        create = f"CONSUMER.CREATE.{subjects.EVENTS}.{subjects.RECORDER}"
        await bus.api(create, {"stream_name": subjects.EVENTS, "config": older})
        theirs = replace(settings, nats_user="gateway", nats_password=server.password_of("gateway"))
        async with open_bus(theirs, "gateway") as gateway:
            assert gateway.connected
        theirs = replace(settings, nats_user="recorder", nats_password=server.password_of("recorder"))
        async with open_bus(theirs, "recorder"):
            info = await bus.api(f"CONSUMER.INFO.{subjects.EVENTS}.{subjects.RECORDER}", None)
        assert info["config"]["priority_timeout"] == HANDOVER_SECONDS * 1_000_000_000
