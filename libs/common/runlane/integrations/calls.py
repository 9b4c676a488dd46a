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
from typing import Any

import httpx

from runlane.context import Context

#: The request extension that says how a request's endpoint is to be recorded.
ENDPOINT = "runlane.endpoint"

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


class TrackedClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` that records each request, and follows redirects to the same origin only."""

    def __init__(self, calls: CallRecorder, **options: Any) -> None:
        super().__init__(**options)
        self._calls = calls

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """As in httpx. The time recorded includes the body, unless it is streamed."""
        started = time.perf_counter()
        try:
            response = await self._send_within_origin(request, options)
        except (Exception, asyncio.CancelledError) as problem:
            self._calls.record(request, started, None, in_words(problem))
            raise
        failed = response.status_code >= 400
        error = f"HTTP {response.status_code} {response.reason_phrase}".rstrip() if failed else None
        self._calls.record(request, started, response.status_code, error)
        return response

    async def _send_within_origin(self, request: httpx.Request, options: dict[str, Any]) -> httpx.Response:
        chosen = options.pop("follow_redirects", httpx.USE_CLIENT_DEFAULT)
        follow = chosen if isinstance(chosen, bool) else self.follow_redirects
        response = await super().send(request, follow_redirects=False, **options)
        for _ in range(_MAX_REDIRECTS):
            onward = response.next_request
            if not follow or onward is None or _origin(onward.url) != _origin(request.url):
                break
            await response.aclose()
            response = await super().send(onward, follow_redirects=False, **options)
        return response


def endpoint_of(request: httpx.Request) -> str:
    """The template that `BaseIntegration.request` named, else the path: never the query, which may hold secrets."""
    named = request.extensions.get(ENDPOINT)
    return named if isinstance(named, str) else request.url.raw_path.decode("ascii").partition("?")[0]


def in_words(problem: BaseException) -> str:
    """What went wrong, without what httpx may quote: URLs with credentials, header values."""
    kind = type(problem).__name__
    # The system's words for an address that cannot be reached ("Connection refused", a bad certificate) quote nothing.
    return f"{kind}: {problem}" if isinstance(problem, httpx.ConnectError) else kind


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
