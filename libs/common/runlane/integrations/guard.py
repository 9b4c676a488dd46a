"""The transport under every integration: https only, and to public addresses only, unless the operator allows a host.

The address is checked where the connection is made, so a name that resolves differently a moment later is covered too.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterable
from functools import cache
from typing import Any

import httpcore
import httpx

from runlane.addresses import is_allowed, is_public


class AddressRefused(httpx.ConnectError):
    """An integration may not connect there. The text says what an operator can do and quotes no more than the host."""


class _Refused(httpcore.ConnectError):
    """The same below httpx."""


class GuardedTransport(httpx.AsyncHTTPTransport):
    """`httpx.AsyncHTTPTransport` that connects only where integrations may.

    Of `connections` there are so many at a time, and who comes then waits; None: as many as are asked for.
    """

    def __init__(self, allowed: frozenset[str], connections: int | None = 100) -> None:
        super().__init__(verify=_trust(), trust_env=False)
        self._allowed = allowed
        # httpx has no argument for it; httpcore's pool does.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_trust(),
            max_connections=connections,
            max_keepalive_connections=20,
            keepalive_expiry=5.0,
            network_backend=_GuardedNetwork(allowed),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        port = url.port or (443 if url.scheme == "https" else 80)
        if url.scheme != "https" and not is_allowed(url.host, port, self._allowed):
            raise AddressRefused(
                f"{url.host} is addressed by {url.scheme}, and integrations use https only. Correct the address, or "
                f"have an operator set RUNLANE_ALLOWED_HOSTS={url.host}:{port} where the executor starts.",
                request=request,
            )
        try:
            return await super().handle_async_request(request)
        except httpx.ConnectError as problem:
            if isinstance(problem.__cause__, _Refused):
                raise AddressRefused(str(problem), request=request) from None
            raise


class _GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name, and connects to one of its addresses that may be connected to."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        found = await _addresses(host, port, timeout)
        usable = (
            found if is_allowed(host, port, self._allowed) else [address for address in found if is_public(address)]
        )
        if not usable:
            raise _Refused(
                f"{host} is at {found[0]}, which is no public address. Correct the address, or have an operator set "
                f"RUNLANE_ALLOWED_HOSTS={host}:{port} where the executor starts."
            )
        share = None if timeout is None else timeout / len(usable)
        problem: Exception | None = None
        for address in usable:
            try:
                return await self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failed:
                problem = problem or failed
        assert problem is not None
        raise problem

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def _addresses(host: str, port: int, timeout: float | None) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await asyncio.wait_for(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), timeout)
    except TimeoutError:
        raise httpcore.ConnectTimeout(f"{host} could not be resolved in time") from None
    except (OSError, UnicodeError):
        raise httpcore.ConnectError(f"{host} cannot be resolved to an address") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@cache
def _trust() -> ssl.SSLContext:
    """Which certificates are trusted: those that httpx brings, or SSL_CERT_FILE. Reading them takes a while."""
    return httpx.create_ssl_context()
