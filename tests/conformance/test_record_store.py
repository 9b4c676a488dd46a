"""What every record store does, run over all of them: records, pages, ticks, retention."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from runlane.adapters.memory_store import MemoryRecordStore
from runlane.adapters.sql.store import open_record_store
from runlane.contracts.events import AnyEvent, decode_event
from runlane.contracts.records import ExecutionQuery, Record, TickQuery, fold
from runlane.contracts.requests import Caller, Trigger
from runlane.errors import ValidationError
from runlane.ports import RecordStore, Stored
from tests.support.memory_bus import START, Story, stored, ticked


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RecordStore]:
    if request.param == "memory":
        yield MemoryRecordStore()
        return
    url = f"sqlite+aiosqlite:///{tmp_path / 'records.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with open_record_store(url, migrate=True) as opened:
        yield opened


def whole_story() -> list[AnyEvent]:
    """Every kind of event and of trace entry's fate that one execution can have."""
    story = Story()
    return [
        story.queued(
            caller=Caller("key1", "ann@acme.test", "Ann"),
            trigger=Trigger("retry", "e0"),
            tags=["audit", 'odd "tag"\n'],
            sealed_input=b"\x00\xff",
            digest="abc",
            run_at=START + timedelta(minutes=1),
        ),
        story.started(),
        story.traced(story.log("über\x00"), story.progress(12.5, "one")),
        story.suspended("sleep", trace=[story.log("before sleep")]),
        story.started("executor-2", reason="woke", resumed=True),
        story.retrying(trace=[story.log("before retry")]),
        story.started("executor-3"),
        story.succeeded(b'{"big":12345678901234567890,"text":"\xc3\xbc"}', trace=[story.log("end")]),
    ]


def folded(events: list[AnyEvent]) -> Record:
    record: Record | None = None
    for message in stored(events):
        record = fold(record, message.sequence, decode_event(message.payload))
    assert record is not None
    return record


async def ids(store: RecordStore, query: ExecutionQuery) -> list[str]:
    return [item.execution_id for item in (await store.find(query)).items]


async def store_stories(store: RecordStore, *stories: Story, sequence: int = 1, **queued: object) -> None:
    await store.apply(stored([story.queued(**queued) for story in stories], sequence))


async def test_a_record_reads_back_as_its_events_fold(store: RecordStore) -> None:
    events = whole_story()
    await store.apply(stored(events))
    found = await store.get("acme", "e1")
    assert found is not None
    assert found == folded(events)
    assert found.input == Raw(b'{"n":1}')
    assert found.queued_at is not None
    assert found.queued_at.utcoffset() == timedelta(0)


async def test_events_one_by_one_make_the_same_record_as_all_at_once(store: RecordStore) -> None:
    events = whole_story()
    for message in stored(events):
        await store.apply([message])
    assert await store.get("acme", "e1") == folded(events)


async def test_events_may_come_backwards_and_again(store: RecordStore) -> None:
    events = whole_story()
    for message in reversed(stored(events)):
        await store.apply([message])
    await store.apply(stored(events))
    await store.apply([])
    assert await store.get("acme", "e1") == folded(events)


async def test_a_failure_keeps_what_only_operators_may_see(store: RecordStore) -> None:
    story = Story()
    await store.apply(stored([story.queued(), story.started(), story.failed()]))
    found = await store.get("acme", "e1")
    assert found is not None
    assert found.failure is not None
    assert (found.status, found.failure.internal) == ("Failed", {"type": "KeyError", "message": "x"})


async def test_a_record_belongs_to_its_organisation(store: RecordStore) -> None:
    mine, other = Story(org="acme"), Story(org="globex")
    await store.apply(stored([mine.queued(), mine.started(), mine.traced(mine.log("mine")), other.queued()]))
    theirs = await store.get("globex", "e1")
    assert theirs is not None
    assert (theirs.status, theirs.trace) == ("Queued", [])
    assert await store.get("initech", "e1") is None
    assert await store.get("acme", "e2") is None


