"""The gateway as commands see it: JSON in, JSON out, problems as `CommandFailed` that says what to do."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any
from urllib.parse import quote

import httpx

from runlane.client.sse import ServerEvent, read_events

from .connection import Target
from .problems import FAILED, UNREACHABLE, USAGE, CommandFailed

_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 45.0  # a synchronous call waits up to 30


class GatewayRefused(CommandFailed):
    """The gateway answered with an error. `envelope` is its body."""

    def __init__(self, message: str, exit_code: int, status: int, envelope: Mapping[str, Any]) -> None:
        super().__init__(message, exit_code)
        self.status, self.envelope = status, envelope


class GatewayUnreachable(CommandFailed):
    """Nobody answered."""


class Gateway:
    """A connection to one gateway. Use it in a `with` block."""

    def __init__(self, target: Target) -> None:
        self.target = target
        headers = {"Authorization": f"Bearer {target.key}"}
        if target.org is not None:
            headers["X-Organization-Id"] = target.org
        timeout = httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS)
        # Proxies of the environment are meant for the world outside.
        self._http = httpx.Client(base_url=target.url, headers=headers, timeout=timeout, trust_env=not target.local)

    def __enter__(self) -> "Gateway":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, at: TracebackType | None
    ) -> None:
        self._http.close()

    @property
    def org(self) -> str:
        """The organisation that a path needs; raises `CommandFailed` when none was named."""
        if self.target.org is None:
            raise CommandFailed("Which organisation? Give one with --org or in RUNLANE_ORG.", USAGE)
        return self.target.org

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at a path; parameters that are None are left out."""
        return self._call("GET", path, params={name: value for name, value in query.items() if value is not None})

    def post(self, path: str, body: object = None, headers: Mapping[str, str] | None = None, **query: Any) -> Any:
        params = {name: value for name, value in query.items() if value is not None}
        return self._call("POST", path, json={} if body is None else body, headers=dict(headers or {}), params=params)

    def post_bytes(self, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
        """Post what is no JSON document; `headers` say what it is."""
        return self._call("POST", path, content=body, headers=dict(headers))

    def put(self, path: str, body: object) -> Any:
        return self._call("PUT", path, json=body)

    def delete(self, path: str) -> None:
        self._call("DELETE", path)

    def every(self, path: str, name: str, **query: Any) -> list[Any]:
        """All of a list that is called `name` in its pages, however many there are."""
        found: list[Any] = []
        after: str | None = None
        while True:
            page = self.get(path, after=after, **query)
            found += page[name]
            after = page.get("next")
            if after is None:
                return found

    @contextmanager
    def events(self, execution_id: str, after: str | None, quiet_seconds: float) -> Iterator[Iterator[ServerEvent]]:
        """What an execution tells, live, until the gateway has no more to say. Once entered, the gateway is there.

        Raises `GatewayUnreachable` when the connection breaks or says nothing for `quiet_seconds`.
        """
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        timeout = httpx.Timeout(quiet_seconds, connect=min(_CONNECT_SECONDS, quiet_seconds))
        path = f"/executions/{escaped(execution_id)}/events"
        with self._reaching(), self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise _refusal(response)
            yield read_events(response.iter_lines())

    def _call(self, method: str, path: str, **rest: Any) -> Any:
        with self._reaching():
            response = self._http.request(method, path, **rest)
        if response.is_success:
            return response.json() if response.content else None
        raise _refusal(response)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.InvalidURL as problem:
            raise CommandFailed(f"{self.target.url!r} is not a usable URL: {problem}.", USAGE) from None
        except httpx.TransportError as problem:
            raise GatewayUnreachable(self._unreachable(problem), UNREACHABLE) from None

    def _unreachable(self, problem: httpx.TransportError) -> str:
        reason = str(problem) or type(problem).__name__
        hint = "Look whether it runs there; --url or RUNLANE_URL names another."
        if self.target.data is not None:
            hint = f"Start it with `runlane up --data {self.target.data}`."
        return f"The engine at {self.target.url} cannot be reached ({reason}). {hint}"


def escaped(segment: str) -> str:
    """One segment of a path, whatever it holds."""
    return quote(segment, safe="")


def _refusal(response: httpx.Response) -> GatewayRefused:
    try:
        body = response.json()
    except ValueError:
        body = None
    envelope: Mapping[str, Any] = body if isinstance(body, dict) else {}
    message = str(envelope.get("message") or f"the answer was HTTP {response.status_code}")
    field = (envelope.get("details") or {}).get("field")
    if field is not None and str(field) not in message:
        message = f"{field}: {message}"
    if response.status_code == httpx.codes.UNAUTHORIZED:
        message += " Check --key or RUNLANE_API_KEY."
    return GatewayRefused(message, _exit_code(response.status_code), response.status_code, envelope)


def _exit_code(status: int) -> int:
    if status == httpx.codes.SERVICE_UNAVAILABLE:
        return UNREACHABLE
    return USAGE if httpx.codes.is_client_error(status) else FAILED
