"""How often callers may call: over HTTP, with one gateway and with two that share a Redis."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.adapters.shared import open_shared
from runlane.clock import SystemClock
from runlane.contracts import subjects
from runlane.errors import ConfigurationError
from runlane.sealing import generate_master_key
from runlane.settings import Settings, read_settings
from tests.support.gateway_bus import Gateway, furnish, serving

LIMITS = {"caller_rate_per_minute": 1.0, "caller_burst": 3}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


async def open_gateway(stack: AsyncExitStack, settings: Settings, bus: NatsBus, **known: object) -> Gateway:
    """A gateway with these settings, over a Redis where they name one."""
    store = NatsDirectoryStore(bus)
    await furnish(store)
    given = msgspec.structs.replace(settings, http_port=0, master_key=generate_master_key(), **known)
    shared = await stack.enter_async_context(open_shared(given, SystemClock(), patience=20))
    return await stack.enter_async_context(serving(given, bus, store, shared.limiter))


async def get(gateway: Gateway, key: str, times: int = 1, **headers: str) -> list[httpx.Response]:
    async with gateway.client(key, **headers) as client:
        return [await client.get("/me") for _ in range(times)]


def codes(answers: list[httpx.Response]) -> list[int]:
    return [answer.status_code for answer in answers]


async def test_a_caller_beyond_his_rate_is_told_when_to_come_back(
    stack: AsyncExitStack, settings: Settings, bus: NatsBus
) -> None:
    gateway = await open_gateway(stack, settings, bus, **LIMITS)
    answers = await get(gateway, "acme", 4)
    assert codes(answers) == [200, 200, 200, 429]
    assert answers[3].json()["error"] == "TooManyRequests"
    assert answers[3].json()["details"]["limit"] == "caller"
    assert answers[3].headers.get_list("retry-after") == ["60"]
    assert {answer.headers["ratelimit-policy"] for answer in answers} == {'"caller";q=3;w=180'}
    left = [answer.headers["ratelimit"].split(";")[1] for answer in answers]
    assert left == ["r=2", "r=1", "r=0", "r=0"]


async def test_another_caller_and_who_has_no_key_are_not_counted(
    stack: AsyncExitStack, settings: Settings, bus: NatsBus
) -> None:
    gateway = await open_gateway(stack, settings, bus, **LIMITS)
    await get(gateway, "acme", 4)
    assert codes(await get(gateway, "globex")) == [200]
    assert codes(await get(gateway, "nobody", 9)) == [401] * 9
    async with gateway.client(None) as client:
        assert codes([await client.get("/readyz") for _ in range(9)]) == [200] * 9


async def test_an_organisation_has_a_limit_over_all_its_callers(
    stack: AsyncExitStack, settings: Settings, bus: NatsBus
) -> None:
    gateway = await open_gateway(stack, settings, bus, org_rate_per_minute=1.0, org_burst=3)
    assert codes(await get(gateway, "acme", 2)) == [200, 200]
    assert codes(await get(gateway, "admin", 1, X_Organization_Id="acme")) == [200]
    refused = await get(gateway, "weak")
    assert (codes(refused), refused[0].json()["details"]["limit"]) == ([429], "organization")
    assert codes(await get(gateway, "admin", 4)) == [200] * 4, "on account of no organisation"
    assert codes(await get(gateway, "globex")) == [200]


async def test_a_caller_cannot_use_up_what_belongs_to_a_foreign_organisation(
    stack: AsyncExitStack, settings: Settings, bus: NatsBus
) -> None:
    gateway = await open_gateway(stack, settings, bus, org_rate_per_minute=1.0, org_burst=2)
    answers = await get(gateway, "globex", 9, X_Organization_Id="acme")
    assert {answer.headers.get("ratelimit") for answer in answers} == {None}
    assert codes(await get(gateway, "acme", 2)) == [200, 200]


async def test_gateways_that_share_a_redis_share_the_limits(
    stack: AsyncExitStack, settings: Settings, bus: NatsBus, redis_url: str
) -> None:
    gateways = [await open_gateway(stack, settings, bus, redis_url=redis_url, **LIMITS) for _ in range(2)]
    answers = [answer for gateway in (*gateways, *gateways) for answer in await get(gateway, "acme")]
    assert codes(answers) == [200, 200, 200, 429]


async def test_each_line_of_a_batch_counts_as_a_call(stack: AsyncExitStack, settings: Settings, bus: NatsBus) -> None:
    gateway = await open_gateway(stack, settings, bus, org_rate_per_minute=1.0, org_burst=5)
    async with gateway.client("acme", Content_Type="application/x-ndjson") as client:
        answers = [await client.post("/workflows/slow/batch", content=b"{}\n" * lines) for lines in (3, 3, 2, 1)]
    assert codes(answers) == [202, 429, 429, 429]
    assert answers[1].json()["details"]["limit"] == "organization"
    assert answers[0].headers["ratelimit"].split(";")[1] == "r=2"
    stored = await bus.counts(subjects.REQUESTS, subjects.ALL_REQUESTS)
    assert sum(stored.values()) == 3, "of a batch that is refused nothing is done"


async def test_a_batch_of_more_than_fit_at_once_is_let_in_when_all_are_there(
    stack: AsyncExitStack, settings: Settings, bus: NatsBus
) -> None:
    gateway = await open_gateway(stack, settings, bus, caller_rate_per_minute=1.0, caller_burst=5)
    batch = {"url": "/workflows/slow/batch", "content": b"{}\n" * 20}
    async with gateway.client("acme", Content_Type="application/x-ndjson") as client:
        assert codes([await client.post(**batch), await client.post(**batch)]) == [202, 429]
    assert int((await get(gateway, "acme"))[0].headers["retry-after"]) > 14 * 60
    async with gateway.client("globex", Content_Type="application/x-ndjson") as client:
        await client.get("/me")
        assert (await client.post(**batch)).status_code == 429, "not all are there"


async def test_without_limits_nothing_is_said_of_them(stack: AsyncExitStack, settings: Settings, bus: NatsBus) -> None:
    gateway = await open_gateway(stack, settings, bus)
    answers = await get(gateway, "acme", 9)
    assert codes(answers) == [200] * 9
    assert not [name for name in answers[0].headers if name.startswith("ratelimit")]


@pytest.mark.parametrize(
    ("variable", "text"), [("CALLER_RATE_PER_MINUTE", "-1"), ("ORG_BURST", "0"), ("CALLER_BURST", "many")]
)
def test_a_limit_that_cannot_be_is_refused_at_the_start(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"RUNLANE_{variable}"):
        read_settings({f"RUNLANE_{variable}": text})
