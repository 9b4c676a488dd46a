"""Deliveries of webhooks in every record store: pages, filters, scope, what is told later, retention."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runlane.adapters.memory_store import MemoryRecordStore
from runlane.adapters.sql.store import open_record_store
from runlane.contracts.encoding import encode
from runlane.contracts.events import Delivered, DeliveryData
from runlane.contracts.webhooks import DeliveryQuery, WebhookDelivery
from runlane.errors import ValidationError
from runlane.ports import RecordStore, Stored
from tests.support.memory_bus import START

ALL = DeliveryQuery(org="acme", workflow="tickets")


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RecordStore]:
    if request.param == "memory":
        yield MemoryRecordStore()
        return
    url = f"sqlite:///{tmp_path / 'records.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql_url")
    async with open_record_store(url, migrate=True) as opened:
        yield opened


def delivered(number: int, org: str = "acme", workflow: str = "tickets", **data: Any) -> Delivered:
    known: dict[str, Any] = {"outcome": "accepted", "scheme": "secret", "execution_id": f"execution{number}"}
    return Delivered(
        id=f"{number}:accepted",
        source="/test",
        subject=f"delivery{number}",
        time=START + timedelta(minutes=number),
        organization=org,
        workflow=workflow,
        data=DeliveryData(**known | data),
    )


def stored(*events: Delivered, first: int = 1) -> list[Stored]:
    return [Stored("runlane.delivery.acme.tickets", first + n, encode(event), START) for n, event in enumerate(events)]


async def ids(store: RecordStore, query: DeliveryQuery) -> list[str]:
    return [delivery.id for delivery in (await store.deliveries(query)).items]


async def test_a_delivery_is_kept_as_it_was_told(store: RecordStore) -> None:
    refused = {"outcome": "refused", "scheme": "slack", "execution_id": None, "reason": "wrong ü", "sender_id": "m-1"}
    await store.apply(stored(delivered(1), delivered(2, **refused, size_bytes=7, address="10.0.0.1")))
    assert (await store.deliveries(ALL)).items == [
        WebhookDelivery(
            id="delivery2",
            org="acme",
            workflow="tickets",
            at=START + timedelta(minutes=2),
            outcome="refused",
            scheme="slack",
            reason="wrong ü",
            sender_id="m-1",
            size_bytes=7,
            address="10.0.0.1",
        ),
        WebhookDelivery(
            id="delivery1",
            org="acme",
            workflow="tickets",
            at=START + timedelta(minutes=1),
            outcome="accepted",
            scheme="secret",
            execution_id="execution1",
        ),
    ]


async def test_deliveries_belong_to_one_webhook_of_one_organisation(store: RecordStore) -> None:
    await store.apply(stored(delivered(1), delivered(2, org="globex"), delivered(3, workflow="other")))
    assert await ids(store, ALL) == ["delivery1"]
    assert await ids(store, DeliveryQuery(org="globex", workflow="tickets")) == ["delivery2"]
    assert await store.delivery("acme", "tickets", "delivery1") is not None
    for org, workflow, id_ in (
        ("globex", "tickets", "delivery1"),
        ("acme", "other", "delivery1"),
        ("acme", "tickets", "delivery9"),
    ):
        assert await store.delivery(org, workflow, id_) is None


async def test_an_event_that_comes_again_changes_nothing_and_a_later_one_holds(store: RecordStore) -> None:
    first, later = stored(delivered(1), delivered(1, outcome="duplicate"))
    await store.apply([later])
    await store.apply([first, later])
    await store.apply([first])
    assert [delivery.outcome for delivery in (await store.deliveries(ALL)).items] == ["duplicate"]


async def test_deliveries_are_found_by_their_outcome(store: RecordStore) -> None:
    await store.apply(stored(delivered(1), delivered(2, outcome="refused"), delivered(3, outcome="duplicate")))
    assert await ids(store, DeliveryQuery(org="acme", workflow="tickets", outcome="refused")) == ["delivery2"]
    assert await ids(store, DeliveryQuery(org="acme", workflow="tickets", outcome="handshake")) == []


async def test_pages_follow_each_other_without_gap_or_repetition(store: RecordStore) -> None:
    await store.apply(stored(*(delivered(number) for number in range(7))))
    seen: list[str] = []
    query: DeliveryQuery | None = DeliveryQuery(org="acme", workflow="tickets", limit=3)
    while query is not None:
        page = await store.deliveries(query)
        seen += [delivery.id for delivery in page.items]
        after = page.next
        query = (after and DeliveryQuery(org="acme", workflow="tickets", limit=3, after=after)) or None
    assert seen == [f"delivery{number}" for number in range(6, -1, -1)]


@pytest.mark.parametrize("cursor", ["", "%%%", "WzFd", "bnVsbA"])
async def test_a_cursor_that_is_none_is_refused(store: RecordStore, cursor: str) -> None:
    with pytest.raises(ValidationError):
        await store.deliveries(DeliveryQuery(org="acme", workflow="tickets", after=cursor))


async def test_old_deliveries_go_with_old_executions(store: RecordStore) -> None:
    await store.apply(stored(*(delivered(number) for number in range(5))))
    assert await store.prune(START + timedelta(minutes=3), limit=2) == 2
    assert await store.prune(START + timedelta(minutes=3)) == 1
    assert await ids(store, ALL) == ["delivery4", "delivery3"]
