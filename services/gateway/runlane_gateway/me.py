"""`GET /me`: who the caller is to this gateway, and what it may do."""

from fastapi import APIRouter
from msgspec import Struct
from starlette.requests import Request

from .answers import Answer, answer
from .describe import Described
from .parts import principal_of
from .principals import Grant, Principal
from .views import utc_or_none


class GrantView(Struct, frozen=True):
    """What holds in some organisations; `orgs` null: in all."""

    orgs: list[str] | None
    roles: list[str]
    permissions: list[str]


class MeView(Struct, frozen=True, rename="camel"):
    """`roles` and `permissions` hold in each of `orgs` (null: all), or in the one that the request names.

    `grants` tell what holds where, for a caller that may do more in some of its organisations than in others.
    """

    id: str
    kind: str
    name: str
    email: str | None
    orgs: list[str] | None
    roles: list[str]
    permissions: list[str]
    grants: list[GrantView]
    expires_at: str | None


class MeDoor:
    """`/me`"""

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["access"])
        router.add_api_route("/me", self.me, methods=["GET"], responses=described.answers(MeView))
        return router

    async def me(self, request: Request) -> Answer:
        """Who I am, where I may act and what I may do there."""
        return answer(_view(principal_of(request.scope)))


def _view(principal: Principal) -> MeView:
    return MeView(
        id=principal.key_id,
        kind=principal.kind,
        name=principal.name,
        email=principal.email,
        orgs=_sorted_or_none(principal.orgs),
        roles=sorted(principal.roles),
        permissions=sorted(principal.permissions),
        grants=[_grant_view(grant) for grant in principal.grants],
        expires_at=utc_or_none(principal.expires_at),
    )


def _grant_view(grant: Grant) -> GrantView:
    return GrantView(_sorted_or_none(grant.orgs), sorted(grant.roles), sorted(grant.permissions))


def _sorted_or_none(orgs: frozenset[str] | None) -> list[str] | None:
    return None if orgs is None else sorted(orgs)
