"""`BaseIntegration`: what a client of a vendor's API stands on (SPEC §8). Authors derive; `Context` makes instances.

A subclass with an `integration_name` is registered by being defined. Every request that goes through `self.http_client`
or `self.request` is in the execution's record; see `calls` for what happens when the author records one as well.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, ClassVar, cast
from urllib.parse import quote

import httpx
from msgspec import Struct

from runlane.context import Context
from runlane.errors import ConfigurationError, DefinitionError, IntegrationError, ValidationError
from runlane.ids import is_token
from runlane.integrations.calls import ENDPOINT, CallRecorder, TrackedClient, in_words
from runlane.registry import register_integration

#: Seconds for connecting, and for each wait for data.
TIMEOUT_SECONDS = 30.0

_PLACE = re.compile(r"\{(\w+)\}")


class _Call(Struct, frozen=True):
    """A request as `request` was asked for it. `endpoint`: the template without its query, for records and errors."""

    method: str
    url: str
    endpoint: str
    options: dict[str, Any]
    headers: Mapping[str, str]


class BaseIntegration:
    """One vendor's API on behalf of one execution.

    Derive, set `integration_name`, write `authenticate` and a method for each thing it can do. `api_url` is the
    configuration value `{integration_name}_api_url` unless the subclass sets it.
    """

    integration_name: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if "integration_name" not in cls.__dict__:
            return
        if not is_token(cls.integration_name):
            raise DefinitionError(
                f"{cls.__module__}.{cls.__qualname__}: integration_name must be 1 to 64 of the characters "
                f"A-Z a-z 0-9 _ - and begin with a letter or digit, not {cls.integration_name!r}"
            )
        register_integration(cls.integration_name, cls)

    def __init__(self, context: Context) -> None:
        self._calls = CallRecorder(context, self.integration_name)
        #: The execution's context.
        self.context = cast(Context, self._calls)
        self._client: httpx.AsyncClient | None = None
        self._token: str | None = None
        self._token_lock = asyncio.Lock()
        self._authenticating: asyncio.Task[Any] | None = None

    # --- for authors ----------------------------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        """Where the API is; raises `ConfigurationError` when the organisation has no `{integration_name}_api_url`."""
        key = f"{self.integration_name}_api_url"
        value = self.get_config(key)
        if not isinstance(value, str) or not value:
            raise ConfigurationError(f"{key} is not set for organisation {self.context.org_id!r}", key)
        return value

    def get_config(self, key: str, default: Any = None) -> Any:
        """The organisation's value of `key`, else the platform's, else `default`."""
        return self.context.get_config(key, default)

    async def get_secret(self, key: str) -> str:
        """The organisation's secret; raises `ConfigurationError` when there is none."""
        return str(await self.context.get_secret(key))

    async def authenticate(self) -> str:
        """Return a bearer token. `request` calls it when it needs one; fetch it with `self.http_client`."""
        raise ConfigurationError(f"The integration {self.integration_name!r} does not say how to authenticate.")

    def auth_headers(self, token: str) -> dict[str, str]:
        """What `request` sends to prove who it is; override it where the API wants no bearer token."""
        return {"Authorization": f"Bearer {token}"}

    @property
    def http_client(self) -> httpx.AsyncClient:
        """An HTTP client whose every request is recorded. Redirects are followed on the same host only."""
        if self._client is None:
            self._client = TrackedClient(self._calls, timeout=TIMEOUT_SECONDS, follow_redirects=True)
        return self._client

    async def request(
        self,
        method: str,
        endpoint: str,
        *,
        path: Mapping[str, object] | None = None,
        json: object = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> httpx.Response:
        """Call the API at `api_url` + `endpoint`, authenticated; the answer has a status below 400.

        `endpoint` is a template such as `/v1.0/groups/{id}`: `path={"id": …}` fills it in, quoted, and the record shows
        the template. `options` (`data`, `content`, `files`, `timeout`, …) go to httpx. A token that the API no longer
        takes (401) is renewed once.

        Raises `IntegrationError` for a status of 400 or more (its `status_code`), for a redirect to another host, and
        when there is no answer; `ValidationError` for path values that do not fit.
        """
        call = _Call(
            method=method.upper(),
            url=self.api_url.rstrip("/") + fill(endpoint, path or {}),
            endpoint=endpoint.partition("?")[0],
            options={"json": json, "params": params, **options},
            headers=headers or {},
        )
        token = await self._bearer()
        response = await self._send(call, token)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            response = await self._send(call, await self._bearer(refused=token))
        if response.status_code >= 400:
            raise self._error(call, f"answered {response.status_code} {response.reason_phrase}", response.status_code)
        if response.has_redirect_location:
            raise self._error(call, "redirects to another host, which is not followed", response.status_code)
        return response

    # --- for the engine -------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the connections; `Context` does so when the execution ends."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _bearer(self, refused: str | None = None) -> str:
        """The token, fetched where there is none but the `refused` one; those who need it at once share the fetch."""
        if self._authenticating is not None and self._authenticating is asyncio.current_task():
            raise IntegrationError(self.integration_name, "authenticate() must use self.http_client, not self.request")
        async with self._token_lock:
            if self._token is None or self._token == refused:
                self._authenticating = asyncio.current_task()
                try:
                    self._token = await self.authenticate()
                finally:
                    self._authenticating = None
            return self._token

    async def _send(self, call: _Call, token: str) -> httpx.Response:
        headers = {**self.auth_headers(token), **call.headers}
        extensions = {ENDPOINT: call.endpoint}
        try:
            return await self.http_client.request(
                call.method, call.url, headers=headers, extensions=extensions, **call.options
            )
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            # httpx's own words may quote a header or the whole URL.
            raise self._error(call, f"failed: {in_words(problem)}", None) from None

    def _error(self, call: _Call, what: str, status_code: int | None) -> IntegrationError:
        return IntegrationError(self.integration_name, f"{call.method} {call.endpoint} {what}", status_code)


def fill(template: str, values: Mapping[str, object]) -> str:
    """`/v1.0/groups/{id}` with its places filled in, each value quoted so that it stays one segment of the path."""
    places = set(_PLACE.findall(template))
    if odd := places ^ set(values):
        raise ValidationError(f"{template} needs exactly the path values {sorted(places)}", min(odd))
    return _PLACE.sub(lambda place: _segment(place[1], str(values[place[1]])), template)


def _segment(name: str, value: str) -> str:
    # Empty or made of dots it would name another resource than the template says, and be so even if quoted.
    if value in ("", ".", ".."):
        raise ValidationError(f"{value!r} cannot be part of an address", name)
    return quote(value, safe="")