async def test_what_was_read_can_be_changed_without_changing_the_store(store: RecordStore) -> None:
    story = Story()
    await store.apply(stored([story.queued(), story.started(), story.traced(story.log("one"))]))
    found = await store.get("acme", "e1")
    assert found is not None
    fold(found, 9, story.traced(story.log("two")))
    again = await store.get("acme", "e1")
    assert again is not None
    assert len(again.trace) == 1


async def test_an_event_that_is_none_is_refused_and_nothing_of_its_batch_is_kept(store: RecordStore) -> None:
    good = stored([Story().queued()])[0]
    bad = Stored(good.subject, 2, b'{"type":"dev.runlane.execution.queued"}', START)
    with pytest.raises(msgspec.DecodeError):
        await store.apply([good, bad])
    assert await store.get("acme", "e1") is None


async def test_a_long_trace_comes_back_in_order(store: RecordStore) -> None:
    story = Story()
    traced = [story.traced(*(story.log(f"{n}.{m}") for m in range(50))) for n in range(40)]
    await store.apply(stored(traced))
    found = await store.get("acme", "e1")
    assert found is not None
    assert [getattr(line.entry, "message", None) for line in found.trace] == [
        f"{n}.{m}" for n in range(40) for m in range(50)
    ]


async def test_lists_are_newest_first_and_pages_meet_without_gap(store: RecordStore) -> None:
    moments = [START + timedelta(seconds=n // 3) for n in range(25)]  # three share a time
    await store_stories(store, *(Story(f"e{n:02}", at=moment) for n, moment in enumerate(moments)))
    query, seen = ExecutionQuery(orgs=["acme"], limit=7), []
    while True:
        page = await store.find(query)
        assert len(page.items) <= 7
        seen += [item.execution_id for item in page.items]
        if page.next is None:
            break
        query = msgspec.structs.replace(query, after=page.next)
    assert seen == [f"e{n:02}" for n in reversed(range(25))]


async def test_a_page_after_a_cursor_stays_the_same_when_newer_ones_come(store: RecordStore) -> None:
    await store_stories(store, *(Story(f"e{n}", at=START + timedelta(minutes=n)) for n in range(6)))
    first = await store.find(ExecutionQuery(orgs=["acme"], limit=3))
    following = ExecutionQuery(orgs=["acme"], limit=3, after=first.next)
    before = await ids(store, following)
    await store_stories(store, Story("e9", at=START + timedelta(days=1)), sequence=50)
    assert before == await ids(store, following) == ["e2", "e1", "e0"]


async def test_a_full_last_page_has_no_next(store: RecordStore) -> None:
    await store_stories(store, Story("e1"), Story("e2"))
    assert (await store.find(ExecutionQuery(orgs=["acme"], limit=2))).next is None
    assert (await store.find(ExecutionQuery(orgs=["nobody"]))).items == []


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "bm90IGpzb24", "WzFd", "WyJhIiwiYiJd", "WzEsMl0", "é", "W10"])
async def test_a_cursor_that_is_none_is_the_callers_mistake(store: RecordStore, cursor: str) -> None:
    with pytest.raises(ValidationError) as problem:
        await store.find(ExecutionQuery(orgs=["acme"], after=cursor))
    assert problem.value.field == "after"
    with pytest.raises(ValidationError):
        await store.ticks(TickQuery(orgs=["acme"], after=cursor))


