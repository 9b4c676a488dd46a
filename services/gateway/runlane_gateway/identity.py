"""The identity providers that this gateway trusts, as the file named in RUNLANE_IDENTITY_FILE lists them.

Read once, by `app`; docs/guide/access.md explains every field.
"""

from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from runlane.contracts.directory import PLATFORM
from runlane.errors import ConfigurationError
from runlane.ids import is_token

from .permissions import ROLES, is_permission

_VARIABLE = "RUNLANE_IDENTITY_FILE"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

#: Signatures that only the holder of a private key can make. `none` and HS… are not among them, and never will be.
Algorithm: TypeAlias = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class Claims(Struct, frozen=True, forbid_unknown_fields=True):
    """Which claims are read; `a.b` means the member b of the claim a, unless a claim is called `a.b`."""

    name: str = "name"
    email: str = "email"
    groups: list[str] = msgspec.field(default_factory=lambda: ["groups", "roles"])
    orgs: str | None = None


class GroupGrant(Struct, frozen=True, forbid_unknown_fields=True):
    """What the members of a group may do, and where: in these organisations, in all, or in those of the claim."""

    group: str
    orgs: list[str] | Literal["*", "claim"]
    roles: list[str] = msgspec.field(default_factory=list)
    permissions: list[str] = msgspec.field(default_factory=list)


class SignIn(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How people come to the console through the provider: authorization code flow with PKCE.

    `redirect_uri` is the console's address as browsers know it, registered with the provider. `client_secret_file` only
    where the provider wants a secret of its clients. `token`: which of the tokens it answers with the console uses.
    """

    client_id: str
    redirect_uri: str
    title: str = ""
    scopes: list[str] = msgspec.field(default_factory=lambda: ["openid", "profile", "email"])
    client_secret_file: Path | None = None
    token: Literal["id_token", "access_token"] = "id_token"


class Provider(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One issuer of tokens. `name` goes before the subject in the ids of its callers."""

    name: str
    issuer: str
    audience: list[str]
    algorithms: list[Algorithm] = msgspec.field(default_factory=lambda: ["RS256", "PS256", "ES256", "EdDSA"])
    leeway_seconds: float = 60
    claims: Claims = Claims()
    grants: list[GroupGrant]
    sign_in: SignIn | None = None


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    providers: list[Provider]


def read_providers(path: Path | None) -> list[Provider]:
    """The providers in this file, none without one; raises `ConfigurationError` saying what is wrong with it."""
    if path is None:
        return []
    try:
        providers = msgspec.json.decode(path.read_bytes(), type=_File, dec_hook=_path).providers
    except (OSError, ValueError) as problem:  # msgspec's errors are ValueErrors
        raise _unusable(path, str(problem)) from None
    for provider in providers:
        for wrong in _faults(provider):
            raise _unusable(path, f"provider {provider.name!r}: {wrong}")
    for values in ([provider.name for provider in providers], [provider.issuer for provider in providers]):
        if len(set(values)) != len(values):
            raise _unusable(path, "two providers have the same name or issuer")
    return providers


def _path(type_: type, value: Any) -> Any:
    if type_ is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError


def is_safe_url(url: str) -> bool:
    """Whether keys may be fetched from here: over https, or in plain from this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK))


def _faults(provider: Provider) -> list[str]:
    found = []
    if not is_token(provider.name):
        found.append("its name may have letters, digits, _ and - only")
    if not is_safe_url(provider.issuer):
        found.append("its issuer must be an https URL")
    if not provider.audience or not all(provider.audience):
        found.append("it needs an audience")
    if not provider.algorithms:
        found.append("it needs an algorithm")
    if not 0 <= provider.leeway_seconds <= 600:
        found.append("leeway_seconds must be between 0 and 600")
    if provider.sign_in is not None:
        found += _sign_in_faults(provider.sign_in)
    return found + [wrong for grant in provider.grants for wrong in _grant_faults(grant, provider.claims)]


def _sign_in_faults(sign_in: SignIn) -> list[str]:
    found = []
    if not sign_in.client_id:
        found.append("sign_in needs a client_id")
    if not is_safe_url(sign_in.redirect_uri):
        found.append("sign_in.redirect_uri must be an https URL")
    if "openid" not in sign_in.scopes:
        found.append("sign_in.scopes must name openid")
    if sign_in.client_secret_file is not None and not sign_in.client_secret_file.is_file():
        found.append("sign_in.client_secret_file is not there")
    return found


def _grant_faults(grant: GroupGrant, claims: Claims) -> list[str]:
    of = f"group {grant.group!r}"
    found = [f"{of}: there is no role {role!r}" for role in grant.roles if role not in ROLES]
    found += [f"{of}: {name!r} cannot be a permission" for name in grant.permissions if not is_permission(name)]
    if not grant.roles and not grant.permissions:
        found.append(f"{of} is given neither roles nor permissions")
    if grant.orgs == "claim" and claims.orgs is None:
        found.append(f"{of} takes its organisations from a claim, and claims.orgs does not name it")
    if isinstance(grant.orgs, list):
        wrong = [org for org in grant.orgs if not is_token(org) or org == PLATFORM]
        found += [f"{of}: {org!r} cannot be an organisation" for org in wrong]
        if not grant.orgs:
            found.append(f'{of}: name organisations, or "*" for all')
    return found


def _unusable(path: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(f"{_VARIABLE}={str(path)!r} is not usable: {reason}.", _VARIABLE)
