"""What every stand-in shares: an HTTP server, a list of what was asked, answers to give before its own, tokens."""

import secrets
import socket
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import uvicorn
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class Asked(Struct, frozen=True):
    """A request: `path` in its segments, names of headers in lower case, the body as JSON or form."""

    method: str
    path: tuple[str, ...]
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any = None


class Answer(Struct, frozen=True):
    """A JSON answer, or bytes as they are."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = {}


class StandIn:
    """An ASGI application. `first` is answered before the stand-in says anything of its own, token requests aside."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.asked: list[Asked] = []
        self.first: deque[Answer] = deque()
        self.url = ""

    def handle(self, asked: Asked) -> Answer:
        """What the vendor would say."""
        raise NotImplementedError

    def throttle(self, times: int, retry_after: str = "1", status: int = 429) -> None:
        """Refuse the next calls."""
        self.first.extend([Answer(status, {"message": "slow down"}, {"Retry-After": retry_after})] * times)

    def count(self, call: str) -> int:
        """How often `METHOD /path` was asked."""
        return Counter(self.seen)[call]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        request = Request(scope, receive)
        asked = _asked(request, await request.body())
        self.seen.append(f"{asked.method} {request.url.path}")
        self.asked.append(asked)
        answer = self.first.popleft() if self.first and asked.path[-1] != "token" else self.handle(asked)
        body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
        headers = {"Content-Type": "application/json", **answer.headers}
        bare = answer.status == 204
        await Response(b"" if bare else body, answer.status, None if bare else headers)(scope, receive, send)

    @asynccontextmanager
    async def serving(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on loopback; gives the address."""
        listening = socket.create_server(("127.0.0.1", port))
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # for the connections; asyncio forgets it here
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        config = uvicorn.Config(self, log_level="error", lifespan="off", access_log=False, timeout_graceful_shutdown=1)
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        # Not `serve`: that takes the signals of the process it runs in, and looks for its end ten times a second.
        await server.startup(sockets=[listening])
        try:
            yield self.url
        finally:
            await server.shutdown(sockets=[listening])


class OAuthStandIn(StandIn):
    """A vendor with client credentials. Each token is good for `token_seconds`, or until `expire` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.client_id, self.client_secret = "client-1", "client-secret-4711-of-the-vendor"
        self.token_seconds = 3600.0
        self.issued: list[str] = []
        self._good: dict[str, float] = {}

    def expire(self) -> None:
        """No token that was issued is good any more."""
        self._good.clear()

    def granted(self, form: Any) -> str | None:
        """A new token, None for wrong credentials."""
        form = form if isinstance(form, dict) else {}
        given = (form.get("grant_type"), form.get("client_id"), form.get("client_secret"))
        if given != ("client_credentials", self.client_id, self.client_secret) or not form.get("scope"):
            return None
        token = f"token-{secrets.token_urlsafe(24)}"
        self.issued.append(token)
        self._good[token] = time.monotonic() + self.token_seconds
        return token

    def is_good(self, headers: Mapping[str, str]) -> bool:
        """Whether a request carries a token that is good now."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and self._good.get(token, 0.0) > time.monotonic()


def _asked(request: Request, body: bytes) -> Asked:
    path = tuple(part for part in request.url.path.split("/") if part)
    kind = request.headers.get("content-type", "")
    read: Any = None
    if body:
        read = dict(parse_qsl(body.decode())) if "form" in kind else msgspec.json.decode(body)
    return Asked(request.method, path, dict(request.query_params), request.headers, read)
