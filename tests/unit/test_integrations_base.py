"""`BaseIntegration` against a real HTTP server: authentication, errors, and what the record shows of each request."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from runlane.context import Context, Identity
from runlane.contracts.requests import Caller, Trigger
from runlane.contracts.trace import CallEntry, TraceEntry
from runlane.errors import ConfigurationError, DefinitionError, IntegrationError, ValidationError
from runlane.integrations import BaseIntegration
from runlane.integrations.base import fill
from runlane.ports import Vendors
from runlane.testing import FakeContext
from tests.support.raw_vendor import HANG_UP, SILENCE, Vendor


class Recorded:
    """A `Runtime` that keeps what it is told."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.entries: list[TraceEntry] = []
        self._config = config

    def trace(self, entry: TraceEntry, true_value: bytes | None = None) -> Awaitable[None]:
        self.entries.append(entry)
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        stored.set_result(None)
        return stored

    async def secret(self, name: str) -> str | None:
        return {"cw_private_key": "hush"}.get(name)

    def config(self) -> dict[str, Any]:
        return self._config

    async def sleep(self, until: datetime) -> None:
        raise AssertionError(until)

    def vendors(self) -> Vendors:
        return FakeContext(allowed_hosts=["127.0.0.1"]).runtime.vendors()

    def calls(self) -> list[CallEntry]:
        return [entry for entry in self.entries if isinstance(entry, CallEntry)]


class ConnectWise(BaseIntegration):
    integration_name = "connectwise"
    tokens = 0

    async def authenticate(self) -> str:
        self.tokens += 1
        return f"{await self.get_secret('cw_private_key')}-{self.tokens}"

    async def create_ticket(self, summary: str) -> Any:
        """As SPEC §8 writes it, records by hand included."""
        started_at = datetime.now(UTC)
        endpoint = "/v2022_1/service/tickets"
        try:
            token = await self.authenticate()
            response = await self.http_client.post(
                f"{self.api_url}{endpoint}", headers={"Authorization": f"Bearer {token}"}, json={"summary": summary}
            )
            duration_ms = int((datetime.now(UTC) - started_at).total_seconds() * 1000)
            self.context._track_integration_call(
                integration="connectwise",
                method="POST",
                endpoint=endpoint,
                status_code=response.status_code,
                duration_ms=duration_ms,
                error=None,
            )
            return response.json()
        except Exception as e:
            duration_ms = int((datetime.now(UTC) - started_at).total_seconds() * 1000)
            self.context._track_integration_call(
                integration="connectwise",
                method="POST",
                endpoint=endpoint,
                status_code=getattr(e, "status_code", 500),
                duration_ms=duration_ms,
                error=str(e),
            )
            raise IntegrationError(
                integration="connectwise",
                message=f"Failed to create ticket: {e!s}",
                status_code=getattr(e, "status_code", None),
            ) from e


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    await vendor.start()
    yield vendor
    await vendor.stop()


@pytest.fixture
def record(vendor: Vendor) -> Recorded:
    return Recorded({"connectwise_api_url": vendor.url})


@pytest.fixture
async def context(record: Recorded) -> AsyncIterator[Context]:
    identity = Identity(
        execution_id="e1",
        workflow="w",
        org_id="acme",
        org_name="Acme",
        tenant_id=None,
        caller=Caller(id="u"),
        trigger=Trigger(),
    )
    context = Context(identity, record)
    yield context
    await context.aclose()


@pytest.fixture
def connectwise(context: Context) -> ConnectWise:
    found = context.get_integration("connectwise")
    assert isinstance(found, ConnectWise)
    return found


def shown(record: Recorded) -> list[tuple[str, str, int | None, bool]]:
    return [(call.method, call.endpoint, call.status_code, call.success) for call in record.calls()]


async def test_the_example_of_the_specification_is_recorded_once(
    vendor: Vendor, record: Recorded, connectwise: ConnectWise
) -> None:
    vendor.answer("POST /v2022_1/service/tickets", 201, {"id": 7})
    assert await connectwise.create_ticket("printer") == {"id": 7}
    assert shown(record) == [("POST", "/v2022_1/service/tickets", 201, True)]
    assert record.calls()[0].integration == "connectwise"
    assert vendor.seen[0][1]["authorization"] == "Bearer hush-1"