async def test_every_filter_leaves_out_what_does_not_match(store: RecordStore) -> None:
    wanted = Story("e1", workflow="audit", at=START)
    await store.apply(
        stored(
            [
                wanted.queued(tags=["Night", "x"], trigger=Trigger("schedule")),
                wanted.started(),
                Story("e2", at=START + timedelta(hours=1)).queued(tags=["night"]),
                Story("e3", org="globex", at=START + timedelta(hours=2)).queued(tags=["Nigh", 'Night"']),
            ]
        )
    )
    everything = ["e3", "e2", "e1"]
    for query, expected in [
        (ExecutionQuery(orgs=None), everything),
        (ExecutionQuery(orgs=["acme", "globex"]), everything),
        (ExecutionQuery(orgs=["acme"]), ["e2", "e1"]),
        (ExecutionQuery(orgs=[]), []),
        (ExecutionQuery(orgs=None, workflow="audit"), ["e1"]),
        (ExecutionQuery(orgs=None, statuses=["Running", "Failed"]), ["e1"]),
        (ExecutionQuery(orgs=None, trigger="schedule"), ["e1"]),
        (ExecutionQuery(orgs=None, tag="Night"), ["e1"]),
        (ExecutionQuery(orgs=None, tag="%"), []),
        (ExecutionQuery(orgs=None, queued_from=START + timedelta(hours=1)), ["e3", "e2"]),
        (ExecutionQuery(orgs=None, queued_before=START + timedelta(hours=1)), ["e1"]),
        (ExecutionQuery(orgs=["acme"], workflow="audit", statuses=["Queued"]), []),
        (ExecutionQuery(orgs=["acme", "globex"], statuses=["Queued"], queued_from=START + timedelta(hours=2)), ["e3"]),
        (ExecutionQuery(orgs=["acme", "globex"], tag="night"), ["e2"]),
        (ExecutionQuery(orgs=["acme", "acme"]), ["e2", "e1"]),
        (ExecutionQuery(orgs=["acme", "nobody"], statuses=["Queued", "Running", "Failed"]), ["e2", "e1"]),
        (ExecutionQuery(orgs=["nobody", "o\"d'd"], statuses=["Queued", "Running"]), []),
    ]:
        assert await ids(store, query) == expected, query


async def test_executions_are_found_by_the_code_of_their_error(store: RecordStore) -> None:
    failed, retrying, well = Story("e1"), Story("e2", at=START + timedelta(hours=1)), Story("e3")
    await store.apply(
        stored(
            [
                *(failed.queued(), failed.started(), failed.failed()),
                *(retrying.queued(), retrying.started(), retrying.retrying()),
                *(well.queued(), well.started(), well.succeeded()),
            ]
        )
    )
    for query, expected in [
        (ExecutionQuery(orgs=["acme"], error="InternalServerError"), ["e1"]),
        (ExecutionQuery(orgs=["acme", "globex"], error="IntegrationError"), ["e2"]),
        (ExecutionQuery(orgs=["acme"], error="IntegrationError", statuses=["Failed"]), []),
        (ExecutionQuery(orgs=["globex"], error="IntegrationError"), []),
    ]:
        assert await ids(store, query) == expected, query
    await store.apply(stored([retrying.started(), retrying.succeeded()], first=100))
    assert await ids(store, ExecutionQuery(orgs=["acme"], error="IntegrationError")) == []


