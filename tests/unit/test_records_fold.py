"""Folding events into a record: what each event says, and that neither order nor repetition changes it."""

import itertools
from collections.abc import Iterable
from datetime import timedelta

import msgspec
from msgspec import Raw

from runlane.contracts.events import AnyEvent
from runlane.contracts.records import Record, fold, tick_of
from runlane.contracts.requests import Caller, Trigger
from tests.support.memory_bus import START, Story, ticked


def folded(events: Iterable[tuple[int, AnyEvent]]) -> Record:
    record: Record | None = None
    for sequence, event in events:
        record = fold(record, sequence, event)
    assert record is not None
    return record


def told(*events: AnyEvent) -> Record:
    return folded(enumerate(events, 1))


def test_a_queued_execution_knows_who_asked_for_what() -> None:
    record = told(Story().queued(caller=Caller("key9"), trigger=Trigger("form", "f1"), tags=["audit"], digest="d"))
    assert (record.status, record.caller.id, record.trigger, record.tags) == (
        "Queued",
        "key9",
        Trigger("form", "f1"),
        ["audit"],
    )
    assert (record.queued_at, record.input, record.digest) == (START + timedelta(seconds=1), Raw(b'{"n":1}'), "d")
    assert not record.finished


def test_an_execution_for_later_is_scheduled_until_it_starts() -> None:
    story = Story()
    queued, started = story.queued(run_at=START + timedelta(hours=1)), story.started()
    assert told(queued).status == "Scheduled"
    assert told(queued, started).status == "Running"


def test_success_brings_result_duration_and_full_progress() -> None:
    story = Story()
    record = told(story.queued(), story.started(), story.succeeded(trace=[story.progress(40, "nearly")]))
    assert (record.status, record.result, record.duration_ms) == ("Success", Raw(b'{"ok":true}'), 7)
    assert (record.progress, record.progress_message) == (100.0, "nearly")
    assert record.finished


def test_a_retry_leaves_its_reason_in_the_timeline_and_no_failure_once_it_runs_again() -> None:
    story = Story()
    begun, retrying = [story.queued(), story.started()], story.retrying("no answer")
    waiting = told(*begun, retrying)
    assert waiting.failure is not None
    assert (waiting.status, waiting.failure.message, waiting.resumes_at) == (
        "Retrying", "no answer", retrying.time + timedelta(seconds=30)
    )  # fmt: skip
    record = told(*begun, retrying, story.started("executor-2"))
    assert (record.status, record.failure, record.resumes_at, record.attempt) == ("Running", None, None, 2)
    assert (record.started_at, record.executor) == (story.first_started_at, "executor-2")
    assert [(step.status, step.reason) for step in record.transitions] == [("Retrying", "no answer"), ("Running", None)]


def test_waiting_for_approval_is_not_just_suspended() -> None:
    story = Story()
    begun = [story.queued(), story.started()]
    assert told(*begun, story.suspended("sleep")).status == "Suspended"
    assert told(*begun, story.pending_approval(step="approval")).status == "PendingApproval"


def test_a_cancelled_execution_lasted_from_its_start_to_its_cancel() -> None:
    story = Story()
    queued, started, cancelled = story.queued(), story.started(), story.cancelled()
    assert told(queued, cancelled).duration_ms == 0
    record = told(queued, started, cancelled)
    assert (record.status, record.duration_ms, record.cancelled_by) == (
        "Cancelled", 1000, Caller("key2", "ann@acme.test")
    )  # fmt: skip
    assert record.failure is not None
    assert (record.failure.error, record.failure.message) == ("Cancelled", "enough")


def test_the_latest_progress_stands_even_if_an_earlier_one_comes_later() -> None:
    story = Story()
    early, late = story.traced(story.progress(10, "a")), story.traced(story.progress(20), story.progress(30, "c"))
    record = folded([(2, late), (1, early)])
    assert (record.progress, record.progress_message) == (30, "c")
    assert [(line.sequence, line.index) for line in record.trace] == [(1, 0), (2, 0), (2, 1)]


def test_any_order_and_repetition_makes_the_same_record() -> None:
    story = Story()
    events: list[AnyEvent] = [
        story.queued(tags=["t"]),
        story.started(),
        story.traced(story.log("one"), story.progress(50, "half")),
        story.retrying(trace=[story.log("two")]),
        story.started("executor-2", reason="woke"),
        story.succeeded(trace=[story.log("three")]),
    ]
    numbered = list(enumerate(events, 1))
    expected = msgspec.json.encode(folded(numbered))
    for order in itertools.permutations(numbered):
        assert msgspec.json.encode(folded(order)) == expected
    assert msgspec.json.encode(folded(numbered + numbered[::-1])) == expected


def test_any_order_makes_the_same_record_of_a_cancelled_one() -> None:
    story = Story()
    events = [story.queued(), story.started(), story.suspended(), story.started("executor-2"), story.cancelled()]
    numbered = list(enumerate(events, 1))
    expected = msgspec.json.encode(folded(numbered))
    for order in itertools.permutations(numbered):
        assert msgspec.json.encode(folded(order)) == expected


def test_a_very_long_trace_is_looked_through_only_once_per_event() -> None:
    """Counted, not timed: what folding compares must not grow with what is there already."""
    story, looked = Story(), 0

    class Counting(int):
        def __lt__(self, other: int) -> bool:
            nonlocal looked
            looked += 1
            return int(self) < other

        def __eq__(self, other: object) -> bool:
            nonlocal looked
            looked += 1
            return int(self) == other

        __hash__ = int.__hash__

    traced = story.traced(story.log("line"))
    record = folded((Counting(sequence), traced) for sequence in range(1, 2001))
    assert len(record.trace) == 2000
    assert looked < 4 * 2000


def test_a_record_without_its_beginning_is_listed_by_the_first_time_known() -> None:
    story = Story()
    queued, started = story.queued(), story.started()
    assert told(queued, started).listed_at == queued.time
    assert told(started).listed_at == started.time


def test_a_tick_is_no_execution() -> None:
    event = ticked(3, outcome="missed", reason="engine was down")
    assert fold(None, 1, event) is None
    tick = tick_of(event)
    assert (tick.outcome, tick.reason, tick.scheduled_for) == (
        "missed",
        "engine was down",
        START + timedelta(minutes=3),
    )
