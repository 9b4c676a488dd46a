"""The HaloPSA and ConnectWise clients against servers that speak their HTTP: sign-in, pages, tickets, errors."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from examples.vendors.connectwise import ConnectWiseStandIn
from examples.vendors.halopsa import HaloStandIn
from examples.vendors.settings import Vendor, config, secrets
from examples.vendors.standin import Answer
from runlane.errors import ConfigurationError, IntegrationError, ValidationError
from runlane.integrations import connectwise, halopsa
from runlane.integrations.connectwise import ConnectWise, quoted
from runlane.integrations.halopsa import HaloPSA
from runlane.testing import FakeContext


def context_of(vendor: Vendor, **changed: Any) -> FakeContext:
    kept = {key: value for key, value in {**config(vendor), **changed}.items() if value is not None}
    return FakeContext(config=kept, secrets=secrets(vendor), allowed_hosts=["127.0.0.1"])


def shown(integration: HaloPSA | ConnectWise) -> list[tuple[str, str, int | None]]:
    return [(call.method, call.endpoint, call.status_code) for call in integration.context.calls]  # type: ignore[attr-defined]


# --- HaloPSA ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def halo_vendor() -> AsyncIterator[HaloStandIn]:
    vendor = HaloStandIn()
    async with vendor.serving():
        yield vendor


@pytest.fixture
async def halo(halo_vendor: HaloStandIn) -> AsyncIterator[HaloPSA]:
    halo = HaloPSA(context_of(halo_vendor))
    yield halo
    await halo.aclose()


async def test_a_halo_ticket_is_made_for_the_organisations_client(halo_vendor: HaloStandIn, halo: HaloPSA) -> None:
    ticket = await halo.create_ticket("Printer on fire", "Third floor", tickettype_id=1)
    assert ticket["id"] == 1
    assert halo_vendor.things["tickets"][1]["client_id"] == 12
    await halo.update_ticket(1, status_id=9)
    assert (await halo.get_ticket(1))["status_id"] == 9
    await halo.add_action(1, "Looked at it", hidden=False)
    await halo.add_time_entry(1, 0.25, "Put it out")
    assert [action["timetaken"] async for action in halo.actions(1) if "timetaken" in action] == [0.25]
    assert shown(halo) == [
        ("POST", "/auth/token", 200),
        ("POST", "/api/Tickets", 201),
        ("POST", "/api/Tickets", 201),
        ("GET", "/api/Tickets/{id}", 200),
        ("POST", "/api/Actions", 201),
        ("POST", "/api/Actions", 201),
        ("GET", "/api/Actions", 200),
    ]


async def test_halo_clients_users_and_assets(halo_vendor: HaloStandIn, halo: HaloPSA) -> None:
    client = await halo.create_client("Acme")
    user = await halo.create_user("Ada", "ada@acme.example", site_id=3)
    asset = await halo.create_asset("PC-1", client["id"], 4)
    await halo.update_asset(asset["id"], inventory_number="PC-2")
    assert (await halo.get_client(client["id"]))["name"] == "Acme"
    assert (await halo.get_user(user["id"]))["emailaddress"] == "ada@acme.example"
    assert (await halo.get_asset(asset["id"]))["inventory_number"] == "PC-2"
    assert [found["id"] async for found in halo.clients()] == [1]
    assert [found["id"] async for found in halo.users()] == [1]
    assert [found["id"] async for found in halo.assets(client_id=99)] == []


@pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
async def test_halo_lists_are_followed_page_by_page(halo_vendor: HaloStandIn, halo: HaloPSA, count: int) -> None:
    for n in range(count):
        halo_vendor.add("tickets", summary=f"t{n}")
    assert [ticket["id"] async for ticket in halo.tickets(open_only=True)] == list(range(1, count + 1))
    assert halo_vendor.count("GET /api/Tickets") == max(1, -(-count // 100))
    assert halo_vendor.asked[-1].query["open_only"] == "true"


async def test_a_halo_list_that_shrinks_meanwhile_ends(halo_vendor: HaloStandIn, halo: HaloPSA) -> None:
    halo_vendor.first.extend(
        [Answer(200, {"record_count": 500, "tickets": [{"id": 1}]}), Answer(200, {"record_count": 500, "tickets": []})]
    )
    assert len([ticket async for ticket in halo.tickets()]) == 1


async def test_halo_tokens_expire_and_are_renewed(halo_vendor: HaloStandIn, halo: HaloPSA) -> None:
    await halo.create_ticket("a")
    halo_vendor.expire()
    await halo.create_ticket("b")
    assert len(halo_vendor.issued) == 2


async def test_a_hosted_halo_is_told_its_tenant(halo_vendor: HaloStandIn) -> None:
    halo_vendor.tenant = "acme"
    without = HaloPSA(context_of(halo_vendor))
    with pytest.raises(IntegrationError, match="invalid_client: The client is not known"):
        await without.create_ticket("x")
    with_tenant = HaloPSA(context_of(halo_vendor, halo_tenant="acme", halo_api_url=f"{halo_vendor.url}/api/"))
    assert (await with_tenant.create_ticket("x"))["id"] == 1
    await without.aclose()
    await with_tenant.aclose()


async def test_halo_being_busy_is_waited_for(halo_vendor: HaloStandIn, halo: HaloPSA) -> None:
    halo_vendor.throttle(2, "5")
    assert (await halo.create_ticket("x"))["id"] == 1
    assert [status for _, endpoint, status in shown(halo) if endpoint == "/api/Tickets"] == [429, 429, 201]


async def test_what_halo_says_is_in_the_error(halo: HaloPSA) -> None:
    with pytest.raises(IntegrationError, match="400 Bad Request: Please enter a summary"):
        await halo.create_ticket("")
    with pytest.raises(ValidationError):
        await halo.add_time_entry(1, 0, "nothing")


@pytest.mark.parametrize("key", ["halo_api_url", "halo_client_id"])
async def test_what_halo_lacks_is_named(halo_vendor: HaloStandIn, key: str) -> None:
    with pytest.raises(ConfigurationError, match=f"runlane config set {key}") as problem:
        await HaloPSA(context_of(halo_vendor, **{key: None})).create_ticket("x")
    assert problem.value.config_key == key


@pytest.mark.parametrize("value", ["12", True, 1.5, [12]])
async def test_a_halo_client_that_is_no_number_is_a_configuration_error(
    halo_vendor: HaloStandIn, value: object
) -> None:
    with pytest.raises(ConfigurationError, match="halo_customer_id"):
        await HaloPSA(context_of(halo_vendor, halo_customer_id=value)).create_ticket("x")


# --- ConnectWise ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def cw_vendor() -> AsyncIterator[ConnectWiseStandIn]:
    vendor = ConnectWiseStandIn()
    async with vendor.serving():
        yield vendor


@pytest.fixture
async def cw(cw_vendor: ConnectWiseStandIn) -> AsyncIterator[ConnectWise]:
    cw = ConnectWise(context_of(cw_vendor))
    yield cw
    await cw.aclose()


async def test_a_connectwise_ticket_as_the_specification_writes_it(
    cw_vendor: ConnectWiseStandIn, cw: ConnectWise
) -> None:
    ticket = await cw.create_ticket("Printer on fire", "Third floor")
    assert ticket["id"] == 1
    assert ticket["url"].startswith(f"{cw_vendor.url}/v4_6_release/services/")
    assert ticket["url"].endswith("recordType=ServiceFv&recid=1")
    assert cw_vendor.things["service/tickets"][1]["company"] == {"id": 250}
    changed = await cw.update_ticket(1, status={"name": "Closed"})
    assert changed["status"] == {"name": "Closed"}
    assert (await cw.get_ticket(1))["summary"] == "Printer on fire"
    await cw.add_note(1, "Out", internal=False)
    assert cw_vendor.notes[0][1]["detailDescriptionFlag"] is True
    await cw.add_time_entry(1, 0.5, "Put it out")
    assert [entry["actualHours"] async for entry in cw.time_entries(1)] == [0.5]
    assert shown(cw) == [
        ("POST", "/service/tickets", 201),
        ("PATCH", "/service/tickets/{id}", 200),
        ("GET", "/service/tickets/{id}", 200),
        ("POST", "/service/tickets/{id}/notes", 201),
        ("POST", "/time/entries", 201),
        ("GET", "/time/entries", 200),
    ]


async def test_connectwise_companies_and_contacts(cw_vendor: ConnectWiseStandIn, cw: ConnectWise) -> None:
    company = await cw.create_company("ACME", "Acme Corp")
    contact = await cw.create_contact("Ada", "Lovelace", "ada@acme.example", company_id=company["id"])
    assert (await cw.get_company(company["id"]))["identifier"] == "ACME"
    assert (await cw.get_contact(contact["id"]))["communicationItems"][0]["value"] == "ada@acme.example"
    assert [found["id"] async for found in cw.companies(f"name={quoted('Acme Corp')}")] == [1]
    assert [found["id"] async for found in cw.contacts()] == [1]
    assert quoted('the "best"') == '"the ""best"""'


