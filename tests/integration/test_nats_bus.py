"""The bus over a real nats-server: what every room relies on."""

import asyncio
import socket
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.connection import MAX_MESSAGE_BYTES, open_bus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.adapters.nats.publisher import Publisher, _Ack
from runlane.adapters.nats.reader import Reader
from runlane.contracts import subjects
from runlane.contracts.events import Started, StartedData
from runlane.contracts.requests import Caller, Request
from runlane.errors import BusUnavailable, MessageTooLarge, StateConflict
from runlane.ports import Delivery, Message, Stored
from runlane.settings import Settings
from runlane_executor.stateline import StateLine
from tests.support.eventually import eventually
from tests.support.nats import NatsServer

STATE = subjects.state_line("acme", "hello", "e1")


def state(kind: str, id_: str, expect: int) -> Message:
    subject = subjects.event("acme", "hello", "e1", f"state.{kind}")
    return Message(subject=subject, payload=kind.encode(), id=id_, expect_last=expect, expect_on=STATE)


def request(id_: str, payload: bytes = b"{}") -> Message:
    return Message(subject=subjects.request("0", "acme", "hello"), payload=payload, id=id_)


async def test_the_state_line_takes_one_successor_only(bus: NatsBus) -> None:
    first = await bus.publish(state("started", "a", 0))
    results = await asyncio.gather(
        *(bus.publish(state("succeeded", f"s{n}", first)) for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, StateConflict) for result in results) == 7


async def test_publishing_again_after_a_lost_acknowledgement_is_no_conflict(
    bus: NatsBus, nats_server: NatsServer
) -> None:
    """The server checks the expected sequence before the message id, so it refuses its own success said twice."""
    first = await bus.publish(state("started", "a", 0))
    nats_server.pause()
    sent = bus.connection.client.stats["out_msgs"]
    publishing = asyncio.create_task(bus.publish(state("succeeded", "b", first), timeout=60))
    await eventually(lambda: bus.connection.client.stats["out_msgs"] >= sent + 2, within=40)
    nats_server.resume()
    assert await publishing == first + 1


async def test_last_and_read_see_what_was_stored(bus: NatsBus) -> None:
    assert await bus.last(subjects.EVENTS, STATE) is None
    first = await bus.publish(state("started", "a", 0))
    second = await bus.publish(state("succeeded", "b", first))
    last = await bus.last(subjects.EVENTS, STATE)
    assert last is not None
    assert (last.sequence, last.payload) == (second, b"succeeded")
    everything = await bus.read(subjects.EVENTS, subjects.all_events("acme", "e1"))
    assert [stored.sequence for stored in everything] == [first, second]
    assert await bus.read(subjects.EVENTS, subjects.all_events("acme", "e1"), after=second) == []


async def test_in_a_cluster_the_leader_is_asked_and_says_the_same(bus: NatsBus) -> None:
    clustered = NatsBus(bus.connection, clustered=True)
    everything = subjects.all_events("acme", "e1")
    assert await clustered.last(subjects.EVENTS, STATE) is None
    assert await clustered.read(subjects.EVENTS, everything) == []
    first = await bus.publish(state("started", "a", 0))
    big = Message(subject=subjects.event("acme", "hello", "e1", "trace"), payload=b"x" * 880 * 1024, id="big")
    await bus.publish(big)
    for filter_ in (STATE, everything):
        one, other = await clustered.last(subjects.EVENTS, filter_), await bus.last(subjects.EVENTS, filter_)
        assert one is not None
        assert other is not None
        assert (one.subject, one.sequence, one.id) == (other.subject, other.sequence, other.id)
        assert one.payload == other.payload
        assert abs(one.time - other.time) < timedelta(milliseconds=1)
    assert await clustered.read(subjects.EVENTS, everything) == await bus.read(subjects.EVENTS, everything)
    assert await clustered.read(subjects.EVENTS, everything, after=first + 5) == []
    assert await clustered.newest(subjects.EVENTS, everything) == await bus.newest(subjects.EVENTS, everything)
    await bus.publish(state("succeeded", "b", first))
    last = await clustered.last(subjects.EVENTS, STATE)
    assert last is not None
    assert (last.payload, last.id) == (b"succeeded", "b")


class Lagging(Reader):
    """A replica that has nothing for so many answers."""

    behind = 2

    async def _get(self, stream: str, request: dict[str, Any]) -> list[Stored]:
        self.behind -= 1
        return [] if self.behind >= 0 else await super()._get(stream, request)


async def test_a_replica_that_lags_behind_its_leader_is_asked_again(bus: NatsBus) -> None:
    await bus.publish(state("started", "a", 0))
    reader = Lagging(bus.connection, clustered=True)
    assert len(await reader.read(subjects.EVENTS, STATE, 0, 10)) == 1
    reader.behind = 10_000
    with pytest.raises(BusUnavailable, match="does not have what its leader has"):
        await reader.read(subjects.EVENTS, STATE, 0, 10)


