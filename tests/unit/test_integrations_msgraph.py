"""The Graph client against a server that speaks Graph: sign-in, users, licences, groups, pages, batches, errors."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from examples.vendors.msgraph import ENTERPRISE, GraphStandIn
from examples.vendors.settings import config, secrets
from examples.vendors.standin import Answer
from runlane.errors import ConfigurationError, IntegrationError, ValidationError
from runlane.integrations.msgraph import MicrosoftGraph, quoted
from runlane.testing import FakeContext


@pytest.fixture
async def vendor() -> AsyncIterator[GraphStandIn]:
    vendor = GraphStandIn()
    async with vendor.serving():
        yield vendor


def context_of(vendor: GraphStandIn, **changed: Any) -> FakeContext:
    kept = {key: value for key, value in {**config(vendor), **changed}.items() if value is not None}
    return FakeContext(config=kept, secrets=secrets(vendor), tenant_id=None, allowed_hosts=["127.0.0.1"])


@pytest.fixture
async def context(vendor: GraphStandIn) -> AsyncIterator[FakeContext]:
    context = context_of(vendor)
    yield context
    await context.aclose()


@pytest.fixture
def graph(context: FakeContext) -> MicrosoftGraph:
    found = context.get_integration("msgraph")
    assert isinstance(found, MicrosoftGraph)
    return found


def shown(context: FakeContext) -> list[tuple[str, str, int | None]]:
    return [(call.method, call.endpoint, call.status_code) for call in context.calls]


async def test_onboarding_as_the_specification_writes_it(
    vendor: GraphStandIn, context: FakeContext, graph: MicrosoftGraph
) -> None:
    vendor.add_group("Sales-Users")
    user = await graph.create_user("john@acme.example", "John", "Doe", usageLocation="AT")
    await graph.assign_license(user["id"], ENTERPRISE)
    group_id = await graph.get_group_by_name("Sales-Users")
    await graph.add_user_to_group(user["id"], group_id)
    assert vendor.members[group_id] == [user["id"]]
    assert vendor.users[user["id"]]["licenses"] == [ENTERPRISE]
    assert vendor.users[user["id"]]["displayName"] == "John Doe"
    assert shown(context) == [
        ("POST", "/tenant-1/oauth2/v2.0/token", 200),
        ("POST", "/v1.0/users", 201),
        ("POST", "/v1.0/users/{id}/assignLicense", 200),
        ("GET", "/v1.0/groups", 200),
        ("POST", "/v1.0/groups/{id}/members/$ref", 204),
    ]


async def test_the_usual_things_work(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    user = await graph.create_user("ada@acme.example", "Ada", "Lovelace", password="Xy1!Xy1!Xy1!", usageLocation="AT")
    id_ = user["id"]
    assert (await graph.get_user("ada@acme.example"))["id"] == id_
    await graph.update_user(id_, jobTitle="Countess")
    assert (await graph.get_user(id_, select=["jobTitle"]))["jobTitle"] == "Countess"
    await graph.revoke_sign_in_sessions(id_)
    group = await graph.create_group("Engine Users", description="x")
    assert (await graph.get_group(group["id"]))["displayName"] == "Engine Users"
    await graph.add_user_to_group(id_, group["id"])
    assert [member["id"] async for member in graph.group_members(group["id"])] == [id_]
    assert [found["id"] async for found in graph.user_groups(id_)] == [group["id"]]
    await graph.remove_user_from_group(id_, group["id"])
    assert [member async for member in graph.group_members(group["id"])] == []
    await graph.assign_license(id_, ENTERPRISE)
    assert await graph.get_user_licenses(id_) == [{"skuId": ENTERPRISE}]
    await graph.remove_license(id_, ENTERPRISE)
    assert await graph.get_user_licenses(id_) == []
    assert [sku["consumedUnits"] for sku in await graph.get_subscribed_skus()] == [43]
    await graph.delete_user(id_)
    with pytest.raises(IntegrationError) as problem:
        await graph.get_user(id_)
    assert problem.value.status_code == 404
    assert "Request_ResourceNotFound" in problem.value.message


async def test_passwords_are_not_shown(vendor: GraphStandIn, context: FakeContext, graph: MicrosoftGraph) -> None:
    await graph.create_user("a@acme.example", "A", "B")
    password = vendor.asked[-1].body["passwordProfile"]["password"]
    assert len(password) >= 16
    assert vendor.asked[-1].body["passwordProfile"]["forceChangePasswordNextSignIn"] is True
    context.log("info", f"made with {password}, {vendor.issued[0]} and {vendor.client_secret}")
    assert context.logs[-1][1] == "made with [REDACTED], [REDACTED] and [REDACTED]"


# --- pages ------------------------------------------------------------------------------------------------------------


async def test_lists_are_followed_page_by_page(
    vendor: GraphStandIn, context: FakeContext, graph: MicrosoftGraph
) -> None:
    vendor.add_users(7)
    vendor.page_size = 3
    assert [user["id"] async for user in graph.users()] == [f"u{n}" for n in range(7)]
    assert shown(context)[1:] == [("GET", "/v1.0/users", 200)] * 3


async def test_a_list_that_is_left_early_fetches_no_further_page(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    vendor.add_users(7)
    vendor.page_size = 3
    async for user in graph.users():
        assert user["id"] == "u0"
        break
    assert vendor.count("GET /v1.0/users") == 1


@pytest.mark.parametrize(
    "link",
    ["https://evil.example/v1.0/users?$skiptoken=1", "http://127.0.0.1:1/v1.0/users", "//evil.example/", "::", "/x"],
)
async def test_a_next_page_elsewhere_does_not_get_the_token(
    vendor: GraphStandIn, graph: MicrosoftGraph, link: str
) -> None:
    vendor.first.append(Answer(200, {"value": [], "@odata.nextLink": link}))
    with pytest.raises(IntegrationError, match="not of its own host"):
        [user async for user in graph.users()]


async def test_pages_in_a_circle_end_in_an_error(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    vendor.first.extend([Answer(200, {"value": [], "@odata.nextLink": f"{vendor.url}/v1.0/users?$skiptoken=9"})] * 3)
    with pytest.raises(IntegrationError, match="does not come to an end"):
        [user async for user in graph.users()]


@pytest.mark.parametrize("body", [{}, {"value": 5}, {"value": [1]}, [], None, "text"])
async def test_a_list_that_is_none_is_an_error(vendor: GraphStandIn, graph: MicrosoftGraph, body: object) -> None:
    vendor.first.append(Answer(200, body))
    with pytest.raises(IntegrationError, match="users answered without a list 'value'"):
        [user async for user in graph.users(filter="accountEnabled eq true")]


async def test_a_search_is_marked_as_one(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    [user async for user in graph.users(search='"displayName:Ada"', select=["id"])]
    assert vendor.asked[-1].headers["consistencylevel"] == "eventual"
    assert vendor.asked[-1].query == {"$search": '"displayName:Ada"', "$select": "id"}


async def test_a_group_is_found_by_a_name_with_a_quote(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    id_ = vendor.add_group("O'Neil's")
    assert await graph.get_group_by_name("O'Neil's") == id_
    assert quoted("O'Neil") == "'O''Neil'"


@pytest.mark.parametrize(("count", "status"), [(0, 404), (2, 409)])
async def test_no_group_or_several_of_a_name_are_an_error(
    vendor: GraphStandIn, graph: MicrosoftGraph, count: int, status: int
) -> None:
    for _ in range(count):
        vendor.add_group("Staff")
    with pytest.raises(IntegrationError, match="named 'Staff'") as problem:
        await graph.get_group_by_name("Staff")
    assert problem.value.status_code == status


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_calls_at_once_fetch_one_token(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    await asyncio.gather(*(graph.get_subscribed_skus() for _ in range(8)))
    assert len(vendor.issued) == 1


async def test_an_expired_token_is_renewed_once(
    vendor: GraphStandIn, context: FakeContext, graph: MicrosoftGraph
) -> None:
    await graph.get_subscribed_skus()
    vendor.expire()
    await asyncio.gather(*(graph.get_subscribed_skus() for _ in range(4)))
    assert len(vendor.issued) == 2
    assert [status for _, endpoint, status in shown(context) if endpoint.endswith("Skus")].count(401) == 4


async def test_a_token_that_is_refused_again_is_an_error(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    vendor.token_seconds = 0
    with pytest.raises(IntegrationError, match="401 Unauthorized: InvalidAuthenticationToken") as problem:
        await graph.get_subscribed_skus()
    assert problem.value.status_code == 401
    assert len(vendor.issued) == 2


async def test_wrong_credentials_say_where_to_look_and_show_nothing(vendor: GraphStandIn) -> None:
    context = context_of(vendor)
    vendor.client_secret = "another-secret"
    with pytest.raises(IntegrationError) as problem:
        await context.get_integration("msgraph").get_subscribed_skus()
    assert problem.value.status_code == 401
    assert "AADSTS7000215: Invalid client secret provided: [REDACTED]" in problem.value.message
    assert "check the client id and the secret msgraph_client_secret" in problem.value.message
    assert vendor.count("POST /tenant-1/oauth2/v2.0/token") == 1
    await context.aclose()


@pytest.mark.parametrize(
    "body", [{}, [], None, {"access_token": 5}, {"access_token": "a\nb"}, {"access_token": "tökén"}]
)
async def test_an_answer_without_a_token_is_an_error(
    vendor: GraphStandIn, graph: MicrosoftGraph, monkeypatch: pytest.MonkeyPatch, body: object
) -> None:
    monkeypatch.setattr(vendor, "handle", lambda _: Answer(200, body))
    with pytest.raises(IntegrationError, match="without a usable access_token"):
        await graph.get_subscribed_skus()


@pytest.mark.parametrize(
    ("missing", "key"),
    [("msgraph_client_id", "msgraph_client_id"), ("msgraph_tenant_id", "msgraph_tenant_id")],
)
async def test_what_is_not_configured_is_named(vendor: GraphStandIn, missing: str, key: str) -> None:
    context = context_of(vendor, **{missing: None})
    with pytest.raises(ConfigurationError, match=f"runlane config set {key}") as problem:
        await context.get_integration("msgraph").get_subscribed_skus()
    assert problem.value.config_key == key
    assert vendor.seen == []


async def test_a_missing_secret_is_named(vendor: GraphStandIn) -> None:
    context = FakeContext(config=config(vendor), allowed_hosts=["127.0.0.1"])
    with pytest.raises(ConfigurationError, match="runlane secrets set msgraph_client_secret"):
        await context.get_integration("msgraph").get_subscribed_skus()


async def test_the_tenant_of_the_organisation_is_used_where_none_is_configured(vendor: GraphStandIn) -> None:
    known = {key: value for key, value in config(vendor).items() if key != "msgraph_tenant_id"}
    context = FakeContext(config=known, secrets=secrets(vendor), tenant_id="tenant-1", allowed_hosts=["127.0.0.1"])
    await context.get_integration("msgraph").get_subscribed_skus()
    assert vendor.seen[0] == "POST /tenant-1/oauth2/v2.0/token"
    await context.aclose()


# --- batches ----------------------------------------------------------------------------------------------------------


async def test_a_batch_answers_each_request_in_its_place(
    vendor: GraphStandIn, context: FakeContext, graph: MicrosoftGraph
) -> None:
    vendor.add_users(45)
    answers = await graph.batch([{"method": "GET", "url": f"/users/u{n}"} for n in range(50)])
    assert [answer["status"] for answer in answers] == [200] * 45 + [404] * 5
    assert [answer["body"]["id"] for answer in answers[:45]] == [f"u{n}" for n in range(45)]
    assert shown(context)[1:] == [("POST", "/v1.0/$batch", 200)] * 3


async def test_a_batch_sends_bodies_as_json(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    vendor.add_users(1)
    change = {"method": "PATCH", "url": "/users/u0", "body": {"jobTitle": "x"}}
    assert [answer["status"] for answer in await graph.batch([change])] == [204]
    assert vendor.users["u0"]["jobTitle"] == "x"
    assert vendor.asked[-1].body["requests"][0]["headers"] == {"Content-Type": "application/json"}


async def test_throttled_requests_of_a_batch_are_sent_again(
    vendor: GraphStandIn, context: FakeContext, graph: MicrosoftGraph
) -> None:
    vendor.add_users(3)
    vendor.throttled_urls = {"/users/u1": 2}
    before = context.clock.now()
    answers = await graph.batch([{"method": "GET", "url": f"/users/u{n}"} for n in range(3)])
    assert [answer["status"] for answer in answers] == [200, 200, 200]
    assert [len(asked.body["requests"]) for asked in vendor.asked[1:]] == [3, 1, 1]
    assert (context.clock.now() - before).total_seconds() >= 6


async def test_a_request_that_stays_throttled_keeps_its_status(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    vendor.throttled_urls = {"/users/u1": 99}
    answers = await graph.batch([{"method": "GET", "url": "/users/u1"}])
    assert [answer["status"] for answer in answers] == [429]
    assert len(vendor.asked) == 6


async def test_an_empty_batch_calls_nobody(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    assert await graph.batch([]) == []
    assert vendor.seen == []


@pytest.mark.parametrize(
    "request_", [{}, {"url": "users"}, {"url": 5}, {"method": "BREW", "url": "/x"}, {"url": "/x", "json": {}}]
)
async def test_a_wrong_request_of_a_batch_is_named(graph: MicrosoftGraph, request_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as problem:
        await graph.batch([{"url": "/ok"}, request_])
    assert problem.value.field == "requests[1]"


@pytest.mark.parametrize(
    "body", [None, {}, {"responses": 5}, {"responses": [5]}, {"responses": [{"id": "x", "status": 1}]}]
)
async def test_a_batch_with_answers_missing_is_an_error(
    vendor: GraphStandIn, graph: MicrosoftGraph, body: object
) -> None:
    vendor.first.append(Answer(200, body))
    with pytest.raises(IntegrationError, match="answered 0 of 1 requests"):
        await graph.batch([{"url": "/users/u1"}])


# --- errors -----------------------------------------------------------------------------------------------------------


async def test_what_graph_says_is_in_the_error(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    user = await graph.create_user("a@acme.example", "A", "B")
    with pytest.raises(IntegrationError, match="invalid usage location") as problem:
        await graph.assign_license(user["id"], ENTERPRISE)
    assert problem.value.details == {"integration": "msgraph", "status_code": 400}


@pytest.mark.parametrize("email", ["", "@acme.example", "ü@acme.example"])
async def test_a_nickname_that_cannot_be_made_is_asked_for(graph: MicrosoftGraph, email: str) -> None:
    with pytest.raises(ValidationError, match="mailNickname"):
        await graph.create_user(email, "A", "B")


async def test_an_object_that_is_none_is_an_error(vendor: GraphStandIn, graph: MicrosoftGraph) -> None:
    vendor.first.append(Answer(200, []))
    with pytest.raises(IntegrationError, match="without the object"):
        await graph.get_user("u1")
