"""Who calls: API keys of the directory, checked by `gate` before any door is reached.

The caller sends `Authorization: Bearer rl_{id}_{secret}`; only SHA-256 of the secret is known here.
"""

import hashlib
import hmac
from datetime import datetime

from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts.messages import Caller
from runlane.directory import Directory
from runlane.errors import Forbidden, Unauthorized

VIEW_EXECUTIONS = "canViewExecutions"
MANAGE_EXECUTIONS = "canManageExecutions"
VIEW_INTERNALS = "canViewInternals"
MANAGE_CONFIG = "canManageConfig"
MANAGE_SECRETS = "canManageSecrets"
MANAGE_ORGS = "canManageOrgs"
MANAGE_KEYS = "canManageKeys"
MANAGE_WEBHOOKS = "canManageWebhooks"
MANAGE_FORMS = "canManageForms"
APPROVE_EXECUTIONS = "canApproveExecutions"
VIEW_AUDIT = "canViewAudit"

_REMEMBERED = 10_000
_NOBODY = "0" * 64  # what the secret of an unknown key is compared with, so that it takes as long


class Principal(Struct, frozen=True):
    """A caller whose key was accepted. `org` None: it may name any organisation."""

    key_id: str
    name: str
    email: str | None
    org: str | None
    permissions: frozenset[str]

    def may(self, permission: str) -> bool:
        return permission in self.permissions or "*" in self.permissions

    def require(self, permission: str) -> None:
        """Raises `Forbidden` naming the permission that is missing."""
        if not self.may(permission):
            raise Forbidden(f"This key lacks the permission {permission}.", details={"permission": permission})

    @property
    def caller(self) -> Caller:
        return Caller(id=self.key_id, email=self.email, name=self.name)


class Authenticator:
    """Turns an `Authorization` header into a principal. What it found it remembers until a key changes."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory, self._clock = directory, clock
        self._known: dict[bytes, tuple[Principal, datetime | None]] = {}
        directory.on_change(self._changed)

    def authenticate(self, authorization: bytes | None) -> Principal:
        """Raises `Unauthorized`, with the same words whatever was wrong with the key."""
        if authorization is None:
            raise Unauthorized()
        fingerprint = hashlib.sha256(authorization).digest()
        known = self._known.get(fingerprint)
        if known is None:
            known = self._check(authorization)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[fingerprint] = known
        principal, expires_at = known
        if expires_at is not None and expires_at <= self._clock.now():
            raise Unauthorized("This API key is not valid.")
        return principal

    def _check(self, authorization: bytes) -> tuple[Principal, datetime | None]:
        key_id, secret = _parse(authorization)
        key = self._directory.api_key(key_id)
        expected = _NOBODY if key is None else key.secret_sha256
        same = hmac.compare_digest(hashlib.sha256(secret.encode()).hexdigest(), expected)
        if key is None or not same:
            raise Unauthorized("This API key is not valid.")
        principal = Principal(key.id, key.name, key.email, key.org, frozenset(key.permissions))
        return principal, key.expires_at

    def _changed(self, key: str) -> None:
        if key.startswith("keys."):
            self._known.clear()


def _parse(authorization: bytes) -> tuple[str, str]:
    scheme, _, token = authorization.decode("latin-1").strip().partition(" ")
    prefix, _, rest = token.strip().partition("_")
    key_id, _, secret = rest.partition("_")
    if scheme.lower() != "bearer" or prefix != "rl" or not key_id or not secret:
        raise Unauthorized()
    return key_id, secret
