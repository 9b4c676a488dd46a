"""The public keys of one identity provider: found by discovery, kept, fetched anew when they age or a key is missing.

Used by `tokens`. Whoever sends invented key ids makes no more requests to the provider than one every few seconds.
"""

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from msgspec import Struct

from runlane.clock import Clock
from runlane.errors import InfrastructureError
from runlane.telemetry import logger

from .identity import is_safe_url

_log = logger(__name__)

_FRESH_SECONDS = 600.0
#: Between two attempts, whoever asks and however the first one ended.
_PAUSE_SECONDS = 10.0
_FETCH_SECONDS = 10.0
_LARGEST_ANSWER = 512 * 1024
_MOST_KEYS = 100
_RSA_BITS = range(2048, 8193)

#: Not compressed, so that what is read is as large as it seems.
_ASK = {"accept": "application/json", "accept-encoding": "identity"}

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_ALGORITHMS_OF_CURVE = {
    "P-256": frozenset({"ES256"}),
    "P-384": frozenset({"ES384"}),
    "P-521": frozenset({"ES512"}),
    "Ed25519": frozenset({"EdDSA"}),
}


class ProviderUnavailable(InfrastructureError):
    """The identity provider cannot be asked now."""


class PublicKey(Struct, frozen=True):
    """A key and the signatures that it may check."""

    id: str | None
    algorithms: frozenset[str]
    key: jwt.PyJWK


class Unusable(Exception):
    """What the provider answered is of no use."""


class PublicKeys:
    """The keys of one issuer."""

    def __init__(self, issuer: str, clock: Clock, tls: ssl.SSLContext) -> None:
        self._issuer, self._clock, self._tls = issuer, clock, tls
        self._keys: list[PublicKey] = []
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        """The key of that id; without an id the only one that fits. None where the provider has no such key.

        A known key is never waited for. Raises `ProviderUnavailable` when the key is unknown and the provider away.
        """
        found = self._known(key_id, algorithm)
        if found is not None:
            if self._aged():
                self._refresh()
            return found
        fetching = self._refresh()
        if fetching is not None:
            await asyncio.shield(fetching)
            found = self._known(key_id, algorithm)
        if found is None and self._failed:
            raise ProviderUnavailable()
        return found

    def _known(self, key_id: str | None, algorithm: str) -> PublicKey | None:
        fitting = [key for key in self._keys if algorithm in key.algorithms and key_id in (None, key.id)]
        return fitting[0] if len(fitting) == 1 else None

    def _aged(self) -> bool:
        return self._fetched_at is None or self._clock.monotonic() - self._fetched_at >= _FRESH_SECONDS

    def _refresh(self) -> "asyncio.Task[None] | None":
        """The fetch that is under way, or a new one, or None when the last one was only just tried."""
        now = self._clock.monotonic()
        if self._fetching is None and (self._tried_at is None or now - self._tried_at >= _PAUSE_SECONDS):
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch(), name="provider keys")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_SECONDS):
                self._keys = await self._current_keys()
            self._fetched_at, self._failed = self._clock.monotonic(), False
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, Unusable) as problem:
            self._failed = True
            reason = str(problem) or type(problem).__name__
            _log.warning("keys of the identity provider cannot be had", issuer=self._issuer, reason=reason[:300])
        finally:
            self._fetching = None

    async def _current_keys(self) -> list[PublicKey]:
        async with httpx.AsyncClient(verify=self._tls, timeout=_FETCH_SECONDS, follow_redirects=False) as client:
            discovered = await discover(client, self._issuer)
            url = discovered.get("jwks_uri")
            if not isinstance(url, str) or not is_safe_url(url):
                raise Unusable("jwks_uri is not an https URL")
            listed = (await json_at(client, url)).get("keys")
        keys = list(_public_keys(listed[:_MOST_KEYS])) if isinstance(listed, list) else []
        if not keys:
            raise Unusable("there is no usable key in its key set")
        return keys


async def discover(client: httpx.AsyncClient, issuer: str) -> dict[str, Any]:
    """The discovery document of an issuer. Raises `Unusable`, and what httpx raises."""
    discovered = await json_at(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if discovered.get("issuer") != issuer:
        raise Unusable("the discovery document is another issuer's")
    return discovered


async def json_at(client: httpx.AsyncClient, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The JSON object at a URL, or that a form is answered with, if it is one of bearable size."""
    body = bytearray()
    method = "GET" if form is None else "POST"
    async with client.stream(method, url, headers=_ASK, data=None if form is None else dict(form)) as response:
        if response.status_code != httpx.codes.OK:
            raise Unusable(f"{url} answered {response.status_code}")
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > _LARGEST_ANSWER:
                raise Unusable(f"{url} answered more than {_LARGEST_ANSWER} bytes")
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        raise Unusable(f"{url} did not answer with JSON") from None
    if not isinstance(value, dict):
        raise Unusable(f"{url} did not answer with a JSON object")
    return value


def _public_keys(listed: Iterable[object]) -> Iterable[PublicKey]:
    for jwk in listed:
        if isinstance(jwk, dict):
            key = _public_key(jwk)
            if key is not None:
                yield key


def _public_key(jwk: dict[str, Any]) -> PublicKey | None:
    """The key, if it is one for signatures that cannot be made with what is public; else it is passed over."""
    algorithms, key_id = _algorithms(jwk), jwk.get("kid")
    is_private, use = "d" in jwk, jwk.get("use", "sig")
    if not algorithms or is_private or use != "sig" or not isinstance(key_id, str | None):
        return None
    try:
        key = jwt.PyJWK(jwk, algorithm=min(algorithms))
    except Exception:  # whatever is wrong with one key, the others are still good
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in _RSA_BITS:
        return None
    return PublicKey(key_id, algorithms, key)


def _algorithms(jwk: dict[str, Any]) -> frozenset[str]:
    kind, curve = jwk.get("kty"), jwk.get("crv")
    if kind == "RSA":
        possible = _RSA
    elif kind in ("EC", "OKP") and isinstance(curve, str):
        possible = _ALGORITHMS_OF_CURVE.get(curve, frozenset())
    else:
        possible = frozenset()
    declared = jwk.get("alg")
    return possible if declared is None else possible & {declared} if isinstance(declared, str) else frozenset()