@pytest.mark.parametrize("count", [0, 1, 250, 251, 600])
@pytest.mark.parametrize("order_by", [None, "summary"])
async def test_connectwise_lists_are_followed_page_by_page(
    cw_vendor: ConnectWiseStandIn, cw: ConnectWise, count: int, order_by: str | None
) -> None:
    for n in range(count):
        cw_vendor.add("service/tickets", summary=f"t{n}")
    found = [ticket["id"] async for ticket in cw.tickets("closedFlag=false", order_by=order_by)]
    assert found == list(range(1, count + 1))
    assert len(cw_vendor.seen) == max(1, -(-count // 250))
    assert {asked.query["conditions"] for asked in cw_vendor.asked} == {"closedFlag=false"}


async def test_connectwise_pages_in_a_circle_end_in_an_error(cw_vendor: ConnectWiseStandIn, cw: ConnectWise) -> None:
    link = {"Link": '<https://cw.example/service/tickets?pageId=7>; rel="next"'}
    cw_vendor.first.extend([Answer(200, [], link)] * 5)
    with pytest.raises(IntegrationError, match="does not come to an end"):
        [ticket async for ticket in cw.tickets()]


async def test_lists_without_end_are_given_up(
    cw_vendor: ConnectWiseStandIn,
    cw: ConnectWise,
    halo_vendor: HaloStandIn,
    halo: HaloPSA,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (connectwise, halopsa):
        monkeypatch.setattr(module, "MAX_PAGES", 2)
        monkeypatch.setattr(module, "PAGE_SIZE", 1)
    for n in range(3):
        cw_vendor.add("service/tickets", summary=f"t{n}")
        halo_vendor.add("tickets", summary=f"t{n}")
    for tickets in (cw.tickets(), cw.tickets(order_by="id"), halo.tickets()):
        with pytest.raises(IntegrationError, match="does not come to an end"):
            [ticket async for ticket in tickets]
    assert len(cw_vendor.seen) == 4
    assert halo_vendor.count("GET /api/Tickets") == 2


async def test_the_keys_of_connectwise_are_not_shown(cw_vendor: ConnectWiseStandIn, cw: ConnectWise) -> None:
    await cw.create_ticket("x")
    proof = cw_vendor.asked[0].headers["authorization"].removeprefix("Basic ")
    cw.context.log("info", f"{proof} {cw_vendor.private_key}")
    assert cw.context.logs[-1][1] == "[REDACTED] [REDACTED]"  # type: ignore[attr-defined]


async def test_wrong_keys_of_connectwise_are_an_error(cw_vendor: ConnectWiseStandIn, cw: ConnectWise) -> None:
    cw_vendor.private_key = "changed"
    with pytest.raises(IntegrationError, match="Unauthorized: Incorrect public/private key") as problem:
        await cw.create_ticket("x")
    assert problem.value.status_code == 401
    assert len(cw_vendor.seen) == 1


async def test_what_connectwise_says_of_each_field_is_in_the_error(cw_vendor: ConnectWiseStandIn) -> None:
    cw = ConnectWise(context_of(cw_vendor, cw_customer_id=None))
    with pytest.raises(
        IntegrationError, match=r"InvalidObject: ticket object is invalid; MissingRequiredField: The company"
    ):
        await cw.create_ticket("x")
    await cw.aclose()


@pytest.mark.parametrize("summary", ["", "x" * 101])
async def test_a_summary_that_connectwise_would_refuse_is_refused_here(cw: ConnectWise, summary: str) -> None:
    with pytest.raises(ValidationError) as problem:
        await cw.create_ticket(summary)
    assert problem.value.field == "summary"


@pytest.mark.parametrize("key", ["cw_api_url", "cw_company_id", "cw_public_key", "cw_client_id"])
async def test_what_connectwise_lacks_is_named(cw_vendor: ConnectWiseStandIn, key: str) -> None:
    with pytest.raises(ConfigurationError, match=f"runlane config set {key}") as problem:
        await ConnectWise(context_of(cw_vendor, **{key: None})).create_ticket("x")
    assert problem.value.config_key == key


async def test_connectwise_being_busy_is_waited_for(cw_vendor: ConnectWiseStandIn, cw: ConnectWise) -> None:
    cw_vendor.throttle(1, "2")
    assert (await cw.create_ticket("x"))["id"] == 1
    assert [status for _, _, status in shown(cw)] == [429, 201]


def test_a_site_of_its_own_keeps_its_address() -> None:
    context = FakeContext(config={"cw_api_url": "https://cw.acme.example/v4_6_release/apis/3.0/"})
    assert ConnectWise(context).api_url == "https://cw.acme.example/v4_6_release/apis/3.0"
    cloud = FakeContext(config={"cw_api_url": "https://api-na.myconnectwise.net"})
    assert ConnectWise(cloud).api_url == "https://api-na.myconnectwise.net/v4_6_release/apis/3.0"
