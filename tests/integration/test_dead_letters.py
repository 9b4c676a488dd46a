"""Dead letters over HTTP: found by whoever may, re-driven as an execution or a message, discarded, audited."""

from datetime import UTC, datetime
from typing import Any

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import Failed, FailedData, Failure
from runlane.contracts.requests import Request
from runlane.deadletters import DeadLetter, letter_message
from runlane.ports import Message
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway

pytest_plugins = ["tests.support.gateway_fixtures"]


async def bury(bus: NatsBus, payload: bytes = b"{", **known: Any) -> str:
    facts: dict[str, Any] = {
        "kind": "unreadable",
        "reason": "it cannot be read",
        "at": datetime.now(UTC),
        "source": f"REQUESTS:{datetime.now(UTC).timestamp()}",
        "subject": subjects.request("0", "acme", "slow"),
        "org": "acme",
        "workflow": "slow",
    }
    return f"dl-{await bus.publish(letter_message(DeadLetter(**facts | known), payload))}"


async def failed(gateway: Gateway, executor: Executor, bus: NatsBus, client: httpx.AsyncClient) -> Request:
    """An execution of acme's that was ended because its request was given up."""
    executor.holding = True
    answer = await client.post("/workflows/slow", json={"n": 5, "password": "s3cret-value"})
    await eventually(lambda: executor.requests)
    request = executor.requests[0]
    assert request.execution_id == answer.json()["executionId"]
    line = subjects.state_line("acme", "slow", request.execution_id)
    last = await bus.last(subjects.EVENTS, line)
    assert last is not None
    event = Failed(
        id=f"{request.execution_id}:failed",
        source="/test",
        subject=request.execution_id,
        time=datetime.now(UTC),
        organization="acme",
        workflow="slow",
        data=FailedData(failure=Failure("BadMessage", "given up"), duration_ms=0),
    )
    subject = subjects.event("acme", "slow", request.execution_id, "state.failed")
    await bus.publish(
        Message(subject=subject, payload=encode(event), id=event.id, expect_last=last.sequence, expect_on=line)
    )
    return request


async def test_letters_are_listed_in_pages_and_by_filters(bus: NatsBus, client: httpx.AsyncClient) -> None:
    first = await bury(bus)
    second = await bury(bus, kind="crash_loop", workflow="quick")
    await bury(bus, org="globex")
    third = await bury(bus)

    page = (await client.get("/dead-letters", params={"limit": 2})).json()
    rest = (await client.get("/dead-letters", params={"limit": 2, "after": page["next"]})).json()

    assert [letter["id"] for letter in page["deadLetters"]] == [first, second]
    assert [letter["id"] for letter in rest["deadLetters"]] == [third]
    assert rest["next"] is None
    for query, wanted in (({"kind": "crash_loop"}, [second]), ({"workflow": "slow"}, [first, third])):
        found = (await client.get("/dead-letters", params=query)).json()["deadLetters"]
        assert [letter["id"] for letter in found] == wanted
    assert (await client.get("/dead-letters", params={"kind": "no-such-kind"})).status_code == 400
    assert (await client.get("/dead-letters", params={"after": "x"})).status_code == 400


async def test_what_belongs_to_nobody_is_seen_by_who_may_see_all(
    gateway: Gateway, bus: NatsBus, client: httpx.AsyncClient
) -> None:
    nobodys = await bury(bus, org=None, workflow=None, subject="runlane.request.0")
    assert (await client.get("/dead-letters")).json()["deadLetters"] == []
    assert (await client.get(f"/dead-letters/{nobodys}")).status_code == 404
    async with gateway.client("admin") as admin:
        assert [one["id"] for one in (await admin.get("/dead-letters")).json()["deadLetters"]] == [nobodys]


