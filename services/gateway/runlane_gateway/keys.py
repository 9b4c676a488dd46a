"""`/keys…`: API keys, made by callers who give no more than they have. The key itself is told once, to who made it."""

import hashlib
import secrets
import string
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from msgspec import UNSET, Struct, UnsetType, field
from starlette.requests import Request

from runlane.contracts.directory import PLATFORM, ApiKey
from runlane.directory import api_key_key
from runlane.errors import Forbidden, NotFound, ValidationError
from runlane.telemetry import logger

from .answers import Answer, answer
from .auth import KEY_PREFIX
from .describe import Described
from .parts import Parts, body_of, changes_by, organisation, principal_of, unknown_organisation
from .permissions import MANAGE_KEYS, ROLES, is_permission, missing, permissions_of
from .principals import Principal
from .views import utc_or_none

_log = logger(__name__)

_ID_ALPHABET = string.ascii_lowercase + string.digits
_SECRET_ALPHABET = string.ascii_letters + string.digits
_LONGEST_NAME = 200
_LONGEST_EMAIL = 254
_MOST = 1000


class KeyView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A key without its secret. `orgs` null: every organisation. `permissions` are those beside its roles'."""

    id: str
    name: str
    email: str | None
    orgs: list[str] | None
    roles: list[str]
    permissions: list[str]
    created_at: str | None
    created_by: str | None
    expires_at: str | None
    expired: bool


class NewKeyView(KeyView, frozen=True, kw_only=True, rename="camel"):
    """A key that was just made: `key` is what its holder sends, and is shown nowhere again."""

    key: str


class KeyPageView(Struct, frozen=True):
    """`next`: what to give as `after` for the page that follows; null at the end."""

    keys: list[KeyView]
    next: str | None


class KeyBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`orgs` absent: the organisation of the request; `"*"`: every organisation. Roles or permissions are needed."""

    name: str
    email: str | None = None
    orgs: list[str] | Literal["*"] | UnsetType = UNSET
    roles: list[str] = field(default_factory=list)
    permissions: list[str] = field(default_factory=list)
    expires_at: datetime | None = None


class KeyDoors:
    """`/keys…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._directory = parts, parts.directory

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["access"])
        add, one = router.add_api_route, "/keys/{id}"
        add("/keys", self.all, methods=["GET"], responses=described.answers(KeyPageView))
        add(
            "/keys",
            self.create,
            methods=["POST"],
            status_code=201,
            responses=described.answers(NewKeyView, 201),
            openapi_extra=described.body(KeyBody),
        )
        add(one, self.one, methods=["GET"], responses=described.answers(KeyView))
        add(one, self.revoke, methods=["DELETE"], status_code=204)
        return router

    async def all(
        self,
        request: Request,
        org: str | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: str = "",
    ) -> Answer:
        """Keys of the caller's organisations, by id; with `org` those that may act in it."""
        principal = self._principal(request)
        found = sorted(
            (
                key
                for key in self._directory.api_keys()
                if key.id > after and _sees(principal, key) and (org is None or key.reach is None or org in key.reach)
            ),
            key=lambda key: key.id,
        )
        page = found[:limit]
        return answer(KeyPageView([self._view(key) for key in page], page[-1].id if len(found) > limit else None))

    async def one(self, request: Request, id: str) -> Answer:
        """One key."""
        return answer(self._view(self._known(self._principal(request), id)))

    async def create(self, request: Request) -> Answer:
        """Make a key. It cannot do, or reach, or outlive, what the key that makes it cannot."""
        principal = self._principal(request)
        body = await body_of(request, self._parts, KeyBody)
        _check(body)
        orgs, now = self._orgs(request, principal, body), self._parts.clock.now()
        _check_gift(principal, orgs, permissions_of(body.roles, body.permissions))
        key_id, secret = _random(_ID_ALPHABET, 12), _random(_SECRET_ALPHABET, 43)
        key = ApiKey(
            id=key_id,
            secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
            name=body.name.strip(),
            # A key of one organisation belongs to it: whoever removes the organisation removes the key.
            org=next(iter(orgs)) if orgs is not None and len(orgs) == 1 else None,
            orgs=sorted(orgs) if orgs is not None and len(orgs) > 1 else [],
            roles=sorted(set(body.roles)),
            permissions=sorted(set(body.permissions)),
            email=body.email,
            created_at=now,
            created_by=principal.key_id,
            expires_at=_expiry(principal, body.expires_at, now),
        )
        await changes_by(request, self._parts).put(api_key_key(key_id), key, expect=0)
        _log.info("key created", key=key_id, by=principal.key_id)
        view = NewKeyView(**self._fields(key), key=f"{KEY_PREFIX}{key_id}_{secret}")
        return answer(view, 201, [(b"location", f"/keys/{key_id}".encode())])

    async def revoke(self, request: Request, id: str) -> Answer:
        """Take a key back; no gateway accepts it any more within a second."""
        principal = self._principal(request)
        key = self._known(principal, id)
        await changes_by(request, self._parts).delete(api_key_key(key.id))
        _log.info("key revoked", key=key.id, by=principal.key_id)
        return Answer(204, b"")

    def _principal(self, request: Request) -> Principal:
        """The caller, who must be permitted to deal with keys in all that it sees."""
        principal = principal_of(request.scope)
        principal.require(MANAGE_KEYS)
        return principal

    def _known(self, principal: Principal, key_id: str) -> ApiKey:
        key = self._directory.api_key(key_id)
        if key is None or not _sees(principal, key):
            raise NotFound(f"There is no key {key_id[:64]!r}.")
        return key

    def _orgs(self, request: Request, principal: Principal, body: KeyBody) -> frozenset[str] | None:
        if body.orgs == "*":
            return None
        orgs = [organisation(request.scope, self._directory)] if isinstance(body.orgs, UnsetType) else body.orgs
        if not orgs or len(orgs) > _MOST:
            raise ValidationError('orgs must name organisations, or be "*" for all.', "orgs")
        if PLATFORM in orgs or any(self._directory.org(org) is None or not principal.sees(org) for org in orgs):
            raise unknown_organisation()
        return frozenset(orgs)

    def _view(self, key: ApiKey) -> KeyView:
        return KeyView(**self._fields(key))

    def _fields(self, key: ApiKey) -> dict[str, Any]:
        return {
            "id": key.id,
            "name": key.name,
            "email": key.email,
            "orgs": None if key.reach is None else sorted(key.reach),
            "roles": key.roles,
            "permissions": key.permissions,
            "created_at": utc_or_none(key.created_at),
            "created_by": key.created_by,
            "expires_at": utc_or_none(key.expires_at),
            "expired": key.expires_at is not None and key.expires_at <= self._parts.clock.now(),
        }


def _sees(principal: Principal, key: ApiKey) -> bool:
    """Whether all that the key reaches is the caller's."""
    return principal.orgs is None or (key.reach is not None and key.reach <= principal.orgs)


def _check(body: KeyBody) -> None:
    name, email = body.name.strip(), body.email
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise ValidationError(f"name must be 1 to {_LONGEST_NAME} printable characters.", "name")
    if email is not None and ("@" not in email or len(email) > _LONGEST_EMAIL or not email.isprintable()):
        raise ValidationError("email must be an address.", "email")
    for role in body.roles:
        if role not in ROLES:
            raise ValidationError(f"There is no role {role[:64]!r}; there are {', '.join(ROLES)}.", "roles")
    if not all(is_permission(permission) for permission in body.permissions):
        raise ValidationError(
            "A permission has 1 to 64 of A-Z a-z 0-9 _ . : - and begins with a letter.", "permissions"
        )
    if not body.roles and not body.permissions:
        raise ValidationError("Give it roles or permissions: without either it can do nothing.", "roles")
    if len(body.permissions) > _MOST:
        raise ValidationError(f"permissions must be at most {_MOST}.", "permissions")


def _check_gift(principal: Principal, orgs: frozenset[str] | None, permissions: frozenset[str]) -> None:
    """Raises `Forbidden` unless the caller has all of this everywhere there."""
    if orgs is None and principal.orgs is not None:
        raise Forbidden("You cannot make a key for every organisation: you are bound to some.")
    places = [principal] if orgs is None else [principal.within(org) for org in orgs]
    lacking = sorted({permission for place in places for permission in missing(permissions, place.permissions)})
    if lacking:
        raise Forbidden("You cannot give what you do not have.", details={"permissions": lacking})


def _expiry(principal: Principal, wanted: datetime | None, now: datetime) -> datetime | None:
    """When the key shall expire. One made by a key that expires does so no later; a person's token ends within hours,
    and bounds nothing."""
    if wanted is not None and wanted.tzinfo is None:
        raise ValidationError("expires_at needs a time zone, such as the Z in 2030-01-31T00:00:00Z.", "expires_at")
    if wanted is not None and wanted <= now:
        raise ValidationError("expires_at lies in the past.", "expires_at")
    bound = principal.expires_at if principal.kind == "key" else None
    if bound is not None and wanted is not None and wanted > bound:
        raise Forbidden("A key cannot outlive the key that makes it.", details={"expiresAt": utc_or_none(bound)})
    return wanted or bound


def _random(alphabet: str, length: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))
