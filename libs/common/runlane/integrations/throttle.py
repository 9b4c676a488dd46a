"""How an integration waits: for the organisation's call budget before a request, for the vendor's Retry-After after it.

Waiting happens in the execution's slot and within its timeout, and each wait is a log line of the execution.
"""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
from msgspec import Struct

from runlane.context import Context
from runlane.errors import ConfigurationError, IntegrationError
from runlane.ports import Budget

MAX_WAIT_SECONDS = 60.0
_TRIES = 5
#: Shorter waits for the budget are not worth a line.
_WORTH_A_LINE_SECONDS = 0.05
#: May be repeated though it is not known whether the vendor did it.
_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class Patience:
    """What one request has waited so far, over its repetitions."""

    def __init__(self) -> None:
        self.tries, self.seconds = 1, 0.0


class Rates(Struct, frozen=True):
    """What configuration says: no budget means that calls are not counted."""

    budget: Budget | None
    max_wait_seconds: float


class Throttle:
    """The waiting of one integration in one execution. `prefix` is that of its configuration keys."""

    def __init__(self, context: Context, integration: str, prefix: str, calls_per_minute: float) -> None:
        self._context, self._integration, self._prefix = context, integration, prefix
        self._calls_per_minute = calls_per_minute
        self._rates: Rates | None = None

    async def allowance(self, count: int = 1) -> None:
        """Wait until the organisation may call the vendor `count` times; `IntegrationError` when that is too long."""
        rates = self._configured()
        if rates.budget is None:
            return
        vendors = self._context.runtime.vendors()
        wait = await vendors.reserve_call(self._integration, rates.budget, rates.max_wait_seconds, count)
        if wait is None:
            raise IntegrationError(
                self._integration,
                f"The organisation's budget of {rates.budget.per_minute:g} calls a minute is used up for more than "
                f"{rates.max_wait_seconds:g} s. Spread the work, or change {self._prefix}_calls_per_minute or "
                f"{self._prefix}_max_wait_seconds.",
            )
        if wait > 0:
            if wait >= _WORTH_A_LINE_SECONDS:
                budget = f"{rates.budget.per_minute:g} calls a minute"
                self._context.log("info", f"{self._integration}: waiting {wait:.1f} s for the budget of {budget}")
            await vendors.pause(wait)

    async def again(self, response: httpx.Response, patience: Patience) -> bool:
        """Whether to repeat a request that was answered so; then the time that the vendor asked for has passed."""
        return is_throttled(response) and await self.wait(response.status_code, response.headers.get, patience)

    async def wait(self, status: int, header: Callable[[str], Any], patience: Patience) -> bool:
        """Wait as the vendor asks; False when that would be too often or too long."""
        asked = retry_after(header("Retry-After"))
        seconds = float(2 ** (patience.tries - 1)) if asked is None else asked
        if patience.tries >= _TRIES or patience.seconds + seconds > self._configured().max_wait_seconds:
            return False
        # Others were told to come back at the same moment.
        seconds += random.uniform(0, min(1.0, seconds / 10))  # nosec B311
        patience.tries, patience.seconds = patience.tries + 1, patience.seconds + seconds
        self._context.log("warning", f"{self._integration} answered {status}: trying again in {seconds:.1f} s")
        await self._context.runtime.vendors().pause(seconds)
        return True

    def _configured(self) -> Rates:
        if self._rates is None:
            per_minute = self._number("calls_per_minute", self._calls_per_minute)
            burst = max(1.0, self._number("calls_burst", per_minute / 6))
            budget = Budget(per_minute, burst) if per_minute > 0 else None
            self._rates = Rates(budget, self._number("max_wait_seconds", MAX_WAIT_SECONDS))
        return self._rates

    def _number(self, what: str, default: float) -> float:
        key = f"{self._prefix}_{what}"
        value = self._context.get_config(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
            raise ConfigurationError(f"{key} must be a number from 0 up: runlane config set {key} {default:g}", key)
        return float(value)


def is_throttled(response: httpx.Response) -> bool:
    """Whether the vendor wants the same request again later."""
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return True
    if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
        return False
    return "Retry-After" in response.headers or response.request.method in _HARMLESS


def retry_after(value: object) -> float | None:
    """Seconds that a `Retry-After` asks for, which may be a number or a date (RFC 9110 §10.2.3); None for nonsense."""
    text = str(value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
