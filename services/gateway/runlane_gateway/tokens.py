"""Tokens of OpenID Connect: whose they are, whether they hold, and what their groups are granted. Used by `auth`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts.directory import PLATFORM
from runlane.errors import Forbidden, Unauthorized
from runlane.ids import is_token
from runlane.settings import Settings
from runlane.telemetry import logger

from .identity import GroupGrant, Provider, read_providers
from .jwks import PublicKeys
from .permissions import permissions_of
from .principals import Grant, Principal, principal_of_grants

_log = logger(__name__)

_REQUIRED = ["exp", "iat", "iss", "aud", "sub"]
_LONGEST_SUBJECT = 255
_LONGEST_TEXT = 254
_LATEST = 32_503_680_000  # the year 3000: later ones may be more than a datetime can hold

#: What PyJWT and the JSON under it raise for tokens that are anything but well-formed.
_BROKEN = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError, AttributeError)


class _Trusted(Struct, frozen=True):
    provider: Provider
    keys: PublicKeys


class Tokens:
    """Verifies tokens of the providers that were named at the start."""

    def __init__(self, providers: Sequence[Provider], clock: Clock) -> None:
        self.tls = tls = httpx.create_ssl_context()
        self.providers = list(providers)
        self._trusted = {
            provider.issuer: _Trusted(provider, PublicKeys(provider.issuer, clock, tls)) for provider in providers
        }

    async def verify(self, token: str) -> Principal:
        """The principal that a token stands for.

        Raises `Unauthorized`, with the same words whatever is wrong; `Forbidden` when nothing was granted to its
        groups; `ProviderUnavailable` when its key is not known yet and the provider cannot be asked.
        """
        try:
            header = jwt.get_unverified_header(token)
            trusted = self._trusted[_unverified_issuer(token)]
            algorithm, key_id = header["alg"], header.get("kid")
            if algorithm not in trusted.provider.algorithms:
                raise ValueError(f"algorithm {str(algorithm)[:20]!r} is not allowed")
            key = await trusted.keys.find(key_id, algorithm)
            if key is None:
                raise ValueError("its key is unknown")
            claims = _verified(token, key.key.key, algorithm, trusted.provider)
            return _principal(claims, trusted.provider)
        except (*_BROKEN, KeyError) as problem:
            _log.debug("token refused", reason=f"{type(problem).__name__}: {problem}"[:300])
            raise Unauthorized("These credentials are not valid.") from None


def trusted_tokens(settings: Settings, clock: Clock) -> Tokens | None:
    """What verifies the tokens of the providers that the settings name; None where they name none.

    Raises `ConfigurationError`.
    """
    providers = read_providers(settings.identity_file)
    return Tokens(providers, clock) if providers else None


def _unverified_issuer(token: str) -> str:
    issuer: str = jwt.decode(token, options={"verify_signature": False})["iss"]
    return issuer


def _verified(token: str, key: Any, algorithm: str, provider: Provider) -> dict[str, Any]:
    return jwt.decode(
        token,
        key,
        algorithms=[algorithm],
        audience=provider.audience,
        issuer=provider.issuer,
        leeway=provider.leeway_seconds,
        options={"require": _REQUIRED},
    )


def _principal(claims: dict[str, Any], provider: Provider) -> Principal:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
        raise ValueError("its subject is not usable")
    expires = int(claims["exp"])
    if expires > _LATEST:
        raise ValueError("it never expires")
    names = provider.claims
    email = _text(_claim(claims, names.email))
    principal = Principal(
        key_id=f"{provider.name}:{subject}",
        name=_text(_claim(claims, names.name)) or email or subject,
        email=email,
        orgs=frozenset(),
        permissions=frozenset(),
        expires_at=datetime.fromtimestamp(expires, UTC) + timedelta(seconds=provider.leeway_seconds),
        kind="token",
    )
    groups = frozenset(group for claim in names.groups for group in _texts(_claim(claims, claim)))
    orgs = frozenset(_texts(_claim(claims, names.orgs))) if names.orgs is not None else frozenset[str]()
    grants = list(_grants(provider.grants, groups, frozenset(filter(is_token, orgs)) - {PLATFORM}))
    if not grants:
        raise Forbidden("Nothing has been granted to this account here.")
    return principal_of_grants(principal, grants)


def _grants(granted: Iterable[GroupGrant], groups: frozenset[str], claimed: frozenset[str]) -> Iterable[Grant]:
    for grant in granted:
        if grant.group not in groups:
            continue
        orgs: frozenset[str] | None
        match grant.orgs:
            case "*":
                orgs = None
            case "claim":
                orgs = claimed
            case _:
                orgs = frozenset(grant.orgs)
        if orgs is None or orgs:
            yield Grant(orgs, permissions_of(grant.roles, grant.permissions), frozenset(grant.roles))


def _claim(claims: dict[str, Any], name: str) -> object:
    """The claim of this name, else what the path that it may be leads to."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_TEXT and value.isprintable() else None


def _texts(value: object) -> list[str]:
    listed = value if isinstance(value, list) else [value]
    return [text for text in listed if isinstance(text, str)]
