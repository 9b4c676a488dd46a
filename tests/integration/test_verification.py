"""`runlane verify` over a real stream, a real recorder and a SQLite file that somebody has tampered with."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.snapshots import stream_span
from runlane.adapters.sql.inspection import open_inspection
from runlane.adapters.sql.schema import migrate
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import AnyEvent, AuditData, Audited, Delivered, DeliveryData
from runlane.contracts.requests import Caller
from runlane.errors import BusUnavailable
from runlane.inspection import Options, Report
from runlane.ports import Message
from runlane.settings import Settings
from runlane.verification import Verification
from runlane_recorder.app import open_room
from tests.support.eventually import eventually
from tests.support.memory_bus import START, Story, subject_of, ticked

KEPT = Options(keep_from=datetime(2020, 1, 1, tzinfo=UTC))


def audited(id_: str) -> Audited:
    data = AuditData(actor=Caller("key1"), action="put", kind="config", key="region", outcome="done", after="emea")
    return Audited(id=id_, source="/test", subject=id_, time=START, organization="acme", data=data)


def delivered(id_: str) -> Delivered:
    data = DeliveryData(outcome="accepted", scheme="github", size_bytes=12)
    return Delivered(id=id_, source="/test", subject=id_, time=START, organization="acme", workflow="hook", data=data)


def told() -> list[AnyEvent]:
    """Thirty executions of several fates, interleaved, and some of everything else."""
    stories = [Story(f"e{n}") for n in range(30)]
    events: list[AnyEvent] = [story.queued(tags=["t"]) for story in stories]
    events += [story.started() for story in stories[:28]]
    events += [story.traced(story.log("hello"), story.progress(50, "half")) for story in stories[:20]]
    events += [story.retrying() for story in stories[:5]] + [story.started() for story in stories[:5]]
    events += [story.succeeded() for story in stories[:10]] + [story.failed() for story in stories[10:15]]
    events += [story.cancelled() for story in stories[15:18]] + [story.suspended() for story in stories[18:20]]
    events += (
        [ticked(n) for n in range(5)] + [audited(f"a{n}") for n in range(3)] + [delivered(f"d{n}") for n in range(3)]
    )
    return events


async def publish(bus: NatsBus, events: list[AnyEvent]) -> None:
    for event in events:
        match event:
            case Audited():
                subject = subjects.audit("acme")
            case Delivered():
                subject = subjects.delivery("acme", "hook")
            case _:
                subject = subject_of(event)
        await bus.publish(Message(subject=subject, payload=encode(event), id=event.id))


@asynccontextmanager
async def recording(settings: Settings) -> AsyncIterator[None]:
    async with open_room(settings) as room:
        work = asyncio.create_task(room.run())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.wait({work})


async def recorded(bus: NatsBus) -> bool:
    lag = await bus.lag(subjects.EVENTS, subjects.RECORDER)
    return lag.pending + lag.unacknowledged == 0


@pytest.fixture
async def filled(bus: NatsBus, settings: Settings) -> Settings:
    """A store that has everything that the stream tells."""
    settings = replace(settings, record_retention_days=36_500, audit_retention_days=36_500)
    async with recording(settings):
        await publish(bus, told())
        await eventually(lambda: recorded(bus), within=20)
    return settings


async def verified(bus: NatsBus, settings: Settings, options: Options = KEPT) -> Report:
    async with open_inspection(settings.record_store_url) as store:
        span = lambda: stream_span(bus, subjects.EVENTS)  # noqa: E731
        return await Verification(bus, store, span, options, lambda _: None).run()


def tamper(settings: Settings, *statements: str) -> None:
    with closing(sqlite3.connect(settings.data_dir / "records.db")) as store:
        for statement in statements:
            assert store.execute(statement).rowcount != 0, statement
        store.commit()


def tables(settings: Settings) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(settings.data_dir / "records.db")) as store:
        names = ("executions", "payloads", "traces", "transitions", "ticks", "audit", "deliveries")
        return {name: sorted(map(repr, store.execute(f"SELECT * FROM {name}"))) for name in names}


def shown(report: Report) -> list[tuple[str, str, str, list[str]]]:
    return [(one.kind, one.what, one.id, one.fields) for one in report.differences]


FORGED = (
    "INSERT INTO executions (execution_id, org, workflow, status, trigger_kind, caller, tags, listed_at, attempt, "
    "state_sequence, started_sequence, progress_sequence) "
    "VALUES ('forged', 'acme', 'hello', 'Success', 'http', '{\"id\":\"x\"}', '\n', {at}, 1, {sequence}, 0, 0)"
)
TICK = f"audit/{int((START + timedelta(minutes=1)).timestamp() * 1e6)}"
AT_TICK = f"scheduled_for = {int((START + timedelta(minutes=1)).timestamp() * 1e6)}"
GONE = [
    f"DELETE FROM {table} WHERE execution_id = 'e3'" for table in ("executions", "payloads", "traces", "transitions")
]

#: What is done to the store, and what has to be found of it.
DAMAGES: dict[str, tuple[list[str], tuple[str, str, str, list[str]]]] = {
    "a record is gone": (GONE, ("missing", "execution", "e3", [])),
    "its main row is gone": (GONE[:1], ("unreadable", "execution", "e3", [])),
    "a status was changed": (
        ["UPDATE executions SET status = 'Failed' WHERE execution_id = 'e1'"],
        ("changed", "execution", "e1", ["status"]),
    ),
    "a result was changed": (
        ["UPDATE payloads SET result = '{\"ok\":false}' WHERE execution_id = 'e2'"],
        ("changed", "execution", "e2", ["result"]),
    ),
    "an input is gone": (
        ["DELETE FROM payloads WHERE execution_id = 'e29'"],
        ("changed", "execution", "e29", ["input"]),
    ),
    "a trace entry is gone": (
        ["DELETE FROM traces WHERE execution_id = 'e4' AND idx = 0"],
        ("changed", "execution", "e4", ["trace"]),
    ),
    "a trace entry was invented": (
        [
            "INSERT INTO traces SELECT execution_id, org, 9, 9, attempt, kind, body FROM traces "
            "WHERE execution_id = 'e4' AND idx = 0"
        ],
        ("changed", "execution", "e4", ["trace"]),
    ),
    "a transition is gone": (
        ["DELETE FROM transitions WHERE execution_id = 'e0'"],
        ("changed", "execution", "e0", ["transitions"]),
    ),
    "a row is ahead of the stream": (
        ["UPDATE executions SET state_sequence = 999999 WHERE execution_id = 'e5'"],
        ("changed", "execution", "e5", ["state_sequence"]),
    ),
    "a row cannot be read": (
        ["UPDATE executions SET failure = 'spoiled' WHERE execution_id = 'e11'"],
        ("unreadable", "execution", "e11", []),
    ),
    "a trace entry cannot be read": (
        ["UPDATE traces SET body = 'spoiled' WHERE execution_id = 'e12'"],
        ("unreadable", "execution", "e12", []),
    ),
    "a record was invented": (
        [FORGED.replace("{at}", "1").replace("{sequence}", "7")],
        ("extra", "execution", "forged", []),
    ),
    "a trace was left behind": (
        [
            "INSERT INTO traces SELECT 'nobody', org, sequence, idx, attempt, kind, body FROM traces WHERE "
            "execution_id = 'e4' AND idx = 0"
        ],
        ("extra", "execution", "nobody", []),
    ),
    "a tick is gone": ([f"DELETE FROM ticks WHERE {AT_TICK}"], ("missing", "tick", TICK, [])),
    "a tick was changed": (
        [f"UPDATE ticks SET outcome = 'missed' WHERE {AT_TICK}"],
        ("changed", "tick", TICK, []),
    ),
    "a tick is ahead of the stream": (
        [f"UPDATE ticks SET sequence = 999999 WHERE {AT_TICK}"],
        ("changed", "tick", TICK, []),
    ),
    "an audit entry is gone": (["DELETE FROM audit WHERE id = 'a1'"], ("missing", "audit", "a1", [])),
    "an audit entry was changed": (
        ["UPDATE audit SET after = '\"us\"' WHERE id = 'a2'"],
        ("changed", "audit", "a2", []),
    ),
    "an audit entry was invented": (
        [
            "INSERT INTO audit SELECT 'forged', org, at, actor, caller, action, kind, key, outcome, before, after, "
            "reason, address, agent, request_id, sequence FROM audit WHERE id = 'a0'"
        ],
        ("extra", "audit", "forged", []),
    ),
    "a delivery is gone": (["DELETE FROM deliveries WHERE id = 'd0'"], ("missing", "delivery", "d0", [])),
}


async def test_a_whole_store_is_found_to_be_so(bus: NatsBus, filled: Settings) -> None:
    report = await verified(bus, filled)

    assert report.differences == []
    assert (report.executions, report.others, report.before_events, report.aged_out) == (30, 11, 0, 0)


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_and_repaired(bus: NatsBus, filled: Settings, damage: str) -> None:
    statements, difference = DAMAGES[damage]
    whole = tables(filled)
    tamper(filled, *statements)

    assert shown(await verified(bus, filled)) == [difference]
    repaired = await verified(bus, filled, replace(KEPT, repair=True))
    is_extra = difference[0] == "extra"
    assert shown(repaired) == [difference]
    assert [one.repaired for one in repaired.differences] == [not is_extra]
    if is_extra:
        assert shown(await verified(bus, filled)) == [difference], "nothing may be deleted unasked"
        await verified(bus, filled, replace(KEPT, repair=True, remove_extra=True))

    assert shown(await verified(bus, filled)) == []
    assert tables(filled) == whole


#: These meet in no row.
APART = (
    "its main row is gone",
    "a status was changed",
    "a result was changed",
    "an input is gone",
    "a trace entry is gone",
    "a transition is gone",
    "a row is ahead of the stream",
    "a row cannot be read",
    "a tick was changed",
    "an audit entry is gone",
    "an audit entry was changed",
    "a delivery is gone",
)


@pytest.mark.parametrize("open_at_most", [0, 5, 1000])
async def test_many_damages_are_found_however_little_is_kept_in_memory(
    bus: NatsBus, filled: Settings, open_at_most: int
) -> None:
    for name in APART:
        tamper(filled, *DAMAGES[name][0])

    report = await verified(bus, filled, replace(KEPT, open_at_most=open_at_most))

    assert sorted(shown(report)) == sorted(DAMAGES[name][1] for name in APART)
    assert report.executions == 30


async def test_what_comes_after_the_end_counts_although_the_end_was_compared_long_ago(
    bus: NatsBus, settings: Settings
) -> None:
    settings = replace(settings, record_retention_days=36_500)
    stories = [Story(f"x{n}") for n in range(1100)]
    events: list[AnyEvent] = [event for story in stories for event in (story.queued(), story.started())]
    events += [story.succeeded() for story in stories]
    events += [story.traced(story.log("late")) for story in stories[:2]]
    async with recording(settings):
        await publish(bus, events)
        await eventually(lambda: recorded(bus), within=60)
    assert shown(await verified(bus, settings)) == []

    tamper(settings, "DELETE FROM traces WHERE execution_id = 'x0' AND sequence > 3300")

    report = await verified(bus, settings)
    assert shown(report) == [("changed", "execution", "x0", ["trace"])]
    assert report.executions == 1100


async def test_a_recorder_that_lags_is_waited_for(bus: NatsBus, settings: Settings) -> None:
    settings = replace(settings, record_retention_days=36_500, audit_retention_days=36_500)
    await migrate(settings.record_store_url)
    await publish(bus, told())
    verifying = asyncio.create_task(verified(bus, settings))
    await asyncio.sleep(0)
    async with recording(settings):
        report = await asyncio.wait_for(verifying, 30)

    assert report.differences == []
    assert report.executions == 30


async def test_what_goes_on_meanwhile_is_no_difference(bus: NatsBus, filled: Settings) -> None:
    stop = asyncio.Event()

    async def work() -> None:
        number = 0
        while not stop.is_set():
            story = Story(f"w{number}")
            await publish(bus, [story.queued(), story.started(), story.traced(story.log("x")), story.succeeded()])
            number += 1

    async with recording(filled):
        working = asyncio.create_task(work())
        for _ in range(5):
            report = await verified(bus, filled, replace(KEPT, open_at_most=5))
            assert shown(report) == []
        stop.set()
        await working
    assert report.executions > 30


async def test_a_repair_loses_nothing_that_comes_meanwhile(bus: NatsBus, filled: Settings) -> None:
    story = Story("busy")
    async with recording(filled):
        await publish(bus, [story.queued(), story.started()])
        await eventually(lambda: recorded(bus), within=20)
        stop = asyncio.Event()

        async def talk() -> None:
            while not stop.is_set():
                await publish(bus, [story.traced(story.log("more"))])

        talking = asyncio.create_task(talk())
        damage: Callable[[], None] = lambda: tamper(  # noqa: E731
            filled, "UPDATE executions SET workflow = 'forged' WHERE execution_id = 'busy'"
        )
        for _ in range(3):
            damage()
            report = await verified(bus, filled, replace(KEPT, repair=True))
            assert [one.id for one in report.differences] in (["busy"], [])
        stop.set()
        await talking
        await verified(bus, filled, replace(KEPT, repair=True))
        assert shown(await verified(bus, filled)) == []


async def test_what_is_older_than_the_events_is_not_judged(bus: NatsBus, filled: Settings) -> None:
    # As if the first 40 had aged out: of every execution the first event, of some the second one too.
    await bus.api("STREAM.PURGE.EVENTS", {"seq": 41})

    report = await verified(bus, filled)

    assert report.differences == []
    assert report.executions == 0
    assert report.before_events == 30


async def test_what_was_deleted_for_its_age_is_not_missing(bus: NatsBus, filled: Settings) -> None:
    tamper(filled, *GONE, f"DELETE FROM ticks WHERE {AT_TICK}")

    report = await verified(bus, filled, Options(keep_from=datetime.now(UTC) + timedelta(days=3650)))

    assert report.differences == []
    assert report.aged_out == 2


async def test_without_a_recorder_it_says_so(bus: NatsBus, settings: Settings) -> None:
    await migrate(settings.record_store_url)
    await publish(bus, told())
    with pytest.raises(BusUnavailable, match="is one running"):
        await verified(bus, settings, replace(KEPT, patience=0.3))
