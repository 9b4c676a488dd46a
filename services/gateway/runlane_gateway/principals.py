"""A caller whose credentials were accepted: who it is, where it may act and what it may do there.

Made by `auth` and `tokens`, found by doors through `parts.principal_of`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from runlane.contracts.requests import Caller
from runlane.errors import Forbidden

from .permissions import EVERYTHING


class Grant(Struct, frozen=True):
    """Permissions that hold in some organisations; `orgs` None: in all."""

    orgs: frozenset[str] | None
    permissions: frozenset[str]
    roles: frozenset[str] = frozenset()

    def covers(self, org: str) -> bool:
        return self.orgs is None or org in self.orgs


class Principal(Struct, frozen=True):
    """A caller. `key_id` is the id of its API key, or `{provider}:{sub}` of its token.

    `orgs` None: it may name any organisation. `permissions` hold in every one of `orgs`. Where a token gives more in
    some of them, `grants` say so, and `within` tells what holds in one; else `grants` is empty.
    """

    key_id: str
    name: str
    email: str | None
    orgs: frozenset[str] | None
    permissions: frozenset[str]
    roles: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    kind: Literal["key", "token"] = "key"
    grants: tuple[Grant, ...] = ()

    def may(self, permission: str) -> bool:
        return permission in self.permissions or EVERYTHING in self.permissions

    def require(self, permission: str) -> None:
        """Raises `Forbidden` naming the permission that is missing."""
        if not self.may(permission):
            raise Forbidden(f"You lack the permission {permission}.", details={"permission": permission})

    def sees(self, org: str) -> bool:
        """Whether it may know of this organisation and of what belongs to it."""
        return self.orgs is None or org in self.orgs

    def within(self, org: str) -> "Principal":
        """The same caller bound to an organisation where it was granted more than everywhere; else itself."""
        here = [grant for grant in self.grants if grant.covers(org)]
        if not here:
            return self
        permissions, roles = _union(here)
        return msgspec.structs.replace(self, orgs=frozenset({org}), permissions=permissions, roles=roles)

    def everywhere(self) -> "Principal":
        """The same caller with what holds in all of its organisations, after `within` too."""
        return msgspec.structs.replace(self, **_common(self.grants)) if self.grants else self

    @property
    def caller(self) -> Caller:
        return Caller(id=self.key_id, email=self.email, name=self.name)


def principal_of_grants(principal: Principal, grants: Iterable[Grant]) -> Principal:
    """The principal with what these grants, of which there is at least one, give it."""
    given = tuple(grants)
    uneven = len({grant.orgs for grant in given}) > 1
    return msgspec.structs.replace(principal, grants=given if uneven else (), **_common(given))


def _common(grants: tuple[Grant, ...]) -> dict[str, frozenset[str] | None]:
    """Where the grants hold together, and what they give in every place of it."""
    everywhere = [grant for grant in grants if grant.orgs is None]
    if everywhere:
        permissions, roles = _union(everywhere)
        return {"orgs": None, "permissions": permissions, "roles": roles}
    orgs = frozenset[str]().union(*(grant.orgs for grant in grants if grant.orgs is not None))
    held = [_union(grant for grant in grants if grant.covers(org)) for org in orgs]
    limited = [permissions for permissions, _ in held if EVERYTHING not in permissions]
    common = frozenset.intersection(*limited) if limited else frozenset({EVERYTHING})
    return {"orgs": orgs, "permissions": common, "roles": frozenset.intersection(*(roles for _, roles in held))}


def _union(grants: Iterable[Grant]) -> tuple[frozenset[str], frozenset[str]]:
    permissions, roles = frozenset[str](), frozenset[str]()
    for grant in grants:
        permissions, roles = permissions | grant.permissions, roles | grant.roles
    return permissions, roles