async def test_the_example_is_recorded_once_where_the_api_has_a_base_path(
    vendor: Vendor, record: Recorded, connectwise: ConnectWise
) -> None:
    record.config()["connectwise_api_url"] += "/base"
    vendor.answer("POST /base/v2022_1/service/tickets", 201, {"id": 7})
    await connectwise.create_ticket("printer")
    assert shown(record) == [("POST", "/base/v2022_1/service/tickets", 201, True)]


async def test_the_example_is_recorded_once_when_the_vendor_hangs_up(
    vendor: Vendor, record: Recorded, connectwise: ConnectWise
) -> None:
    vendor.answer("POST /v2022_1/service/tickets", HANG_UP)
    with pytest.raises(IntegrationError):
        await connectwise.create_ticket("printer")
    assert shown(record) == [("POST", "/v2022_1/service/tickets", None, False)]


async def test_a_failure_noted_after_a_recorded_answer_is_kept(
    vendor: Vendor, record: Recorded, connectwise: ConnectWise
) -> None:
    vendor.answers["POST /v2022_1/service/tickets"] = (200, {}, b"no json")
    with pytest.raises(IntegrationError):
        await connectwise.create_ticket("printer")
    assert [call.success for call in record.calls()] == [True, False]


async def test_equal_requests_at_once_are_each_recorded_once(
    vendor: Vendor, record: Recorded, connectwise: ConnectWise
) -> None:
    vendor.answer("POST /v2022_1/service/tickets", 201, {"id": 7})
    await asyncio.gather(*(connectwise.create_ticket(f"printer {n}") for n in range(10)))
    assert len(record.calls()) == 10


async def test_what_was_sent_in_another_way_is_recorded_as_the_author_says(
    record: Recorded, connectwise: ConnectWise
) -> None:
    connectwise.context._track_integration_call("connectwise", "GET", "/sdk", 200, 5, None)
    connectwise.context._track_integration_call("other", "GET", "/sdk", 200, 5)
    assert [(call.integration, call.endpoint) for call in record.calls()] == [
        ("connectwise", "/sdk"),
        ("other", "/sdk"),
    ]


async def test_a_template_noted_by_hand_means_the_request_just_made(
    vendor: Vendor, record: Recorded, connectwise: ConnectWise
) -> None:
    vendor.answer("GET /groups/42/members", body=[])
    await connectwise.http_client.get(f"{vendor.url}/groups/42/members")
    connectwise.context._track_integration_call("connectwise", "GET", "/groups/{id}/members", 200, 5)
    assert shown(record) == [("GET", "/groups/42/members", 200, True)]


async def test_a_query_is_never_recorded(vendor: Vendor, record: Recorded, connectwise: ConnectWise) -> None:
    vendor.answer("GET /users?sig=s3cret")
    await connectwise.http_client.get(f"{vendor.url}/users?sig=s3cret")
    with pytest.raises(IntegrationError) as problem:
        await connectwise.request("GET", "/users?sig=s3cret&x={x}", path={"x": "y"})
    assert [call.endpoint for call in record.calls()] == ["/users", "/users"]
    assert "s3cret" not in problem.value.message


async def test_request_fills_in_the_path_and_records_the_template(
    vendor: Vendor, record: Recorded, connectwise: ConnectWise
) -> None:
    vendor.answer("PATCH /v1.0/groups/a%2Fb%20c?%24select=id", body={"id": 1})
    response = await connectwise.request(
        "patch", "/v1.0/groups/{id}", path={"id": "a/b c"}, params={"$select": "id"}, json={"name": "x"}
    )
    assert response.json() == {"id": 1}
    assert vendor.seen[0][2] == b'{"name":"x"}'
    assert shown(record) == [("PATCH", "/v1.0/groups/{id}", 200, True)]


