"""Who calls: API keys of the directory and tokens of an identity provider, checked by `gate` before any door.

The caller sends `Authorization: Bearer rl_{id}_{secret}`, of which only SHA-256 of the secret is known here, or a
token of OpenID Connect.
"""

import hashlib
import hmac

from runlane.clock import Clock
from runlane.directory import Directory
from runlane.errors import Unauthorized

from .permissions import (
    APPROVE_EXECUTIONS,
    MANAGE_CONFIG,
    MANAGE_EXECUTIONS,
    MANAGE_FORMS,
    MANAGE_KEYS,
    MANAGE_ORGS,
    MANAGE_SECRETS,
    MANAGE_WEBHOOKS,
    VIEW_AUDIT,
    VIEW_EXECUTIONS,
    VIEW_INTERNALS,
    permissions_of,
)
from .principals import Principal
from .tokens import Tokens

__all__ = [
    "APPROVE_EXECUTIONS",
    "MANAGE_CONFIG",
    "MANAGE_EXECUTIONS",
    "MANAGE_FORMS",
    "MANAGE_KEYS",
    "MANAGE_ORGS",
    "MANAGE_SECRETS",
    "MANAGE_WEBHOOKS",
    "VIEW_AUDIT",
    "VIEW_EXECUTIONS",
    "VIEW_INTERNALS",
    "Authenticator",
    "Principal",
]

KEY_PREFIX = "rl_"

_REMEMBERED = 10_000
_LONGEST = 16 * 1024  # tokens that list a few hundred groups fit
_NOBODY = "0" * 64  # what the secret of an unknown key is compared with, so that it takes as long


class Authenticator:
    """Turns an `Authorization` header into a principal. What it found it remembers until a key changes."""

    def __init__(self, directory: Directory, clock: Clock, tokens: Tokens | None = None) -> None:
        self._directory, self._clock, self._tokens = directory, clock, tokens
        self._known: dict[bytes, Principal] = {}
        directory.on_change(self._changed)

    async def authenticate(self, authorization: bytes | None) -> Principal:
        """Raises `Unauthorized`, with the same words whatever was wrong; and what `Tokens.verify` raises."""
        if authorization is None or len(authorization) > _LONGEST:
            raise Unauthorized()
        fingerprint = hashlib.sha256(authorization).digest()
        principal = self._known.get(fingerprint)
        if principal is None:
            principal = await self._check(authorization)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[fingerprint] = principal
        if principal.expires_at is not None and principal.expires_at <= self._clock.now():
            raise Unauthorized("These credentials are not valid.")
        return principal

    async def _check(self, authorization: bytes) -> Principal:
        scheme, _, credentials = authorization.decode("latin-1").strip().partition(" ")
        credentials = credentials.strip()
        if scheme.lower() != "bearer" or not credentials:
            raise Unauthorized()
        if credentials.startswith(KEY_PREFIX):
            # Nothing may be awaited on this path: a key revoked meanwhile would be remembered.
            return self._of_key(credentials)
        if self._tokens is None:
            raise Unauthorized()
        return await self._tokens.verify(credentials)

    def _of_key(self, credentials: str) -> Principal:
        key_id, _, secret = credentials.removeprefix(KEY_PREFIX).partition("_")
        key = self._directory.api_key(key_id)
        expected = _NOBODY if key is None else key.secret_sha256
        same = hmac.compare_digest(hashlib.sha256(secret.encode()).hexdigest(), expected)
        if key is None or not same:
            raise Unauthorized("These credentials are not valid.")
        return Principal(
            key_id=key.id,
            name=key.name,
            email=key.email,
            orgs=key.reach,
            permissions=permissions_of(key.roles, key.permissions),
            roles=frozenset(key.roles),
            expires_at=key.expires_at,
        )

    def _changed(self, key: str) -> None:
        if key.startswith("keys."):
            self._known.clear()
