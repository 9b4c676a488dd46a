"""What decisions of people and events from outside leave in a record."""

import itertools
from datetime import timedelta

import msgspec

from runlane.contracts.events import AnyEvent
from runlane.contracts.records import Record, fold
from runlane.contracts.requests import Caller
from runlane.contracts.trace import SignalEntry
from tests.support.memory_bus import START, Story


def told(*events: AnyEvent) -> Record:
    record: Record | None = None
    for sequence, event in enumerate(events, 1):
        record = fold(record, sequence, event)
    assert record is not None
    return record


def test_each_decision_says_who_when_and_why() -> None:
    story = Story()
    ann, bob = story.decision("ann"), story.decision("bob", reason=None)
    events = [story.queued(), story.pending_approval(count=2), story.pending_approval(ann, count=2)]
    assert told(*events).status == "PendingApproval"
    record = told(*events, approved := story.approved(ann, bob))
    assert (record.status, record.finished) == ("Queued", False)
    assert [(step.status, step.reason, step.by) for step in record.transitions] == [
        ("PendingApproval", "Delete it?", None),
        ("PendingApproval", "1 of 2 approvals: fine", Caller("ann", "ann@acme.test")),
        ("Approved", None, Caller("bob", "bob@acme.test")),
    ]
    assert (record.transitions[0].until, record.transitions[2].at) == (START + timedelta(days=3), approved.time)
    assert told(*events, approved, story.started()).status == "Running"


def test_an_approved_one_for_later_is_scheduled() -> None:
    story = Story()
    later = START + timedelta(hours=1)
    begun = [story.queued(run_at=later), story.pending_approval(run_at=later)]
    assert told(*begun).status == "PendingApproval"
    assert told(*begun, story.approved(story.decision(), run_at=later)).status == "Scheduled"


def test_a_rejected_one_is_cancelled_by_whoever_refused_it() -> None:
    story = Story()
    record = told(story.queued(), story.pending_approval(), story.rejected(story.decision("bob", False, "no")))
    assert (record.status, record.cancelled_by, record.duration_ms) == ("Cancelled", Caller("bob", "bob@acme.test"), 0)
    assert record.failure is not None
    assert (record.failure.error, record.failure.message) == ("ApprovalRejected", "no")
    assert record.transitions[-1].status == "Rejected"


def test_an_expired_one_is_cancelled_by_nobody() -> None:
    story = Story()
    record = told(story.queued(), story.pending_approval(), story.approval_expired())
    assert (record.status, record.cancelled_by) == ("Cancelled", None)
    assert record.failure is not None
    assert record.failure.error == "ApprovalExpired"
    assert record.transitions[-1].status == "ApprovalExpired"


def test_a_refusal_while_it_runs_ends_nothing() -> None:
    story = Story()
    events = [story.queued(), story.started(), story.pending_approval(step="approval")]
    record = told(*events, story.declined(story.decision("bob", False), step="approval"))
    assert (record.status, record.finished, record.failure) == ("Queued", False, None)


def test_an_event_is_kept_and_changes_no_status() -> None:
    story = Story()
    begun = [story.queued(), story.started()]
    record = told(*begun, story.signalled())
    assert record.status == "Running"
    [line] = record.trace
    assert isinstance(line.entry, SignalEntry)
    assert (line.entry.name, bytes(line.entry.data)) == ("paid", b'{"n":1}')


def test_any_order_makes_the_same_record() -> None:
    story = Story()
    events: list[AnyEvent] = [
        story.queued(),
        story.pending_approval(count=2),
        story.pending_approval(story.decision("ann"), count=2),
        story.approved(story.decision("ann"), story.decision("bob")),
        story.started(),
        story.signalled(),
    ]
    numbered = list(enumerate(events, 1))
    expected = msgspec.json.encode(told(*events))
    for order in itertools.permutations(numbered):
        record: Record | None = None
        for sequence, event in order:
            record = fold(record, sequence, event)
        assert msgspec.json.encode(record) == expected