@pytest.mark.parametrize("value", ["", ".", ".."])
def test_a_path_value_cannot_name_another_resource(value: str) -> None:
    with pytest.raises(ValidationError) as problem:
        fill("/groups/{id}", {"id": value})
    assert problem.value.field == "id"


@pytest.mark.parametrize("values", [{}, {"id": 1, "other": 2}])
def test_path_values_must_be_those_of_the_template(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="'id'"):
        fill("/groups/{id}", values)


async def test_the_token_is_fetched_once_and_shared(vendor: Vendor, connectwise: ConnectWise) -> None:
    vendor.answer("GET /a", body=1)
    await asyncio.gather(*(connectwise.request("GET", "/a") for _ in range(5)))
    await connectwise.request("GET", "/a")
    assert connectwise.tokens == 1
    assert {headers["authorization"] for _, headers, _ in vendor.seen} == {"Bearer hush-1"}


async def test_a_refused_token_is_renewed_once(vendor: Vendor, record: Recorded, connectwise: ConnectWise) -> None:
    vendor.answers["GET /a"] = lambda headers: (401 if headers["authorization"] == "Bearer hush-1" else 200, {}, b"1")
    responses = await asyncio.gather(*(connectwise.request("GET", "/a") for _ in range(3)))
    assert {response.status_code for response in responses} == {200}
    assert connectwise.tokens == 2
    assert sorted(call.status_code or 0 for call in record.calls()) == [200, 200, 200, 401, 401, 401]


async def test_a_token_that_is_never_taken_ends_in_an_error(vendor: Vendor, connectwise: ConnectWise) -> None:
    vendor.answer("GET /a", 401)
    with pytest.raises(IntegrationError) as problem:
        await connectwise.request("GET", "/a")
    assert (problem.value.status_code, problem.value.integration) == (401, "connectwise")
    assert len(vendor.seen) == 2


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_an_answer_of_400_or_more_is_an_error(
    vendor: Vendor, record: Recorded, connectwise: ConnectWise, status: int
) -> None:
    vendor.answer("GET /a", status)
    with pytest.raises(IntegrationError) as problem:
        await connectwise.request("GET", "/a")
    assert problem.value.message == f"GET /a answered {status} Said"
    assert problem.value.status_code == status
    assert record.calls()[0].error == f"HTTP {status} Said"


async def test_an_unreachable_vendor_is_an_error_without_secrets(record: Recorded, connectwise: ConnectWise) -> None:
    record.config()["connectwise_api_url"] = "http://user:hush2@127.0.0.1:1"
    with pytest.raises(IntegrationError) as problem:
        await connectwise.request("GET", "/a", params={"sig": "hush3"})
    assert problem.value.status_code is None
    assert problem.value.message.startswith("GET /a failed: ConnectError")
    assert "hush" not in problem.value.message
    assert shown(record) == [("GET", "/a", None, False)]


async def test_a_header_that_cannot_be_sent_does_not_appear_in_the_error(connectwise: ConnectWise) -> None:
    with pytest.raises(IntegrationError) as problem:
        await connectwise.request("GET", "/a", headers={"X-Key": "hush\nhush"})
    assert problem.value.message == "GET /a failed: LocalProtocolError"


async def test_a_slow_vendor_is_given_up(vendor: Vendor, record: Recorded, connectwise: ConnectWise) -> None:
    assert connectwise.http_client.timeout == httpx.Timeout(30)
    vendor.answer("GET /a", SILENCE)
    with pytest.raises(IntegrationError, match="GET /a failed: ReadTimeout"):
        await connectwise.request("GET", "/a", timeout=0.05)
    assert [call.error for call in record.calls()] == ["ReadTimeout"]


async def test_a_cancelled_call_is_recorded(vendor: Vendor, record: Recorded, connectwise: ConnectWise) -> None:
    vendor.answer("GET /a", SILENCE)
    calling = asyncio.create_task(connectwise.http_client.get(f"{vendor.url}/a"))
    await vendor.called.wait()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert [call.error for call in record.calls()] == ["CancelledError"]


