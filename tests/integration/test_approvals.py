"""Approvals over a real nats-server: a gateway and an executor in this process."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.contracts.events import Approved, PendingApproval, decode_event
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from tests.support.eventually import eventually
from tests.support.executions import notes
from tests.support.people import WORKFLOWS, Dying, House, open_house

ALWAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


@pytest.fixture
def own(settings: Settings) -> Settings:
    key = generate_master_key()
    return msgspec.structs.replace(settings, http_port=0, master_key=key, workflows=WORKFLOWS, stop_grace=1.0)


@pytest.fixture
async def house(own: Settings, bus: NatsBus) -> AsyncIterator[House]:
    async with open_house(own, bus) as opened, opened.executor():
        await eventually(lambda: opened.gateway.parts.directory.workflow("delete_organization"))
        yield opened


async def states(house: House, execution_id: str) -> list[str]:
    line = subjects.any_state("acme", execution_id)
    return [stored.subject.rpartition(".")[2] for stored in await house.bus.read(subjects.EVENTS, line)]


async def seconds_pass(seconds: float) -> None:
    """For what is about the passing of time itself."""
    until = time.monotonic() + seconds
    await eventually(lambda: time.monotonic() >= until, within=seconds + 20, every=0.1)


# --- before it starts -------------------------------------------------------------------------------------------------


async def test_it_waits_for_its_approval_and_then_runs_once(house: House, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    answer = await house.call("asker", "POST", "/workflows/delete_organization", {"name": "x", "journal": str(journal)})
    assert (answer.status_code, answer.json()["status"]) == (202, "PendingApproval")
    execution_id = answer.json()["executionId"]
    shown = await house.in_status(execution_id, "PendingApproval")
    approval = shown["approval"]
    assert (approval["count"], approval["rule"], approval["decisions"]) == (1, "as declared", [])
    body = {"reason": "agreed in ticket 7", "digest": approval["digest"]}
    decided = await house.call("ann", "POST", f"/executions/{execution_id}/approve", body)
    assert (decided.status_code, decided.json()["status"]) == (200, "Queued")
    shown = await house.in_status(execution_id, "Success")
    assert shown["result"] == "deleted x", "an approved execution is not a resumed one"
    assert notes(journal) == ["deleted x"]
    [asked, approved] = shown["transitions"]
    assert (asked["status"], approved["status"], approved["reason"]) == (
        "PendingApproval",
        "Approved",
        "agreed in ticket 7",
    )
    assert approved["by"] == {"id": "ann", "email": "ann@msp.com", "name": "ann"}
    assert await states(house, execution_id) == ["pending_approval", "approved", "started", "succeeded"]


async def test_a_rejection_ends_it_and_says_who_and_why(house: House) -> None:
    execution_id = await house.submit("delete_organization", name="x")
    answer = await house.call("bob", "POST", f"/executions/{execution_id}/reject", {"reason": "not this one"})
    assert (answer.status_code, answer.json()["status"]) == (200, "Cancelled")
    shown = await house.in_status(execution_id, "Cancelled")
    assert (shown["error"], shown["message"], shown["cancelledBy"]["id"]) == ("ApprovalRejected", "not this one", "bob")
    again = await house.call("bob", "POST", f"/executions/{execution_id}/reject", {"reason": "not this one"})
    assert again.status_code == 200, "saying the same again is no error"
    late = await house.call("ann", "POST", f"/executions/{execution_id}/approve")
    assert late.status_code == 409
    assert await states(house, execution_id) == ["pending_approval", "rejected"]


async def test_fifty_approvers_at_once_make_one_decision(house: House, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    execution_id = await house.submit("delete_organization", name="x", journal=str(journal))
    people = ["ann", "bob", "cyd", "boss", "root"] * 10
    path = f"/executions/{execution_id}/approve"
    answers = await asyncio.gather(*(house.call(who, "POST", path, X_Organization_Id="acme") for who in people))
    won = {who for who, answer in zip(people, answers, strict=True) if answer.status_code == 200}
    assert len(won) == 1, "only the one who decided hears that it is so"
    assert {answer.status_code for answer in answers} == {200, 409}
    await house.in_status(execution_id, "Success")
    assert notes(journal) == ["deleted x"]
    assert (await states(house, execution_id)).count("approved") == 1


async def test_who_asked_may_not_decide_and_neither_may_who_lacks_the_permission(house: House) -> None:
    answer = await house.call("boss", "POST", "/workflows/delete_organization", {"name": "x"})
    path = f"/executions/{answer.json()['executionId']}/approve"
    assert (await house.call("boss", "POST", path)).status_code == 403
    assert (await house.call("asker", "POST", path)).status_code == 403
    assert (await house.call("mallory", "POST", path)).status_code == 404
    unknown = await house.call("mallory", "POST", "/executions/0123/approve")
    foreign = await house.call("mallory", "POST", path)
    strip = answer.json()["executionId"]
    assert foreign.json()["message"].replace(strip, "0123") == unknown.json()["message"]
    assert (await house.call("ann", "POST", path)).status_code == 200


async def test_a_decision_on_something_else_than_was_shown_is_refused(house: House) -> None:
    execution_id = await house.submit("delete_organization", name="x")
    path = f"/executions/{execution_id}/approve"
    assert (await house.call("ann", "POST", path, {"digest": "0" * 64})).status_code == 409
    assert (await house.call("ann", "POST", path, {"digset": "0"})).status_code == 400
    assert (await house.call("ann", "POST", path, {"reason": "x" * 1001})).status_code == 400
    assert (await house.show(execution_id))["status"] == "PendingApproval"


async def test_parameters_and_reasons_are_redacted(house: House) -> None:
    secret = "Winter2026!xyz"
    execution_id = await house.submit("delete_organization", name="x", password=secret)
    await house.record()
    inbox = await house.call("ann", "GET", "/approvals")
    assert secret not in inbox.text
    [entry] = inbox.json()["approvals"]
    assert (entry["executionId"], entry["workflowName"], entry["requestedBy"]["id"]) == (
        execution_id,
        "delete_organization",
        "asker",
    )
    assert entry["input"]["name"] == "x"
    assert secret not in (await house.call("ann", "GET", f"/executions/{execution_id}")).text
    stored = b"".join(s.payload for s in await house.bus.read(subjects.EVENTS, "runlane.event.>"))
    assert secret.encode() not in stored


async def test_the_inbox_shows_what_waits_in_the_callers_organisations_page_by_page(house: House) -> None:
    ids = [await house.submit("delete_organization", name=str(n)) for n in range(3)]
    await house.call("ann", "POST", f"/executions/{ids[0]}/reject")
    await house.record()
    inbox = (await house.call("ann", "GET", "/approvals?limit=1")).json()
    assert [entry["executionId"] for entry in inbox["approvals"]] == [ids[2]]
    assert inbox["next"] is not None
    whole = (await house.call("root", "GET", "/approvals")).json()
    assert {entry["executionId"] for entry in whole["approvals"]} == {ids[1], ids[2]}
    assert (await house.call("mallory", "GET", "/approvals")).json()["approvals"] == []
    assert (await house.call("ann", "GET", "/approvals?limit=0")).status_code == 400


async def test_a_pending_one_can_be_cancelled(house: House) -> None:
    execution_id = await house.submit("delete_organization", name="x")
    answer = await house.call("asker", "POST", f"/executions/{execution_id}/cancel", {"reason": "never mind"})
    assert answer.status_code == 200
    assert (await house.call("ann", "POST", f"/executions/{execution_id}/approve")).status_code == 409
    assert await states(house, execution_id) == ["pending_approval", "cancelled"]


async def test_the_same_idempotency_key_is_one_pending_execution(house: House) -> None:
    async def submit() -> tuple[int, str, str]:
        body = {"name": "x"}
        answer = await house.call("asker", "POST", "/workflows/delete_organization", body, Idempotency_Key="k1")
        return answer.status_code, answer.json()["executionId"], answer.json()["status"]

    answers = set(await asyncio.gather(*(submit() for _ in range(10))))
    assert len({execution_id for _, execution_id, _ in answers}) == 1
    assert {status for status, _, _ in answers} == {202}
    execution_id = answers.pop()[1]
    assert await states(house, execution_id) == ["pending_approval"]
    await house.call("ann", "POST", f"/executions/{execution_id}/approve")
    await house.in_status(execution_id, "Success")
    answer = await house.call("asker", "POST", "/workflows/delete_organization", {"name": "x"}, Idempotency_Key="k1")
    assert (answer.status_code, answer.json()["result"]) == (200, "deleted x")


async def test_a_delayed_start_waits_for_both(house: House) -> None:
    answer = await house.call("asker", "POST", "/workflows/delete_organization?delaySeconds=4", {"name": "x"})
    execution_id = answer.json()["executionId"]
    assert answer.json()["status"] == "PendingApproval"
    decided = await house.call("ann", "POST", f"/executions/{execution_id}/approve")
    assert decided.json()["status"] == "Scheduled"
    assert (await house.show(execution_id))["status"] == "Scheduled"
    shown = await house.in_status(execution_id, "Success")
    assert shown["startedAt"] >= shown["runAt"]


async def test_a_retry_needs_an_approval_of_its_own(house: House) -> None:
    execution_id = await house.submit("delete_organization", name="x")
    await house.call("ann", "POST", f"/executions/{execution_id}/approve")
    await house.in_status(execution_id, "Success")
    answer = await house.call("asker", "POST", f"/executions/{execution_id}/retry")
    assert (answer.status_code, answer.json()["status"]) == (202, "PendingApproval")


# --- rules ------------------------------------------------------------------------------------------------------------

RULES = "/orgs/acme/approval-rules"


async def test_a_rule_overrides_what_the_workflow_declares(house: House) -> None:
    assert (await house.call("asker", "PUT", f"{RULES}/delete_organization", {"required": False})).status_code == 200
    assert (await house.call("asker", "PUT", f"{RULES}/*", {"required": True, "count": 2})).status_code == 200
    answer = await house.call("asker", "POST", "/workflows/delete_organization", {"name": "x"})
    assert answer.status_code == 200, "its own rule comes before the one for all"
    answer = await house.call("asker", "POST", "/workflows/echo", {"value": 1})
    assert answer.json()["status"] == "PendingApproval"
    execution_id = answer.json()["executionId"]
    path = f"/executions/{execution_id}/approve"
    assert (await house.call("ann", "POST", path, {"reason": "one"})).json()["status"] == "PendingApproval"
    assert (await house.call("ann", "POST", path)).json()["status"] == "PendingApproval", "nobody counts twice"
    assert len((await house.show(execution_id))["approval"]["decisions"]) == 1
    assert (await house.call("bob", "POST", path)).json()["status"] == "Queued"
    shown = await house.in_status(execution_id, "Success")
    assert [step["by"]["id"] for step in shown["transitions"] if "by" in step] == ["ann", "bob"]
    assert (await house.call("asker", "DELETE", f"{RULES}/*")).status_code == 204
    assert (await house.call("asker", "POST", "/workflows/echo", {"value": 1})).status_code == 200
    assert [rule["workflow"] for rule in (await house.call("ann", "GET", RULES)).json()["rules"]] == [
        "delete_organization"
    ]


@pytest.mark.parametrize("approver", ["cyd", "CYD@msp.com", "finance"])
async def test_only_who_is_named_may_decide(house: House, approver: str) -> None:
    await house.call("asker", "PUT", f"{RULES}/delete_organization", {"approvers": [approver]})
    execution_id = await house.submit("delete_organization", name="x")
    path = f"/executions/{execution_id}/approve"
    await house.record()
    for who, may in (("ann", False), ("cyd", True)):
        record = (await house.call(who, "GET", f"/executions/{execution_id}")).json()
        inbox = (await house.call(who, "GET", "/approvals")).json()["approvals"]
        listed = [entry["approval"]["mayDecide"] for entry in inbox if entry["executionId"] == execution_id]
        assert (record["approval"]["mayDecide"], listed) == (may, [may]), who
    assert (await house.call("ann", "POST", path)).status_code == 403
    assert (await house.call("root", "POST", path, X_Organization_Id="acme")).status_code == 403
    assert (await house.call("cyd", "POST", path)).status_code == 200


async def test_a_rule_may_allow_to_decide_on_ones_own(house: House) -> None:
    await house.call("asker", "PUT", f"{RULES}/delete_organization", {"allowOwn": True})
    answer = await house.call("boss", "POST", "/workflows/delete_organization", {"name": "x"})
    execution = f"/executions/{answer.json()['executionId']}"
    assert (await house.call("boss", "GET", execution)).json()["approval"]["mayDecide"]
    assert (await house.call("boss", "POST", f"{execution}/approve")).status_code == 200


async def test_outside_office_hours_one_may_only_refuse(house: House) -> None:
    for hours, expected in (
        ({"start": "00:00", "end": "00:01", "days": ["mon"]}, 409),
        ({"start": "00:00", "end": "23:59", "days": ALWAYS}, 200),
    ):
        await house.call("asker", "PUT", f"{RULES}/delete_organization", {"officeHours": hours})
        execution_id = await house.submit("delete_organization", name="x")
        answer = await house.call("ann", "POST", f"/executions/{execution_id}/approve")
        assert answer.status_code == expected, answer.text
        if expected == 409:
            assert answer.json()["details"]["opens_at"]
            assert (await house.call("ann", "POST", f"/executions/{execution_id}/reject")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"count": 0},
        {"count": 21},
        {"count": "two"},
        {"approvers": [""]},
        {"approvers": "ann"},
        {"expiresSeconds": 0},
        {"expiresSeconds": 1e9},
        {"officeHours": {"start": "9", "end": "17:00"}},
        {"officeHours": {"start": "17:00", "end": "09:00"}},
        {"officeHours": {"days": ["someday"]}},
        {"officeHours": {"days": []}},
        {"required": "yes"},
        {"unknown": 1},
    ],
)
async def test_a_rule_that_cannot_work_is_refused(house: House, body: dict[str, object]) -> None:
    answer = await house.call("asker", "PUT", f"{RULES}/delete_organization", body)
    assert answer.status_code == 400, answer.text
    assert (await house.call("asker", "GET", f"{RULES}/delete_organization")).status_code == 404


async def test_a_rule_that_somebody_else_changed_is_not_overwritten(house: House) -> None:
    path = f"{RULES}/delete_organization"
    first = await house.call("asker", "PUT", path, {"count": 2})
    await house.call("asker", "PUT", path, {"count": 3})
    stale = await house.call("asker", "PUT", path, {"count": 4}, If_Match=first.headers["etag"])
    assert (stale.status_code, (await house.call("ann", "GET", path)).json()["count"]) == (412, 3)


async def test_rules_of_another_organisation_are_not_there(house: House) -> None:
    await house.call("asker", "PUT", f"{RULES}/delete_organization", {"count": 2})
    for method, path in (("GET", RULES), ("GET", f"{RULES}/delete_organization"), ("DELETE", f"{RULES}/*")):
        assert (await house.call("mallory", method, path)).status_code == 404
    assert (await house.call("ann", "PUT", f"{RULES}/delete_organization", {"count": 2})).status_code == 403


# --- expiry and deaths ------------------------------------------------------------------------------------------------


async def test_it_expires_by_itself(house: House) -> None:
    await house.call("asker", "PUT", f"{RULES}/delete_organization", {"expiresSeconds": 1})
    execution_id = await house.submit("delete_organization", name="x")
    shown = await house.in_status(execution_id, "Cancelled")
    assert shown["error"] == "ApprovalExpired"
    assert await states(house, execution_id) == ["pending_approval", "approval_expired"]
    assert (await house.call("ann", "POST", f"/executions/{execution_id}/approve")).status_code == 409


async def test_nobody_may_approve_what_has_expired_while_no_executor_is_there(own: Settings, bus: NatsBus) -> None:
    async with open_house(own, bus) as house:
        async with house.executor():
            await eventually(lambda: house.gateway.parts.directory.workflow("delete_organization"))
        await house.call("asker", "PUT", f"{RULES}/delete_organization", {"expiresSeconds": 1})
        execution_id = await house.submit("delete_organization", name="x")
        await seconds_pass(1.1)
        answer = await house.call("ann", "POST", f"/executions/{execution_id}/approve")
        assert (answer.status_code, answer.json()["message"]) == (409, "The approval has expired.")
        assert (await house.show(execution_id))["error"] == "ApprovalExpired"
        async with house.executor():
            await house.in_status(execution_id, "Cancelled")


async def test_a_gateway_that_dies_between_the_approval_and_the_request_loses_nothing(
    own: Settings, bus: NatsBus, tmp_path: Path
) -> None:
    journal, dying = tmp_path / "notes", Dying(bus, ".state.approved")
    async with open_house(own, bus, dying) as house, house.executor():
        await eventually(lambda: house.gateway.parts.directory.workflow("delete_organization"))
        execution_id = await house.submit("delete_organization", name="x", journal=str(journal))
        answer = await house.call("ann", "POST", f"/executions/{execution_id}/approve")
        assert (answer.status_code, dying.dead) == (500, True)
        assert await states(house, execution_id) == ["pending_approval", "approved"]
        await house.in_status(execution_id, "Success", within=40)
        assert notes(journal) == ["deleted x"]


async def test_who_hears_no_answer_may_approve_again(own: Settings, bus: NatsBus, tmp_path: Path) -> None:
    journal, dying = tmp_path / "notes", Dying(bus, ".state.approved")
    async with open_house(own, bus, dying) as house, house.executor():
        await eventually(lambda: house.gateway.parts.directory.workflow("delete_organization"))
        execution_id = await house.submit("delete_organization", name="x", journal=str(journal))
        path = f"/executions/{execution_id}/approve"
        assert (await house.call("ann", "POST", path)).status_code == 500
        dying.dead, dying.after = False, "nothing"
        assert (await house.call("ann", "POST", path)).status_code == 200
        await house.in_status(execution_id, "Success", within=5)
        assert notes(journal) == ["deleted x"]


# --- while it runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("door", "approved"), [("approve", True), ("reject", False)])
async def test_code_that_asks_is_told_what_was_decided(house: House, tmp_path: Path, door: str, approved: bool) -> None:
    journal = tmp_path / "notes"
    execution_id = await house.submit("asks", journal=str(journal))
    shown = await house.in_status(execution_id, "PendingApproval")
    assert (shown["approval"]["message"], shown["approval"]["rule"]) == ("Delete 40 mailboxes?", "asked for by asks")
    await house.record()
    assert len((await house.call("ann", "GET", "/approvals")).json()["approvals"]) == 1
    body = {"reason": "because", "digest": shown["approval"]["digest"]}
    assert (await house.call("ann", "POST", f"/executions/{execution_id}/{door}", body)).status_code == 200
    shown = await house.in_status(execution_id, "Success")
    assert shown["result"] == {"approved": approved, "by": "ann", "reason": "because"}
    assert notes(journal) == ["before", "after"]
    last = "approved" if approved else "declined"
    assert await states(house, execution_id) == ["started", "pending_approval", last, "started", "succeeded"]


async def test_code_that_asks_hears_when_nobody_decides(house: House, tmp_path: Path) -> None:
    execution_id = await house.submit("asks", journal=str(tmp_path / "notes"), timeout=1)
    shown = await house.in_status(execution_id, "Success")
    assert shown["result"] == {"late": "Nobody decided within 1 seconds"}
    assert (await house.call("ann", "POST", f"/executions/{execution_id}/approve")).status_code == 409


async def test_waiting_does_not_count_as_running(house: House, tmp_path: Path) -> None:
    """`asks` may run for 5 seconds in all; people may take longer."""
    execution_id = await house.submit("asks", journal=str(tmp_path / "notes"))
    await house.in_status(execution_id, "PendingApproval")
    await seconds_pass(6)
    await house.call("ann", "POST", f"/executions/{execution_id}/approve")
    assert (await house.in_status(execution_id, "Success", "Failed"))["status"] == "Success"


async def test_two_have_to_agree_while_it_runs_and_a_gateway_dies(own: Settings, bus: NatsBus, tmp_path: Path) -> None:
    dying = Dying(bus, ".state.approved")
    async with open_house(own, bus, dying) as house, house.executor():
        await eventually(lambda: house.gateway.parts.directory.workflow("asks"))
        execution_id = await house.submit("asks", journal=str(tmp_path / "notes"), count=2, approvers=["ann", "bob"])
        await house.in_status(execution_id, "PendingApproval")
        path = f"/executions/{execution_id}/approve"
        assert (await house.call("cyd", "POST", path)).status_code == 403
        assert (await house.call("ann", "POST", path)).json()["status"] == "PendingApproval"
        assert (await house.call("bob", "POST", path)).status_code == 500
        shown = await house.in_status(execution_id, "Success", within=40)
        assert shown["result"]["by"] == "bob"


async def test_more_wait_than_there_are_slots(own: Settings, bus: NatsBus, tmp_path: Path) -> None:
    async with open_house(own, bus) as house, house.executor(executor_slots=2):
        await eventually(lambda: house.gateway.parts.directory.workflow("asks"))
        ids = [await house.submit("asks", journal=str(tmp_path / "notes")) for _ in range(10)]
        for execution_id in ids:
            await house.in_status(execution_id, "PendingApproval")
        answer = await house.call("asker", "POST", "/workflows/echo", {"value": 1})
        assert (answer.status_code, answer.json()["result"]) == (200, 1)
        for execution_id in ids:
            await house.call("ann", "POST", f"/executions/{execution_id}/approve")
        for execution_id in ids:
            await house.in_status(execution_id, "Success")


async def test_every_event_says_who_approved_what(house: House) -> None:
    execution_id = await house.submit("delete_organization", name="x")
    await house.call("ann", "POST", f"/executions/{execution_id}/approve")
    await house.in_status(execution_id, "Success")
    stored = await house.bus.read(subjects.EVENTS, subjects.any_state("acme", execution_id))
    pending, approved = (decode_event(it.payload) for it in stored[:2])
    assert isinstance(pending, PendingApproval)
    assert isinstance(approved, Approved)
    [decision] = approved.data.decisions
    assert (decision.by.id, decision.digest) == ("ann", pending.data.digest)
