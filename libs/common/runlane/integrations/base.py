"""`BaseIntegration`: what a client of a vendor's API stands on (SPEC §8). Authors derive; `Context` makes instances.

A subclass with an `integration_name` is registered by being defined. Every request that goes through `self.http_client`
or `self.request` is in the execution's record; see `calls` for what happens when the author records one as well.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar, cast
from urllib.parse import quote

import httpx
from msgspec import Struct

from runlane.addresses import is_allowed
from runlane.context import Context
from runlane.errors import ConfigurationError, DefinitionError, IntegrationError, ValidationError
from runlane.ids import is_token
from runlane.integrations.answers import document, vendor_message
from runlane.integrations.calls import COST, ENDPOINT, CallRecorder, Limits, TrackedClient, in_words, origin
from runlane.integrations.guard import AddressRefused, GuardedTransport
from runlane.integrations.throttle import Patience, Throttle
from runlane.registry import register_integration

_PLACE = re.compile(r"\{(\w+)\}")


class Token(Struct, frozen=True):
    """An access token, to be used for so many seconds."""

    value: str
    seconds: float


class _Call(Struct, frozen=True):
    """A request as it was asked for. `endpoint`: the template without its query, for records and errors."""

    method: str
    url: str
    endpoint: str
    options: dict[str, Any]
    headers: Mapping[str, str]
    cost: int = 1

    @property
    def named(self) -> str:
        return f"{self.method} {self.endpoint}"


class BaseIntegration:
    """One vendor's API on behalf of one execution.

    Derive, set `integration_name`, write `authenticate` and a method for each thing it can do. `api_url` is the
    configuration value `{integration_name}_api_url` unless the subclass sets it. Addresses must be https and public,
    unless an operator allows the host (RUNLANE_ALLOWED_HOSTS).
    """

    integration_name: ClassVar[str] = ""
    #: What configuration keys begin with; the integration's name where it is empty.
    config_prefix: ClassVar[str] = ""
    #: The organisation's call budget unless `{prefix}_calls_per_minute` is set; 0: calls are not counted.
    calls_per_minute: ClassVar[float] = 0
    #: The vendor's own domains. Where they are known, credentials go nowhere else unless an operator allows the host:
    #: whoever may change an address must not learn a secret by it. Empty: anywhere that is public.
    vendor_domains: ClassVar[tuple[str, ...]] = ()
    #: Each request: seconds for connecting and for each wait for data, seconds in all, bytes of the answer.
    limits: ClassVar[Limits] = Limits(wait_seconds=30.0, total_seconds=120.0, body_bytes=32 * 1024 * 1024)

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
        self._throttle = Throttle(context, self.integration_name, self._prefix, self.calls_per_minute)
        self._client: httpx.AsyncClient | None = None
        self._token: str | None = None
        self._refused: str | None = None
        self._token_lock = asyncio.Lock()
        self._authenticating: asyncio.Task[Any] | None = None

    # --- for authors ----------------------------------------------------------------------------------------------

    @property
    def api_url(self) -> str:
        """Where the API is; raises `ConfigurationError` when the organisation has no `{integration_name}_api_url`."""
        return self.required_config("api_url")

    def get_config(self, key: str, default: Any = None) -> Any:
        """The organisation's value of `key`, else the platform's, else `default`."""
        return self.context.get_config(key, default)

    def required_config(self, name: str, example: str = "VALUE") -> str:
        """The text configured as `{prefix}_{name}`; raises `ConfigurationError` saying how to set it."""
        key = f"{self._prefix}_{name}"
        value = self.get_config(key)
        if not isinstance(value, str) or not value.strip():
            is_not = "is not set" if value is None or value == "" else "is not a text"
            raise ConfigurationError(
                f"{key} {is_not} for organisation {self.context.org_id!r}: runlane config set {key} {example}", key
            )
        return value.strip()

    async def get_secret(self, key: str) -> str:
        """The organisation's secret; raises `ConfigurationError` when there is none."""
        return str(await self.context.get_secret(key))

    async def authenticate(self) -> str:
        """Return a bearer token. `request` calls it when it needs one; fetch it with `self.http_client`."""
        raise ConfigurationError(f"The integration {self.integration_name!r} does not say how to authenticate.")

    async def shared_token(self, client: str, fetch: Callable[[], Awaitable[Token]]) -> str:
        """For `authenticate`: the organisation's token for `client`, shared by all its executions.

        `fetch` is called when there is none, it has expired or the vendor took it no longer; one execution does so at a
        time. `client` says whose token it is (an address and a client id), and holds no secret.
        """
        vendors, key = self.context.runtime.vendors(), f"{self.integration_name}|{client}"
        value = await vendors.cached_token(key, self._refused)
        if value is None:
            token: Token | None = None
            try:
                token = await fetch()
            finally:
                if token is None:
                    vendors.remember_token(key, None)
                else:
                    vendors.remember_token(key, token.value, token.seconds)
            value = token.value
        self.context.redactor.learn(value)
        return value

    def auth_headers(self, token: str) -> dict[str, str]:
        """What `request` sends to prove who it is; override it where the API wants no bearer token."""
        return {"Authorization": f"Bearer {token}"}

    @property
    def http_client(self) -> httpx.AsyncClient:
        """An HTTP client whose every request is recorded. Redirects are followed on the same host only."""
        if self._client is None:
            transport = GuardedTransport(self.context.runtime.vendors().allowed_hosts)
            self._client = TrackedClient(self._calls, self.limits, self._throttle.allowance, transport)
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
        the template. `options` (`data`, `content`, `files`, `timeout`, …) go to httpx, but for `url`, a whole address
        of the same host to call instead, and `cost`, how many calls it counts for. A token that the API no longer
        takes (401) is renewed once; 429, and 503 where that is safe, are repeated when the vendor says so.

        Raises `IntegrationError` for a status of 400 or more (its `status_code`), for a redirect to another host, and
        when there is no answer; `ValidationError` for path values that do not fit; `ConfigurationError` for an address
        that integrations may not use.
        """
        whole, cost = options.pop("url", None), options.pop("cost", 1)
        url = self.api_url.rstrip("/") + fill(endpoint, path or {})
        call = _Call(
            method=method.upper(),
            url=url if whole is None else self._of_same_host(whole, url),
            endpoint=endpoint.partition("?")[0],
            options={"json": json, "params": params, **options},
            headers=headers or {},
            cost=cost,
        )
        response = await self._answer(call)
        self._check(call, response)
        return response

    async def request_json(self, method: str, endpoint: str, **options: Any) -> Any:
        """`request`, and the JSON of its answer: None where that is empty, `IntegrationError` where it is no JSON."""
        response = await self.request(method, endpoint, **options)
        return self._read(f"{method.upper()} {endpoint.partition('?')[0]}", response)

    async def post_form(self, url: str, form: Mapping[str, str], params: Mapping[str, str], advice: str) -> Any:
        """For `authenticate`: post a form without a token, and the JSON of the answer. `advice` ends what is raised."""
        options: dict[str, Any] = {"data": form, "params": params or None}
        call = _Call("POST", url, httpx.URL(url).path, options, {"Accept": "application/json"})
        response = await self._answer(call, authenticated=False)
        self._check(call, response, advice)
        return self._read(call.named, response)

    # --- for the engine -------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Close the connections; `Context` does so when the execution ends."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    @property
    def _prefix(self) -> str:
        return self.config_prefix or self.integration_name

    async def _bearer(self, refused: str | None = None) -> str:
        """The token, fetched where there is none but the `refused` one; those who need it at once share the fetch."""
        if self._authenticating is not None and self._authenticating is asyncio.current_task():
            raise IntegrationError(self.integration_name, "authenticate() must use self.http_client, not self.request")
        async with self._token_lock:
            if self._token is None or self._token == refused:
                self._authenticating, self._refused = asyncio.current_task(), refused
                try:
                    self._token = await self.authenticate()
                finally:
                    self._authenticating = None
            return self._token

    async def _answer(self, call: _Call, authenticated: bool = True) -> httpx.Response:
        """Send it, and again after a refused token or when the vendor was too busy."""
        token = await self._bearer() if authenticated else None
        renewed, patience = not authenticated, Patience()
        while True:
            response = await self._send(call, {} if token is None else self.auth_headers(token))
            if response.status_code == httpx.codes.UNAUTHORIZED and not renewed:
                refused, token, renewed = token, await self._bearer(refused=token), True
                if token == refused:
                    return response
            elif not await self._throttle.again(response, patience):
                return response

    async def _send(self, call: _Call, proof: Mapping[str, str]) -> httpx.Response:
        self._check_host(call.url)
        extensions = {ENDPOINT: call.endpoint, COST: call.cost}
        try:
            return await self.http_client.request(
                call.method, call.url, headers={**proof, **call.headers}, extensions=extensions, **call.options
            )
        except AddressRefused as problem:
            raise ConfigurationError(f"{self.integration_name}: {problem}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            # httpx's own words may quote a header or the whole URL.
            raise self._error(call, f"failed: {in_words(problem)}", None) from None

    def _check(self, call: _Call, response: httpx.Response, advice: str = "") -> None:
        """Raise for an answer that is none."""
        status = response.status_code
        if status >= 400:
            said = vendor_message(response)
            asked = response.headers.get("Retry-After", "")
            parts = (self.context.redactor.text(said) if said else "", advice, asked and f"Retry-After: {asked[:40]}")
            told = "; ".join(part for part in parts if part)
            raise self._error(call, f"answered {status} {response.reason_phrase}{told and ': '}{told}", status)
        onward = response.next_request
        if onward is not None:
            where = "too often" if origin(onward.url) == origin(response.url) else "to another host"
            raise self._error(call, f"redirects {where}, which is not followed", status)

    def _read(self, what: str, response: httpx.Response) -> Any:
        return document(self.integration_name, what, response)

    def _check_host(self, address: str) -> None:
        try:
            url = httpx.URL(address)
        except httpx.InvalidURL:
            return  # sending it fails, and says so
        host, port = url.host, url.port or (443 if url.scheme == "https" else 80)
        of_vendor = not self.vendor_domains or f".{host}".endswith(tuple(f".{name}" for name in self.vendor_domains))
        if not of_vendor and not is_allowed(host, port, self.context.runtime.vendors().allowed_hosts):
            raise ConfigurationError(
                f"{self.integration_name}: {host} is no host of {' or '.join(self.vendor_domains)}. Correct the "
                f"address, or have an operator set RUNLANE_ALLOWED_HOSTS={host}:{port} where the executor starts."
            )

    def _of_same_host(self, url: str, api_url: str) -> str:
        try:
            if origin(httpx.URL(url)) == origin(httpx.URL(api_url)):
                return url
        except httpx.InvalidURL:
            pass
        raise IntegrationError(self.integration_name, "An address that the API gave is not of its own host")

    def _error(self, call: _Call, what: str, status_code: int | None) -> IntegrationError:
        return IntegrationError(self.integration_name, f"{call.named} {what}", status_code)


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
