"""The outermost ASGI application: nothing gets past it without a key, and every exception becomes an answer here.

Whatever is not open (`needs_key`) needs a key, unknown paths too, so a door that is forgotten here is closed. Hot doors
are tried first and reached without FastAPI; it serves the rest.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence

from prometheus_client import Counter, Histogram
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from runlane.contracts.directory import PLATFORM
from runlane.errors import Unauthorized
from runlane.tracing import Span, Tracer

from .answers import refusal
from .auth import Authenticator
from .call_rates import CallRates
from .calls import traceparent_of
from .parts import HEADERS, PRINCIPAL, RATES, named_organisation
from .principals import Principal

#: The only paths that answer without a key.
OPEN = frozenset({"/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json"})

#: And this one: a sender of webhooks has its own ways to prove who it is. Managing it, and what is below, needs a key.
_WEBHOOK = re.compile(r"/webhooks/[^/]+/[^/]+")
_MANAGING = frozenset({"GET", "PUT", "DELETE"})

#: And the console's own files, which are the same for everybody.
_CONSOLE = "/console/"

#: And where people come in through an identity provider: who comes there has nothing to show yet.
_SIGN_IN = re.compile(r"/sign-in(/[^/]+)?")

_requests = Counter("runlane_http_requests", "Requests answered.", ["door", "method", "status"])
_seconds = Histogram(
    "runlane_http_seconds",
    "From the request's headers to the end of the answer.",
    ["door"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_CLOSE = (b"connection", b"close")
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def needs_key(method: str, path: str) -> bool:
    """Whether a request is refused without a key."""
    if path in OPEN or (method == "GET" and path.startswith(_CONSOLE)) or _SIGN_IN.fullmatch(path):
        return False
    return method in _MANAGING or _WEBHOOK.fullmatch(path) is None


class Gate:
    """Authenticates, dispatches, counts. While it is leaving, each connection gets one more answer."""

    def __init__(self, authenticator: Authenticator, hot: Sequence[Route], rest: ASGIApp) -> None:
        self._authenticator, self._hot, self._rest = authenticator, hot, rest
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._active = 0
        self._idle = asyncio.Event()
        self.leaving, self.closing = asyncio.Event(), asyncio.Event()
        #: Every route behind it, set once they are put together: for whoever wants to know what there is.
        self.routes: Sequence[BaseRoute] = ()
        #: Set where somebody collects spans.
        self.tracer: Tracer | None = None
        #: Set where callers may not call as often as they like.
        self.rates: CallRates | None = None

    def leave(self) -> None:
        """Not ready any more: callers are to go elsewhere, and every answer says so to their connections."""
        self.leaving.set()

    async def close(self) -> None:
        """Streams end; returns when every call that came has been answered."""
        self.leave()
        self.closing.set()
        if self._active:
            await self._idle.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # uvicorn, which has its own scope, leaves out the body
        began, status = time.perf_counter(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                added = [*scope.get(RATES, ()), *([_CLOSE] if self.leaving.is_set() else ())]
                if added:
                    message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        scope[HEADERS] = dict(scope["headers"])
        span = None if self.tracer is None else _begin(self.tracer, scope)
        self._active += 1
        try:
            await self._pass(scope, receive, sending)
        except Exception as problem:
            await self._refuse(problem, scope, receive, sending, started=status != 0)
        finally:
            self._active -= 1
            if self.closing.is_set() and not self._active:
                self._idle.set()
            self._count(scope, status, time.perf_counter() - began)
            if span is not None:
                _end(span, scope, status)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = scope[HEADERS]
        if needs_key(scope["method"], scope["path"]):
            principal = scope[PRINCIPAL] = await self._principal(scope["headers"], headers)
            if self.rates is not None:
                await self.rates.admit(scope, principal)
        for route in self._hot:
            match, found = route.matches(scope)
            if match is Match.FULL:
                scope["route"] = route
                scope.update(found)
                await route.app(scope, receive, send)
                return
        await self._rest(scope, receive, send)

    async def _principal(self, given: Sequence[tuple[bytes, bytes]], headers: Mapping[bytes, bytes]) -> Principal:
        """Who calls. A caller that may do more in some organisations than in others is taken for what it is in the one
        that it names."""
        if len(headers) != len(given) and sum(name == b"authorization" for name, _ in given) > 1:
            raise Unauthorized("There is more than one Authorization header.")
        principal = await self._authenticator.authenticate(headers.get(b"authorization"))
        named = named_organisation(headers) if principal.grants else None
        return principal if named is None or named == PLATFORM else principal.within(named)

    async def _refuse(self, problem: Exception, scope: Scope, receive: Receive, send: Send, *, started: bool) -> None:
        answer = refusal(problem)
        if not started:
            await answer(scope, receive, send)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = scope.get("route")
        door = getattr(route, "path", "unknown")
        method = _method(scope)
        key = (door, method, status)
        child = self._children.get(key)
        if child is None:
            child = (_requests.labels(door, method, status), _seconds.labels(door))
            self._children[key] = child
        child[0].inc()
        child[1].observe(seconds)


def _method(scope: Scope) -> str:
    method: str = scope["method"]
    return method if method in _METHODS else "other"


def _begin(tracer: Tracer, scope: Scope) -> Span | None:
    """A span for the request, of which whatever it starts becomes a part. Probes and scrapes leave none."""
    if scope["path"] in OPEN:
        return None
    headers = scope[HEADERS]
    span = tracer.begin(_method(scope), "server", {}, parent=traceparent_of(headers))
    headers[b"traceparent"] = span.traceparent.encode()
    return span


def _end(span: Span, scope: Scope, status: int) -> None:
    method, door = _method(scope), getattr(scope.get("route"), "path", "unknown")
    facts = {"http.request.method": method, "http.route": door, "http.response.status_code": status}
    span.end(facts, f"HTTP {status}" if status >= 500 or status == 0 else None, name=f"{method} {door}")