@pytest.mark.parametrize("limit", [1, 3, 7, 200])
async def test_a_list_over_many_organisations_and_statuses_has_each_once_and_newest_first(
    store: RecordStore, limit: int
) -> None:
    """A busy one, quiet ones, several at the same moment: however the pages are cut, together they are everything."""
    events = []
    for number in range(60):
        org = "busy" if number % 2 else f"quiet{number % 11}"
        story = Story(f"e{number:02}", org=org, at=START + timedelta(minutes=number // 3))
        events += [story.queued()] if number % 5 else [story.queued(), story.started()]
    await store.apply(stored(events))
    orgs, statuses = ["busy", *(f"quiet{n}" for n in range(11))], ["Queued", "Running"]
    expected = await ids(store, ExecutionQuery(orgs=None, limit=200))
    assert len(expected) == 60
    assert await walk(store, ExecutionQuery(orgs=orgs, limit=limit)) == expected
    assert await walk(store, ExecutionQuery(orgs=orgs, statuses=statuses, limit=limit)) == expected
    assert await walk(store, ExecutionQuery(orgs=["busy"], statuses=statuses, limit=limit)) == [
        id_ for id_ in expected if int(id_[1:]) % 2
    ]


async def walk(store: RecordStore, query: ExecutionQuery) -> list[str]:
    """The ids on all pages."""
    found: list[str] = []
    while True:
        page = await store.find(query)
        found += [item.execution_id for item in page.items]
        if page.next is None:
            return found
        query = msgspec.structs.replace(query, after=page.next)


async def test_a_list_shows_status_and_progress_as_they_are_now(store: RecordStore) -> None:
    story = Story()
    await store.apply(stored([story.queued(), story.started(), story.traced(story.progress(30, "third"))]))
    (item,) = (await store.find(ExecutionQuery(orgs=["acme"]))).items
    assert (item.status, item.progress, item.progress_message, item.executor) == ("Running", 30, "third", "executor-1")
    await store.apply(stored([story.succeeded()], 4))
    (item,) = (await store.find(ExecutionQuery(orgs=["acme"], statuses=["Success"]))).items
    assert (item.progress, item.duration_ms) == (100, 7)


async def test_ticks_are_listed_newest_first_by_organisation_and_workflow(store: RecordStore) -> None:
    await store.apply(
        stored(
            [ticked(1), ticked(2, outcome="missed", reason="down"), ticked(2, workflow="backup"), ticked(3, "globex")]
        )
    )
    first = await store.ticks(TickQuery(orgs=["acme"], limit=2))
    assert [(tick.workflow, tick.outcome) for tick in first.items] == [("backup", "fired"), ("audit", "missed")]
    last = await store.ticks(TickQuery(orgs=["acme"], limit=2, after=first.next))
    assert [tick.scheduled_for for tick in last.items] == [START + timedelta(minutes=1)]
    assert last.next is None
    assert [tick.org for tick in (await store.ticks(TickQuery(orgs=None, limit=1))).items] == ["globex"]
    assert len((await store.ticks(TickQuery(orgs=None, workflow="audit"))).items) == 3


async def test_who_decided_and_what_it_was_sent_is_kept(store: RecordStore) -> None:
    story = Story()
    ann, bob = story.decision("ann"), story.decision("bob", reason=None)
    events: list[AnyEvent] = [story.queued(), story.pending_approval(ann, count=2), story.approved(ann, bob)]
    await store.apply(stored([*events, story.signalled()]))
    record = await store.get("acme", "e1")
    assert record is not None
    assert record.status == "Queued"
    assert [step.by for step in record.transitions] == [ann.by, bob.by]
    assert [type(line.entry).__name__ for line in record.trace] == ["SignalEntry"]


async def test_of_two_words_on_one_tick_the_later_stands(store: RecordStore) -> None:
    early, late = stored([ticked(1, outcome="skipped"), ticked(1, outcome="caught_up", execution_id="e1")])
    await store.apply([late])
    await store.apply([early])
    (tick,) = (await store.ticks(TickQuery(orgs=["acme"]))).items
    assert (tick.outcome, tick.execution_id) == ("caught_up", "e1")


async def test_pruning_takes_what_ended_long_ago_a_little_at_a_time(store: RecordStore) -> None:
    old, running, fresh = Story("e1"), Story("e2"), Story("e3", at=START + timedelta(days=9))
    events: list[AnyEvent] = [old.queued(), old.started(), old.traced(old.log("x")), old.retrying(), old.failed()]
    events += [running.queued(), running.started(), fresh.queued(), fresh.cancelled(), ticked(1), ticked(60 * 24 * 9)]
    await store.apply(stored(events))
    before = START + timedelta(days=1)
    assert await store.prune(before, 1) == 2
    assert await store.prune(before, 1) == 0
    assert await ids(store, ExecutionQuery(orgs=None)) == ["e3", "e2"]
    assert await store.get("acme", "e1") is None
    assert len((await store.ticks(TickQuery(orgs=None))).items) == 1
    # Nothing of it is left behind that would come back with the id.
    await store_stories(store, Story("e1"), sequence=90)
    again = await store.get("acme", "e1")
    assert again is not None
    assert (again.trace, again.transitions) == ([], [])


async def test_a_store_that_answers_pings_quietly(store: RecordStore) -> None:
    await store.ping()
