"""Events from outside for a running or waiting execution, over a real nats-server."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import Suspended, SuspendedData
from runlane.contracts.requests import decode_request
from runlane.ids import new_execution_id
from runlane.ports import Message
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from runlane_gateway.signals import MOST_BYTES, MOST_EVENTS
from tests.support.eventually import eventually
from tests.support.executions import notes
from tests.support.people import WORKFLOWS, Dying, House, open_house


@pytest.fixture
def own(settings: Settings) -> Settings:
    key = generate_master_key()
    return msgspec.structs.replace(settings, http_port=0, master_key=key, workflows=WORKFLOWS, stop_grace=1.0)


@pytest.fixture
async def house(own: Settings, bus: NatsBus) -> AsyncIterator[House]:
    async with open_house(own, bus) as opened, opened.executor():
        await eventually(lambda: opened.gateway.parts.directory.workflow("listens"))
        yield opened


async def send(house: House, execution_id: str, name: str, data: object = None, **headers: str) -> dict[str, object]:
    """As a client should: under one key, and again where a loaded machine answers 503."""
    headers.setdefault("Idempotency_Key", new_execution_id())

    async def accepted() -> httpx.Response | None:
        answer = await house.call("asker", "POST", f"/executions/{execution_id}/events/{name}", data, **headers)
        return None if answer.status_code == 503 else answer

    answer = await eventually(accepted, within=60)
    assert answer.status_code == 202, answer.text
    sent: dict[str, object] = answer.json()
    return sent


async def test_an_event_wakes_who_waits_for_it(house: House) -> None:
    execution_id = await house.submit("listens", names=["paid"])
    await house.in_status(execution_id, "Suspended")
    sent = await send(house, execution_id, "paid", {"amount": 7, "password": "hunter2hunter2"})
    assert (sent["event"], sent["duplicate"]) == ("paid", False)
    shown = await house.in_status(execution_id, "Success")
    assert shown["result"] == [{"amount": 7, "password": "[REDACTED]"}]
    [event] = shown["events"]
    assert (event["name"], event["data"], event["by"]["id"]) == (
        "paid",
        {"amount": 7, "password": "[REDACTED]"},
        "asker",
    )
    stored = b"".join(s.payload for s in await house.bus.read(subjects.EVENTS, "runlane.event.>"))
    assert b"hunter2hunter2" not in stored


async def test_an_event_that_comes_first_is_kept(own: Settings, bus: NatsBus) -> None:
    async with open_house(own, bus) as house:
        async with house.executor():
            await eventually(lambda: house.gateway.parts.directory.workflow("listens"))
        execution_id = await house.submit("listens", names=["a", "b", "a"])
        for name, n in (("b", 1), ("a", 2), ("a", 3), ("a", 4)):
            await send(house, execution_id, name, {"n": n})
        async with house.executor():
            shown = await house.in_status(execution_id, "Success")
    assert shown["result"] == [{"n": 2}, {"n": 1}, {"n": 3}], "each wait takes one, in the order in which they came"


async def test_an_event_that_comes_while_it_works_is_taken_when_it_waits(house: House, tmp_path: Path) -> None:
    journal = tmp_path / "notes"
    execution_id = await house.submit("works_then_listens", journal=str(journal), seconds=0.5)
    await eventually(lambda: notes(journal) == ["busy"])
    await send(house, execution_id, "paid", {"password": "hunter2hunter2"})
    shown = await house.in_status(execution_id, "Success")
    assert shown["logs"][-1]["message"] == "the password is [REDACTED]", "the code got the true value, the log did not"


async def test_no_wakeup_is_lost_whenever_the_event_comes(house: House) -> None:
    """Events sent at every moment from the submission on, so that some meet the change to Suspended."""

    async def one(n: int) -> None:
        execution_id = await house.submit("listens", names=["paid", "shipped"])
        await asyncio.sleep(n * 0.004)
        await send(house, execution_id, "paid", {"n": n})
        await send(house, execution_id, "shipped", {"n": n})
        ended = await house.in_status(execution_id, "Success", within=60)
        assert ended["result"] == [{"n": n}, {"n": n}]

    await asyncio.gather(*(one(n) for n in range(40)))


async def test_the_same_event_a_hundred_times_at_once_is_one(house: House) -> None:
    execution_id = await house.submit("listens", names=["paid", "paid"])
    await house.in_status(execution_id, "Suspended")
    sent = await asyncio.gather(
        *(send(house, execution_id, "paid", {"n": 1}, Idempotency_Key="delivery-1") for _ in range(100))
    )
    assert [one["duplicate"] for one in sent].count(False) <= 1  # 0 where its answer was lost and it was sent again
    await send(house, execution_id, "paid", {"n": 2}, Idempotency_Key="delivery-2")
    shown = await house.in_status(execution_id, "Success", within=60)
    assert shown["result"] == [{"n": 1}, {"n": 2}]
    assert len(shown["events"]) == 2


async def test_different_events_at_once_are_all_kept(house: House) -> None:
    names = ["paid"] * 20
    execution_id = await house.submit("listens", names=names)
    await asyncio.gather(*(send(house, execution_id, "paid", {"n": n}) for n in range(20)))
    shown = await house.in_status(execution_id, "Success", within=60)
    assert sorted(heard["n"] for heard in shown["result"]) == list(range(20))


async def test_what_does_not_come_in_time_is_late_for_every_later_run_too(house: House) -> None:
    execution_id = await house.submit("listens", names=["never", "paid"], timeout=2)
    await house.in_status(execution_id, "Suspended")

    async def second_wait() -> bool:
        return "event:paid" in str((await house.show(execution_id))["transitions"])

    await eventually(second_wait, within=20)
    await send(house, execution_id, "never", {"too": "late"})
    await send(house, execution_id, "paid", {"n": 1})
    assert (await house.in_status(execution_id, "Success"))["result"][0] == "late"


async def test_a_gateway_that_dies_after_storing_the_event_loses_no_wakeup(own: Settings, bus: NatsBus) -> None:
    dying = Dying(bus, ".signal.")
    async with open_house(own, bus, dying) as house, house.executor():
        await eventually(lambda: house.gateway.parts.directory.workflow("listens"))
        execution_id = await house.submit("listens", names=["paid"])
        await house.in_status(execution_id, "Suspended")
        answer = await house.call("asker", "POST", f"/executions/{execution_id}/events/paid", {"n": 1})
        assert (answer.status_code, dying.dead) == (500, True)
        assert (await house.in_status(execution_id, "Success", within=40))["result"] == [{"n": 1}]


async def test_it_goes_on_after_an_executor_was_lost_and_takes_no_event_twice(own: Settings, bus: NatsBus) -> None:
    async with open_house(own, bus) as house:
        async with house.executor():
            await eventually(lambda: house.gateway.parts.directory.workflow("listens"))
            execution_id = await house.submit("listens", names=["paid", "paid"])
            await house.in_status(execution_id, "Suspended")
            await send(house, execution_id, "paid", {"n": 1})

            async def took_the_first() -> bool:
                return any(step["name"] == "event:paid" for step in (await house.show(execution_id))["steps"])

            await eventually(took_the_first, within=20)
        await send(house, execution_id, "paid", {"n": 2})
        async with house.executor():
            assert (await house.in_status(execution_id, "Success"))["result"] == [{"n": 1}, {"n": 2}]


async def test_what_cannot_be_sent_is_refused(house: House) -> None:
    execution_id = await house.submit("listens", names=["paid"])
    path = f"/executions/{execution_id}/events"
    assert (await house.call("mallory", "POST", f"{path}/paid", {})).status_code == 404
    assert (await house.call("ann", "POST", f"{path}/paid", {})).status_code == 403
    assert (await house.call("asker", "POST", f"{path}/pa*d", {})).status_code == 400
    assert (await house.call("asker", "POST", f"{path}/paid", [1])).status_code == 400
    assert (await house.call("asker", "POST", f"{path}/paid", {"x": "y" * MOST_BYTES})).status_code == 413
    assert (await house.call("asker", "POST", "/executions/none/events/paid", {})).status_code == 404
    assert (await house.call("asker", "GET", f"{path}/paid")).status_code == 405
    await send(house, execution_id, "paid", {})
    await house.in_status(execution_id, "Success")
    ended = await house.call("asker", "POST", f"{path}/paid", {})
    assert (ended.status_code, ended.json()["details"]) == (409, {"status": "Success"})


async def test_an_event_sent_again_after_the_execution_that_it_ended_is_known(house: House) -> None:
    execution_id = await house.submit("listens", names=["paid"])
    await house.in_status(execution_id, "Suspended")
    await send(house, execution_id, "paid", {}, Idempotency_Key="payment-1")
    await house.in_status(execution_id, "Success")
    await house.record()
    assert (await send(house, execution_id, "paid", {}, Idempotency_Key="payment-1"))["duplicate"]
    path = f"/executions/{execution_id}/events/paid"
    assert (await house.call("asker", "POST", path, {}, Idempotency_Key="payment-2")).status_code == 409


async def test_an_execution_takes_only_so_many_events(house: House) -> None:
    execution_id = await house.submit("listens", names=["never"])
    async with house.client("asker") as client:
        for n in range(MOST_EVENTS):
            answer = await client.post(f"/executions/{execution_id}/events/other", json={"n": n})
            assert answer.status_code == 202, answer.text
        assert (await client.post(f"/executions/{execution_id}/events/other", json={})).status_code == 429
        await client.post(f"/executions/{execution_id}/cancel", json={})


async def test_an_executor_that_died_before_it_asked_for_the_next_run_loses_no_event(
    own: Settings, bus: NatsBus
) -> None:
    """It wrote `suspended` and was gone: its message comes again, and whoever gets it sees what has come since."""
    async with open_house(own, bus) as house:
        async with house.executor():
            await eventually(lambda: house.gateway.parts.directory.workflow("listens"))
        execution_id = await house.submit("listens", names=["paid"])
        [request] = await bus.read(subjects.REQUESTS, subjects.ALL_REQUESTS)
        await send(house, execution_id, "paid", {"n": 1})
        now = datetime.now(UTC)
        data = SuspendedData(reason="event:paid", first_started_at=now, until=now + timedelta(hours=1))
        envelope = {"id": "s", "source": "/x", "subject": execution_id, "time": now, "organization": "acme"}
        suspended = Suspended(**envelope, workflow="listens", attempt=1, data=data)
        subject = subjects.event("acme", "listens", execution_id, "state.suspended")
        await bus.publish(Message(subject=subject, payload=encode(suspended), id="s"))
        assert decode_request(request.payload).last_state == 0
        async with house.executor():
            assert (await house.in_status(execution_id, "Success", within=9))["result"] == [{"n": 1}]
