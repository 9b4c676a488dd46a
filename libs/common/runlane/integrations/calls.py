"""Records what an integration sends: one entry for each request, whoever makes it. Used by `base` only.

Where an author records by hand too (SPEC §8 does), this is the rule: each request recorded here takes up one later
record by hand of the same method and endpoint, be that the whole path, its end, or a template of it. So
`http_client.post(…)` and then `context._track_integration_call(…)` make one entry; what is sent in other ways is
recorded as the author says.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from msgspec import Struct

from runlane.context import Context

#: The request extension that says how a request's endpoint is to be recorded.
ENDPOINT = "runlane.endpoint"
#: The request extension that says how many calls a request counts for in the vendor's budget.
COST = "runlane.cost"

#: Requests that may wait for a record by hand: enough for many at once, few enough to mean "just now".
_REMEMBERED = 64
_MAX_REDIRECTS = 5


class CallRecorder:
    """The execution's Context as one integration sees it: all of it, but it knows which calls are recorded already."""

    def __init__(self, context: Context, integration: str) -> None:
        self._context, self._integration = context, integration
        self._recorded: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    def record(self, request: httpx.Request, started: float, status_code: int | None, error: str | None) -> None:
        """Record a request that was made. `started` is a `time.perf_counter`."""
        endpoint = endpoint_of(request)
        self._recorded.append((request.method, endpoint))
        duration_ms = int((time.perf_counter() - started) * 1000)
        self._context._track_integration_call(
            self._integration, request.method, endpoint, status_code, duration_ms, error
        )

    def _track_integration_call(
        self,
        integration: str,
        method: str,
        endpoint: str,
        status_code: int | None,
        duration_ms: int,
        error: str | None = None,
    ) -> None:
        """Record by hand, unless this call is recorded already."""
        if integration == self._integration and self._take_up(method.upper(), endpoint):
            return
        self._context._track_integration_call(integration, method, endpoint, status_code, duration_ms, error)

    def _take_up(self, method: str, endpoint: str) -> bool:
        parts = re.split(r"\{\w+\}", endpoint.partition("?")[0].rstrip("/"))
        path = re.compile("[^/]+".join(map(re.escape, parts)) + "/?$")
        for known in reversed(self._recorded):
            if known[0] == method and (known[1] == endpoint or path.search(known[1])):
                self._recorded.remove(known)
                return True
        return False


class Limits(Struct, frozen=True):
    """What one request may take: seconds for each wait, seconds in all, bytes of the answer once decompressed."""

    wait_seconds: float
    total_seconds: float
    body_bytes: int


class BodyTooLarge(httpx.ReadError):
    """The vendor sent more than an answer may hold."""


class TrackedClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` that records each request, keeps `Limits`, and follows redirects to the same origin only.

    `allowance` is awaited before each request; it waits until the vendor may be called so many times more.
    Proxies of the environment are not used: a proxy would connect to where an integration may not.
    """

    def __init__(
        self,
        calls: CallRecorder,
        limits: Limits,
        allowance: Callable[[int], Awaitable[None]],
        transport: httpx.AsyncBaseTransport,
    ) -> None:
        super().__init__(timeout=limits.wait_seconds, follow_redirects=True, transport=transport, trust_env=False)
        self._calls, self._limits, self._allowance = calls, limits, allowance

    async def send(self, request: httpx.Request, *, stream: bool = False, **options: Any) -> httpx.Response:
        """As in httpx. The time recorded includes the body, unless it is streamed."""
        chosen = options.pop("follow_redirects", httpx.USE_CLIENT_DEFAULT)
        follow = chosen if isinstance(chosen, bool) else self.follow_redirects
        response = await self._one(request, stream, options)
        for _ in range(_MAX_REDIRECTS):
            onward = response.next_request
            if not follow or onward is None or origin(onward.url) != origin(request.url):
                break
            await response.aclose()
            response = await self._one(onward, stream, options)
        return response

    async def _one(self, request: httpx.Request, stream: bool, options: dict[str, Any]) -> httpx.Response:
        cost = request.extensions.get(COST)
        await self._allowance(cost if isinstance(cost, int) else 1)
        started = time.perf_counter()
        try:
            response = await self._answer(request, stream, options)
        except (Exception, asyncio.CancelledError) as problem:
            self._calls.record(request, started, None, in_words(problem))
            raise
        failed = response.status_code >= 400
        error = f"HTTP {response.status_code} {response.reason_phrase}".rstrip() if failed else None
        self._calls.record(request, started, response.status_code, error)
        return response

    async def _answer(self, request: httpx.Request, stream: bool, options: dict[str, Any]) -> httpx.Response:
        try:
            async with asyncio.timeout(self._limits.total_seconds):
                response = await super().send(request, stream=True, follow_redirects=False, **options)
                if not stream:
                    await self._read(response)
                return response
        except TimeoutError:
            raise httpx.ReadTimeout("", request=request) from None

    async def _read(self, response: httpx.Response) -> None:
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._limits.body_bytes:
                    raise BodyTooLarge(f"more than {self._limits.body_bytes} bytes", request=response.request)
        except BaseException:
            await response.aclose()
            raise
        response._content = bytes(body)  # as httpx's own `aread` does, which has no limit


def endpoint_of(request: httpx.Request) -> str:
    """The template that `BaseIntegration.request` named, else the path: never the query, which may hold secrets."""
    named = request.extensions.get(ENDPOINT)
    return named if isinstance(named, str) else request.url.raw_path.decode("ascii").partition("?")[0]


def in_words(problem: BaseException) -> str:
    """What went wrong, without what httpx may quote: URLs with credentials, header values."""
    kind = type(problem).__name__
    # The system's words for an address that cannot be reached ("Connection refused", a bad certificate) quote nothing.
    return f"{kind}: {problem}" if isinstance(problem, httpx.ConnectError | BodyTooLarge) else kind


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port."""
    return url.scheme, url.host, url.port