async def test_everything_is_read_page_by_page_whatever_its_subject(bus: NatsBus) -> None:
    tails = (subjects.event("acme", "hello", "e1", "queued"), subjects.tick("acme", "hello"), subjects.audit("acme"))
    for number in range(10):
        await bus.publish(Message(subject=tails[number % 3], payload=b"x", id=f"m{number}"))
    read: list[Stored] = []
    while page := await bus.read(subjects.EVENTS, subjects.EVERYTHING, after=read[-1].sequence if read else 0, limit=4):
        read += page
    assert [stored.subject for stored in read] == [tails[number % 3] for number in range(10)]


async def test_last_of_each_pages_beyond_the_servers_limit(bus: NatsBus) -> None:
    await asyncio.gather(
        *(bus.publish(Message(subject=subjects.tick("acme", f"w{n}"), payload=b"x", id=f"t{n}")) for n in range(1500))
    )
    found = await bus.last_of_each(subjects.EVENTS, "runlane.tick.>")
    assert len({stored.subject for stored in found}) == 1500


async def test_a_delayed_message_arrives_at_its_target(bus: NatsBus) -> None:
    got: list[Delivery] = []
    consumption = await bus.consume(subjects.DELAYED, subjects.executors("0"), got.append, lambda: 10)
    await bus.publish(
        Message(
            subject=subjects.delayed("e1"),
            payload=b"later",
            id="d1",
            deliver_at=datetime.now(UTC) + timedelta(seconds=0.3),
            deliver_to=subjects.due("0", "acme", "hello"),
        )
    )
    await eventually(lambda: got)
    assert got[0].payload == b"later"
    assert got[0].subject == subjects.due("0", "acme", "hello")
    got[0].ack()
    await consumption.stop()


async def test_a_message_given_back_comes_again_and_counts(bus: NatsBus) -> None:
    got: list[Delivery] = []
    consumption = await bus.consume(subjects.REQUESTS, subjects.executors("0"), got.append, lambda: 10)
    await bus.publish(request("r1"))
    await eventually(lambda: len(got) == 1)
    got[0].nak()
    await eventually(lambda: len(got) == 2)
    assert [delivery.delivered for delivery in got] == [1, 2]
    assert got[0].sequence == got[1].sequence
    got[1].ack()
    await consumption.stop()


async def test_no_more_is_delivered_than_there_is_room_for(bus: NatsBus) -> None:
    got: list[Delivery] = []
    taken = 0
    for n in range(20):
        await bus.publish(request(f"r{n}"))
    consumption = await bus.consume(
        subjects.REQUESTS, subjects.executors("0"), got.append, lambda: max(0, 5 - (len(got) - taken))
    )
    await eventually(lambda: len(got) == 5)
    taken = 5
    consumption.pull()
    await eventually(lambda: len(got) == 10)
    for delivery in got:
        delivery.ack()
    await consumption.stop()


async def test_live_events_carry_their_sequence_and_refused_ones_are_not_heard(bus: NatsBus) -> None:
    heard: list[Stored] = []
    listening = await bus.listen_live(subjects.all_events("acme", "e1"), heard.append)
    sequence = await bus.publish(state("started", "a", 0))
    with pytest.raises(StateConflict):
        await bus.publish(state("succeeded", "b", 0))
    await eventually(lambda: heard)
    assert [(stored.sequence, stored.payload) for stored in heard] == [(sequence, b"started")]
    await listening.stop()


async def test_a_message_whose_headers_push_it_over_the_limit_leaves_the_connection_open(bus: NatsBus) -> None:
    """nats-py counts the payload only; the server then hangs up and the client closes for ever (RELIABILITY F5)."""
    with pytest.raises(MessageTooLarge):
        await bus.publish(request("r1", b"x" * MAX_MESSAGE_BYTES))
    assert await bus.publish(request("r2", b"x" * (MAX_MESSAGE_BYTES - 100))) > 0


async def test_lag_tells_how_far_a_consumer_is(bus: NatsBus) -> None:
    before = await bus.lag(subjects.EVENTS, subjects.RECORDER)
    await bus.publish(state("started", "a", 0))

    async def counted() -> bool:
        return (await bus.lag(subjects.EVENTS, subjects.RECORDER)).pending == before.pending + 1

    await eventually(counted)  # a loaded server counts a moment later


