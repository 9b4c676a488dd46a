"""Posts one signed event to a subscription's address and says what became of it. Called by `courier`."""

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from runlane import standard_webhooks
from runlane.integrations.guard import AddressRefused, GuardedTransport

#: From the first byte that is sent to the last that is read of the answer.
POST_SECONDS = 15.0
#: Of an answer so much is read, and nothing kept: then its connection can be used again.
_MOST_ANSWERED = 64 * 1024
#: However long a receiver asks us to wait, it is asked again after so many seconds.
_LONGEST_WAIT = 3600.0
#: What is of use to the engine only: the trace is in the record, and sealed bytes open nowhere else.
_OURS = ("trace", "sealed_input", "digest", "request")
_TYPE_PREFIX = "dev.runlane.execution."


class Parcel(Struct, frozen=True):
    """What is posted. `id` is the event's own, the same at every attempt: a receiver tells repetitions by it."""

    id: str
    type: str
    body: bytes


class Answered(Struct, frozen=True):
    """What came of a POST. `status` None: no answer, and `problem` says why. `wait`: seconds the receiver asked for."""

    status: int | None
    duration_ms: int
    problem: str | None = None
    wait: float = 0

    @property
    def arrived(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def parcel_of(payload: bytes) -> Parcel:
    """An event as a subscriber gets it. Raises `msgspec.DecodeError`, `KeyError` for what is no event."""
    event: dict[str, Any] = msgspec.json.decode(payload)
    data = event.get("data")
    if isinstance(data, dict):
        event["data"] = data = {name: value for name, value in data.items() if name not in _OURS}
        if isinstance(failure := data.get("failure"), dict):
            failure.pop("internal", None)  # the traceback: records show it with canViewInternals only
    return Parcel(event["id"], str(event["type"]).removeprefix(_TYPE_PREFIX), msgspec.json.encode(event))


class Poster:
    """Keeps connections. It goes where integrations may: https and public addresses, and the `allowed` hosts."""

    def __init__(self, allowed: frozenset[str]) -> None:
        # Couriers bound what they post at once, each for itself: one bound for all would let silent receivers
        # keep the others waiting.
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(allowed, connections=None), timeout=POST_SECONDS, follow_redirects=False
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def post(self, url: str, secrets: Sequence[str], parcel: Parcel, now: datetime) -> Answered:
        """Never raises for what the other side does."""
        began = time.monotonic()
        try:
            async with (
                asyncio.timeout(POST_SECONDS),
                self._client.stream(
                    "POST", url, content=parcel.body, headers=_headers(secrets, parcel, now)
                ) as response,
            ):
                await _read(response)
        except AddressRefused:
            host = httpx.URL(url).host
            return _unanswered(
                began,
                f"{host} may not be called: https and public addresses only, unless RUNLANE_ALLOWED_HOSTS names it "
                "where the scheduler starts",
            )
        except TimeoutError:
            return _unanswered(began, f"no answer within {POST_SECONDS:.0f} s")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as problem:
            # Its text may quote the address, and with it a token.
            return _unanswered(began, f"it could not be reached ({type(problem).__name__})")
        wait = _retry_after(response.headers.get("retry-after"), now) if response.status_code in (429, 503) else 0
        return Answered(response.status_code, _since(began), wait=wait)


async def _read(response: httpx.Response) -> None:
    read = 0
    async for chunk in response.aiter_raw():
        read += len(chunk)
        if read > _MOST_ANSWERED:
            return


def _headers(secrets: Sequence[str], parcel: Parcel, now: datetime) -> dict[str, str]:
    stamp = str(int(now.timestamp()))
    signatures = [
        standard_webhooks.signature(
            standard_webhooks.key_of(secret), parcel.id.encode(), stamp.encode(), parcel.body
        ).decode()
        for secret in secrets
    ]
    return {
        "content-type": "application/cloudevents+json",
        "user-agent": "Runlane",
        "webhook-id": parcel.id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(signatures),
    }


def _retry_after(value: str | None, now: datetime) -> float:
    """RFC 9110 §10.2.3: seconds, or a date."""
    if value is None:
        return 0
    if value.isascii() and value.strip().isdigit():
        return min(float(value[:12]), _LONGEST_WAIT)
    try:
        return min(max(0.0, (parsedate_to_datetime(value) - now).total_seconds()), _LONGEST_WAIT)
    except (ValueError, TypeError):
        return 0


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


def _unanswered(began: float, problem: str) -> Answered:
    return Answered(None, _since(began), problem)