async def test_the_message_is_shown_without_what_is_sealed_and_only_to_who_may_see_internals(
    gateway: Gateway, bus: NatsBus, client: httpx.AsyncClient
) -> None:
    letter = await bury(bus, b'{"sealed_parameters":"AAAA","password":"hunter2","execution_id":"e1"}')
    assert (await client.get(f"/dead-letters/{letter}")).json()["payload"] is None
    async with gateway.client("admin") as admin:
        shown = (await admin.get(f"/dead-letters/{letter}")).json()["payload"]
    assert '"e1"' in shown
    assert "AAAA" not in shown
    assert "hunter2" not in shown


async def test_an_execution_that_was_ended_is_run_again_as_a_new_one(
    gateway: Gateway, executor: Executor, bus: NatsBus, client: httpx.AsyncClient
) -> None:
    request = await failed(gateway, executor, bus, client)
    letter = await bury(bus, execution_id=request.execution_id, ended=True)
    executor.holding = False

    answer = await client.post(f"/dead-letters/{letter}/redrive")

    assert (answer.status_code, answer.json()["outcome"]) == (202, "started")
    again = answer.json()["executionId"]
    assert again != request.execution_id
    record = (await client.get(f"/executions/{again}", params={"wait": 10})).json()
    assert record["status"] == "Success"
    assert record["trigger"] == {"kind": "retry", "reference": request.execution_id}
    [started] = [one for one in executor.requests if one.execution_id == again]
    assert executor.parameters(started) == {"n": 5, "password": "s3cret-value"}
    assert (await client.get("/dead-letters")).json()["deadLetters"] == []
    assert (await client.post(f"/dead-letters/{letter}/redrive")).status_code == 404


async def test_a_message_without_an_execution_goes_back_to_its_queue(bus: NatsBus, client: httpx.AsyncClient) -> None:
    payload = b'{"version":2}'
    letter = await bury(bus, payload, kind="newer_version")
    answer = await client.post(f"/dead-letters/{letter}/redrive")
    assert answer.json() == {"id": letter, "outcome": "requeued", "executionId": None}
    [stored] = await bus.read(subjects.REQUESTS, subjects.ALL_REQUESTS)
    assert (stored.subject, stored.payload) == (subjects.request("0", "acme", "slow"), payload)


@pytest.mark.parametrize("known", [{"kind": "event", "subject": "runlane.event.a.b.c.state.started"}, {"subject": ""}])
async def test_what_came_from_no_queue_can_only_be_discarded(
    gateway: Gateway, bus: NatsBus, client: httpx.AsyncClient, known: dict[str, Any]
) -> None:
    letter = await bury(bus, **known)
    assert (await client.post(f"/dead-letters/{letter}/redrive")).status_code == 409
    assert (await client.post(f"/dead-letters/{letter}/discard")).json() == {"id": letter, "outcome": "discarded"}
    assert await bus.read(subjects.DEAD, subjects.ALL_DEAD) == []
    events = [msgspec.json.decode(stored.payload) for stored in await bus.read(subjects.EVENTS, "runlane.audit.acme")]
    told = [(event["data"]["action"], event["data"]["key"], event["data"]["outcome"]) for event in events]
    assert told == [
        ("redrive", letter, "intended"),
        ("redrive", letter, "failed"),
        ("discard", letter, "intended"),
        ("discard", letter, "done"),
    ]


async def test_what_is_no_letter_is_listed_all_the_same(bus: NatsBus, client: httpx.AsyncClient) -> None:
    await bus.publish(Message(subject=subjects.dead("acme", "slow", "seq1"), payload=b"\xff\n", id="raw"))
    [letter] = (await client.get("/dead-letters")).json()["deadLetters"]
    assert letter["reason"] == "This letter itself cannot be read."


@pytest.mark.parametrize("id_", ["dl-", "dl-x", "dl-0", "dl--1", "5", "dl-" + "9" * 40])
async def test_an_id_that_is_none_finds_nothing(client: httpx.AsyncClient, id_: str) -> None:
    assert (await client.get(f"/dead-letters/{id_}")).status_code == 404
