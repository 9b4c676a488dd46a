"""`wait_for_event` and `wait_for_approval` as authors test them."""

from datetime import UTC, datetime
from typing import Any

import pytest

from runlane import ApprovalDecision, Context, TimeoutError, ValidationError
from runlane.context import Identity, Journal
from runlane.contracts.requests import Caller, Trigger
from runlane.testing import TIMES_OUT, FakeContext


async def test_events_come_in_their_order() -> None:
    context = FakeContext(events={"paid": [{"n": 1}, {"n": 2}], "shipped": [None]})
    assert await context.wait_for_event("paid") == {"n": 1}
    assert await context.wait_for_event("shipped") is None
    assert await context.wait_for_event("paid") == {"n": 2}


async def test_an_event_that_the_test_has_not_given_says_so() -> None:
    with pytest.raises(LookupError, match="the event 'paid'"):
        await FakeContext(events={"payed": [1]}).wait_for_event("paid")
    with pytest.raises(LookupError, match="approvals="):
        await FakeContext().wait_for_approval("Delete it?")


async def test_a_wait_may_time_out_and_authors_can_catch_it() -> None:
    context = FakeContext(events={"paid": [TIMES_OUT, {"n": 1}]}, approvals=[TIMES_OUT])
    with pytest.raises(TimeoutError, match="No event 'paid' came within 60 seconds"):
        await context.wait_for_event("paid", timeout=60)
    assert await context.wait_for_event("paid") == {"n": 1}
    with pytest.raises(TimeoutError, match="Nobody decided"):
        await context.wait_for_approval("Delete it?")


async def test_approvals_are_decisions() -> None:
    own = ApprovalDecision(approved=False, by=Caller("bob"), at=datetime(2026, 1, 1, tzinfo=UTC), reason="no")
    context = FakeContext(approvals=[True, own])
    assert (await context.wait_for_approval("One?")).approved
    assert await context.wait_for_approval("Two?") == own


async def test_values_under_secret_names_are_masked_once_an_event_brought_them() -> None:
    context = FakeContext(events={"paid": [{"password": "hunter2hunter2"}]})
    data = await context.wait_for_event("paid")
    context.log("info", f"got {data['password']}")
    assert (data["password"], context.logs) == ("hunter2hunter2", [("info", "got [REDACTED]")])


@pytest.mark.parametrize(
    ("waits", "field"),
    [
        (lambda context: context.wait_for_event("a b"), "name"),
        (lambda context: context.wait_for_event("*"), "name"),
        (lambda context: context.wait_for_event("paid", timeout=0), "timeout"),
        (lambda context: context.wait_for_event("paid", timeout=7 * 86_400), "timeout"),
        (lambda context: context.wait_for_approval(" "), "message"),
        (lambda context: context.wait_for_approval("x", count=0), "count"),
        (lambda context: context.wait_for_approval("x", approvers="ann"), "approvers"),
        (lambda context: context.wait_for_approval("x", approvers=[""]), "approvers"),
        (lambda context: context.wait_for_approval("x", timeout=float("nan")), "timeout"),
    ],
)
async def test_a_wait_that_cannot_work_is_refused(waits: Any, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        await waits(FakeContext(events={"paid": [1]}, approvals=[True]))
    assert caught.value.details == {"field": field}


async def test_what_was_taken_by_an_earlier_run_is_taken_still() -> None:
    memory = FakeContext()
    identity = Identity(
        execution_id="e1",
        workflow="w",
        org_id="acme",
        org_name="Acme",
        tenant_id=None,
        caller=Caller("x"),
        trigger=Trigger(),
    )
    journal = Journal(
        steps={"event:paid": b'{"event":"a","data":1}'},
        signals={"paid": [("a", b"1"), ("b", b"2")]},
    )
    context = Context(identity, memory._memory, journal)
    assert [await context.wait_for_event("paid") for _ in range(2)] == [1, 2]
    assert journal.untaken("paid") is None


async def test_what_did_not_come_in_time_stays_so_even_if_it_came_later() -> None:
    memory = FakeContext()
    journal = Journal(steps={"event:paid": b"{}"}, signals={"paid": [("a", b"1")]})
    identity = Identity(
        execution_id="e1",
        workflow="w",
        org_id="acme",
        org_name="Acme",
        tenant_id=None,
        caller=Caller("x"),
        trigger=Trigger(),
    )
    context = Context(identity, memory._memory, journal)
    with pytest.raises(TimeoutError):
        await context.wait_for_event("paid")
    assert await context.wait_for_event("paid") == 1