async def test_redirects_are_followed_on_the_same_host_only(
    vendor: Vendor, record: Recorded, connectwise: ConnectWise
) -> None:
    other = Vendor()
    await other.start()
    vendor.answer("GET /old", 301, Location="/new")
    vendor.answer("GET /new", body="here")
    vendor.answer("GET /away", 302, Location=f"{other.url}/steal")
    assert (await connectwise.request("GET", "/old")).json() == "here"
    with pytest.raises(IntegrationError, match="another host"):
        await connectwise.request("GET", "/away")
    assert (await connectwise.http_client.get(f"{vendor.url}/away", follow_redirects=True)).status_code == 302
    assert (await connectwise.http_client.get(f"{vendor.url}/old", follow_redirects=False)).status_code == 301
    assert other.seen == []
    assert len(record.calls()) == 5
    await other.stop()


async def test_endless_redirects_end(vendor: Vendor, connectwise: ConnectWise) -> None:
    vendor.answer("GET /loop", 302, Location="/loop")
    assert (await connectwise.http_client.get(f"{vendor.url}/loop")).status_code == 302
    assert len(vendor.seen) == 6


async def test_a_streamed_answer_is_recorded(vendor: Vendor, record: Recorded, connectwise: ConnectWise) -> None:
    vendor.answer("GET /file", body="x" * 1000)
    async with connectwise.http_client.stream("GET", f"{vendor.url}/file") as response:
        assert len(await response.aread()) == 1002
    assert shown(record) == [("GET", "/file", 200, True)]


async def test_the_end_of_the_execution_closes_the_client(context: Context, connectwise: ConnectWise) -> None:
    client = connectwise.http_client
    assert context.get_integration("connectwise") is connectwise
    await context.aclose()
    assert client.is_closed


async def test_config_and_context_reach_the_author(connectwise: ConnectWise) -> None:
    assert connectwise.context.org_id == "acme"
    assert connectwise.get_config("none", "fallback") == "fallback"
    with pytest.raises(ConfigurationError):
        await connectwise.get_secret("none")


async def test_an_api_without_an_address_is_a_configuration_error(record: Recorded, connectwise: ConnectWise) -> None:
    record.config().clear()
    with pytest.raises(ConfigurationError) as problem:
        await connectwise.request("GET", "/a")
    assert problem.value.config_key == "connectwise_api_url"


async def test_a_subclass_may_fix_address_and_headers(vendor: Vendor, context: Context) -> None:
    class Fixed(BaseIntegration):
        integration_name = "fixed"
        api_url = vendor.url

        async def authenticate(self) -> str:
            return "k"

        def auth_headers(self, token: str) -> dict[str, str]:
            return {"X-Api-Key": token}

    vendor.answer("GET /a", body=1)
    await context.get_integration("fixed").request("GET", "/a")
    assert vendor.seen[0][1]["x-api-key"] == "k"
    assert "authorization" not in vendor.seen[0][1]


async def test_an_integration_that_cannot_authenticate_says_so(vendor: Vendor, context: Context) -> None:
    class Silent(BaseIntegration):
        integration_name = "silent"
        api_url = vendor.url

    class Circular(BaseIntegration):
        integration_name = "circular"
        api_url = vendor.url

        async def authenticate(self) -> str:
            return (await self.request("POST", "/token")).text

    with pytest.raises(ConfigurationError, match="silent"):
        await context.get_integration("silent").request("GET", "/a")
    with pytest.raises(IntegrationError, match=r"self\.http_client"):
        await context.get_integration("circular").request("GET", "/a")
    assert vendor.seen == []


@pytest.mark.parametrize("name", ["", "no spaces", 7])
def test_a_name_that_cannot_be_one_is_refused_at_definition(name: object) -> None:
    with pytest.raises(DefinitionError, match="integration_name"):
        type("Wrong", (BaseIntegration,), {"integration_name": name})


def test_a_base_without_a_name_of_its_own_registers_nothing(context: Context) -> None:
    class Special(ConnectWise):
        pass

    assert type(context.get_integration("connectwise")) is ConnectWise