async def test_a_restarted_server_goes_on_delivering_and_storing(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "own")
    server.start()
    try:
        async with open_bus(Settings(nats_url=server.url, data_dir=tmp_path), "test") as bus:
            got: list[Delivery] = []
            directory: dict[str, bytes | None] = {}
            await NatsDirectoryStore(bus).watch(lambda key, value, _: directory.update({key: value}))
            await bus.consume(subjects.REQUESTS, subjects.executors("0"), got.append, lambda: 10)
            server.kill()
            with pytest.raises(BusUnavailable):
                await bus.publish(request("while away"), timeout=0.3)
            server.start()
            await bus.publish(request("after"), timeout=10)
            await NatsDirectoryStore(bus).put("orgs.acme", b"1")
            await eventually(lambda: {d.payload for d in got} and len(got) >= 1, within=15)
            await eventually(lambda: directory.get("orgs.acme") == b"1", within=15)
    finally:
        server.stop()


async def test_the_directory_is_followed_by_everyone(bus: NatsBus, settings: Settings) -> None:
    store = NatsDirectoryStore(bus)
    for n in range(50):
        await store.put(f"config.acme.k{n}", b"0")
    seen: dict[str, bytes | None] = {}
    async with open_bus(settings, "other") as other:
        await NatsDirectoryStore(other).watch(lambda key, value, _: seen.update({key: value}))
        assert len(seen) == 50
        revision = await store.put("config.acme.k1", b"1")
        await store.delete("config.acme.k2")
        await eventually(lambda: seen["config.acme.k1"] == b"1" and seen["config.acme.k2"] is None)
        with pytest.raises(StateConflict):
            await store.put("config.acme.k1", b"2", expect=revision - 1)
        await store.put("config.acme.k1", b"2", expect=revision)


async def test_no_server_is_said_plainly() -> None:
    with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1:1") as problem:
        async with open_bus(Settings(nats_url="nats://user:hush@127.0.0.1:1"), "test", within=0.5):
            pass
    assert "hush" not in str(problem.value)


async def test_a_removed_key_can_be_created_anew(bus: NatsBus) -> None:
    store = NatsDirectoryStore(bus)
    await store.put("orgs.acme", b"1", expect=0)
    with pytest.raises(StateConflict):
        await store.put("orgs.acme", b"2", expect=0)
    await store.delete("orgs.acme")
    assert await store.put("orgs.acme", b"3", expect=0) > 0


class InACluster(Publisher):
    """A server that looks for duplicates before it looks at what is expected."""

    async def _attempt(self, subject: str, payload: bytes, headers: dict[str, str], seconds: float) -> _Ack:
        return _Ack(stream=subjects.EVENTS, seq=7, duplicate=True)


async def test_what_is_there_already_is_a_conflict_in_a_cluster_too(bus: NatsBus) -> None:
    publisher = InACluster(bus.connection, Reader(bus.connection))
    with pytest.raises(StateConflict):
        await publisher.publish(state("started", "a", 0), 5)
    assert await publisher.publish(request("r"), 5) == 7, "without a condition it is the repetition of a request"


async def _while_it_says_nothing(
    nats_server: NatsServer, bus: NatsBus, asking: Coroutine[Any, Any, object]
) -> tuple["asyncio.Task[object]", bool]:
    """Begin while the server stands still, until it was asked twice or given up; whether it was asked twice."""
    stats = bus.connection.client.stats
    nats_server.pause()
    sent = stats["out_msgs"]
    task = asyncio.create_task(asking)
    try:
        await eventually(lambda: stats["out_msgs"] >= sent + 2 or task.done(), within=40)
    finally:
        nats_server.resume()
    return task, stats["out_msgs"] >= sent + 2


async def test_two_claims_by_one_executor_are_not_repetitions_of_each_other(
    bus: NatsBus, nats_server: NatsServer, settings: Settings
) -> None:
    """Its request came twice, and the first answer to the second claim was late: the code ran twice under one claim."""
    line = StateLine(bus, "executor-1")
    now = datetime.now(UTC)
    asked = Request(execution_id="e1", org="acme", workflow="hello", caller=Caller(id="t"), accepted_at=now)
    data = StartedData(executor="executor-1", request="REQUESTS:1", first_started_at=now)
    started = Started(**line.envelope(asked, now, "started:1:0"), data=data)
    await line.move(asked, started, 0)
    for _ in range(5):
        again, asked_twice = await _while_it_says_nothing(nats_server, bus, line.move(asked, started, 0))
        if asked_twice:
            break
        # On a busy machine the connection may be given up before it is asked a second time.
        with pytest.raises(BusUnavailable):
            await again
        await eventually(lambda: bus.connected)
    with pytest.raises(StateConflict):
        await again


async def test_a_server_that_says_nothing_is_given_up_and_hung_up_on(tmp_path: Path) -> None:
    """nats-py left the connection open, and whoever was there when it was collected was told of it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Settings(nats_url=f"nats://127.0.0.1:{silent.getsockname()[1]}", data_dir=tmp_path)
        with pytest.raises(BusUnavailable):
            async with open_bus(settings, "test", within=0.5):
                pass
        connection, _ = silent.accept()
        with connection:
            connection.settimeout(20)
            while await asyncio.to_thread(connection.recv, 1000):
                pass  # until it hangs up
