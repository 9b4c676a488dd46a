"""Waiting: Retry-After in its forms and bounds, call budgets and what the record shows of them."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from runlane.adapters.memory_limiter import MemoryLimiter
from runlane.errors import ConfigurationError, IntegrationError
from runlane.integrations import BaseIntegration
from runlane.integrations.throttle import retry_after
from runlane.testing import FakeContext
from tests.support.raw_vendor import Answer, Vendor

START = datetime(2026, 1, 1, tzinfo=UTC)


class Busy(BaseIntegration):
    integration_name = "busy"

    async def authenticate(self) -> str:
        return "the-token"


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    await vendor.start()
    yield vendor
    await vendor.stop()


def busy(vendor: Vendor, **config: object) -> tuple[Busy, FakeContext]:
    context = FakeContext(config={"busy_api_url": vendor.url, **config}, allowed_hosts=["127.0.0.1"])
    return Busy(context), context


def waited(context: FakeContext) -> float:
    return (context.clock.now() - START).total_seconds()


def answers(vendor: Vendor, call: str, *given: Answer) -> None:
    """One after the other; the last one for ever."""
    left = list(given)
    vendor.answers[call] = lambda _: left.pop(0) if len(left) > 1 else left[0]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_throttled_call_is_repeated_after_the_time_asked_for(vendor: Vendor, method: str) -> None:
    answers(vendor, f"{method} /a", (429, {"Retry-After": "7"}, b""), (200, {}, b"1"))
    integration, context = busy(vendor)
    assert (await integration.request(method, "/a")).json() == 1
    assert 7 <= waited(context) <= 8
    assert [call.status_code for call in context.calls] == [429, 200]
    level, line = context.logs[0]
    assert level == "warning"
    assert line.startswith("busy answered 429: trying again in 7.")
    await context.aclose()
    await integration.aclose()


async def test_without_a_retry_after_the_waits_grow(vendor: Vendor) -> None:
    answers(vendor, "GET /a", (503, {}, b""))
    integration, context = busy(vendor)
    with pytest.raises(IntegrationError) as problem:
        await integration.request("GET", "/a")
    assert problem.value.status_code == 503
    assert len(vendor.seen) == 5
    assert 15 <= waited(context) <= 18
    await integration.aclose()


async def test_what_may_have_been_done_is_not_repeated_without_being_asked_to(vendor: Vendor) -> None:
    answers(vendor, "POST /a", (503, {}, b""))
    integration, _ = busy(vendor)
    with pytest.raises(IntegrationError):
        await integration.request("POST", "/a")
    assert len(vendor.seen) == 1
    await integration.aclose()


async def test_a_wait_that_is_too_long_is_an_error_that_names_it(vendor: Vendor) -> None:
    answers(vendor, "GET /a", (429, {"Retry-After": "600"}, b""))
    integration, context = busy(vendor)
    with pytest.raises(IntegrationError, match="answered 429 Said: Retry-After: 600"):
        await integration.request("GET", "/a")
    assert waited(context) == 0
    patient, context = busy(vendor, busy_max_wait_seconds=700)
    with pytest.raises(IntegrationError):
        await patient.request("GET", "/a")
    assert 600 <= waited(context) <= 601
    await integration.aclose()
    await patient.aclose()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("12", 12),
        ("", None),
        (None, None),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("9" * 99, 9999999999),
    ],
)
def test_a_retry_after_is_read_or_taken_as_none(text: str | None, seconds: float | None) -> None:
    assert retry_after(text) == seconds


def test_a_retry_after_may_be_a_date() -> None:
    later = retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True))
    assert later is not None
    assert 80 < later <= 90
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("value", ["fast", -1, True, None, [1], float("inf"), float("nan")])
async def test_a_budget_that_is_no_number_is_a_configuration_error(vendor: Vendor, value: object) -> None:
    integration, _ = busy(vendor, busy_calls_per_minute=value)
    with pytest.raises(ConfigurationError, match="busy_calls_per_minute"):
        await integration.request("GET", "/a")
    assert vendor.seen == []


async def test_a_budget_that_is_used_up_for_too_long_is_an_error(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.answer("GET /a", body=1)
    integration, context = busy(vendor, busy_calls_per_minute=6, busy_calls_burst=2, busy_max_wait_seconds=15)
    limiter = MemoryLimiter(context.clock)
    vendors = context.runtime.vendors()
    monkeypatch.setattr(vendors, "reserve_call", limiter.reserve, raising=True)
    for _ in range(4):
        await integration.request("GET", "/a")
    assert waited(context) == 20
    assert context.logs == [("info", "busy: waiting 10.0 s for the budget of 6 calls a minute")] * 2
    assert len(context.calls) == 4
    monkeypatch.setattr(vendors, "reserve_call", lambda *_: _none())
    with pytest.raises(IntegrationError, match="busy_calls_per_minute"):
        await integration.request("GET", "/a")
    assert len(vendor.seen) == 4
    await integration.aclose()


async def _none() -> None:
    return None
