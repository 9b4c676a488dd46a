"""`/orgs/{org}/secrets…`: written, never read. Values are sealed before they leave this process."""

from collections.abc import Awaitable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query
from msgspec import Struct
from starlette.requests import Request

from runlane.audit import Target
from runlane.contracts.directory import SecretValue, secret_context
from runlane.directory import secret_key
from runlane.errors import ConfigurationError, Conflict, NotFound, PayloadTooLarge, ValidationError
from runlane.ids import check_token
from runlane.ports import WritableSecretStore
from runlane.telemetry import logger

from .answers import Answer, answer
from .conditions import NO_CONDITION, etag, read_condition
from .describe import Described
from .parts import Parts, audit_of, body_of, changes_by, headers_of, organisation_in_path, principal_of
from .permissions import MANAGE_SECRETS
from .views import utc_or_none

_log = logger(__name__)
_T = TypeVar("_T")

#: Far beyond any key or certificate; Key Vault takes 25 KiB.
_LONGEST_VALUE = 24 * 1024


class SecretView(Struct, frozen=True, rename="camel"):
    """A secret without its value. `version` and what follows are null where another store than ours holds it."""

    name: str
    version: int | None
    changed_at: str | None
    changed_by: str | None


class SecretsView(Struct, frozen=True):
    """`provider`: where they are (`embedded`, `environment`, `files`, `azure`)."""

    secrets: list[SecretView]
    next: str | None
    provider: str


class SecretBody(Struct, frozen=True, forbid_unknown_fields=True):
    value: str


class SecretDoors:
    """`/orgs/{org}/secrets…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._directory = parts, parts.directory

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["secrets"])
        add, one = router.add_api_route, "/orgs/{org}/secrets/{name}"
        views = described.answers(SecretView)
        add("/orgs/{org}/secrets", self.names, methods=["GET"], responses=described.answers(SecretsView))
        add(one, self.one, methods=["GET"], responses=views)
        add(one, self.put, methods=["PUT"], responses=views, openapi_extra=described.body(SecretBody))
        add(one, self.delete, methods=["DELETE"], status_code=204)
        return router

    async def names(
        self, request: Request, org: str, limit: Annotated[int, Query(ge=1, le=1000)] = 500, after: str = ""
    ) -> Answer:
        """Which secrets there are."""
        self._permit(request, org)
        views = [view for view in await self._views(org) if view.name > after]
        following = views[limit - 1].name if len(views) > limit else None
        return answer(SecretsView(views[:limit], following, self._parts.settings.secrets_provider))

    async def one(self, request: Request, org: str, name: str) -> Answer:
        """Whether there is such a secret, and when it was set; never its value."""
        self._permit(request, org)
        check_token(name, "name")
        found = next((view for view in await self._views(org) if view.name == name), None)
        if found is None:
            raise NotFound("There is no such secret.")
        return answer(found, headers=etag(self._directory, secret_key(org, name)))

    async def put(self, request: Request, org: str, name: str) -> Answer:
        """Set a secret; every change is a new version."""
        self._permit(request, org)
        check_token(name, "name")
        value, by = (await body_of(request, self._parts, SecretBody)).value, principal_of(request.scope).key_id
        _check_value(value)
        if self._parts.secrets is not None:
            await self._put_elsewhere(request, org, name, value)
            return answer(SecretView(name, None, None, None))

        def changed(known: SecretValue | None) -> SecretValue:
            version = 1 if known is None else known.version + 1
            sealed = self._parts.sealer.seal(value.encode(), secret_context(org, name, version))
            now = self._parts.clock.now()
            return SecretValue(org=org, name=name, sealed=sealed, version=version, changed_at=now, changed_by=by)

        entry = await changes_by(request, self._parts).change(
            secret_key(org, name), lambda: self._directory.secret(org, name), changed
        )
        _log.info("secret changed", org=org, name=name, version=entry.version, by=by)
        return answer(_view(entry), headers=etag(self._directory, secret_key(org, name)))

    async def delete(self, request: Request, org: str, name: str) -> Answer:
        """Remove a secret; one that is not there is no error."""
        self._permit(request, org)
        check_token(name, "name")
        if self._parts.secrets is None:
            await changes_by(request, self._parts).delete(secret_key(org, name))
        else:
            store = self._writable(request)
            async with audit_of(request, self._parts).record("delete", Target(org, "secrets", name)):
                await _usable(store.remove(org, name))
        _log.info("secret deleted", org=org, name=name, by=principal_of(request.scope).key_id)
        return Answer(204, b"")

    async def _put_elsewhere(self, request: Request, org: str, name: str, value: str) -> None:
        store = self._writable(request)
        async with audit_of(request, self._parts).record("update", Target(org, "secrets", name)):
            await _usable(store.put(org, name, value))
        _log.info("secret changed", org=org, name=name, by=principal_of(request.scope).key_id)

    def _writable(self, request: Request) -> WritableSecretStore:
        """The store outside the directory, if it takes changes. It knows no conditions."""
        provider, store = self._parts.settings.secrets_provider, self._parts.secrets
        if not isinstance(store, WritableSecretStore):
            raise Conflict(
                f"Secrets come from {_PLACES[provider]} here and are read-only: change them there.",
                details={"provider": provider},
            )
        if read_condition(headers_of(request.scope)) != NO_CONDITION:
            raise ValidationError(f"Secrets in {_PLACES[provider]} cannot be changed under a condition.", "If-Match")
        return store

    async def _views(self, org: str) -> list[SecretView]:
        if self._parts.secrets is None:
            return sorted((_view(secret) for secret in self._directory.secrets(org)), key=lambda view: view.name)
        return [SecretView(name, None, None, None) for name in await _usable(self._parts.secrets.names(org))]

    def _permit(self, request: Request, org: str) -> None:
        organisation_in_path(request, self._directory, org)
        principal_of(request.scope).require(MANAGE_SECRETS)


_PLACES = {"environment": "environment variables", "files": "a directory of files", "azure": "Azure Key Vault"}


def _check_value(value: str) -> None:
    if not value:
        raise ValidationError("value must not be empty.", "value")
    if len(value.encode()) > _LONGEST_VALUE:
        raise PayloadTooLarge(f"A secret has at most {_LONGEST_VALUE} bytes.", details={"limit_bytes": _LONGEST_VALUE})


async def _usable(answer: Awaitable[_T]) -> _T:
    """What a store of secrets answers; a name that it cannot hold is the caller's mistake here."""
    try:
        return await answer
    except ConfigurationError as problem:
        raise ValidationError(problem.message, "org") from None


def _view(secret: SecretValue) -> SecretView:
    return SecretView(secret.name, secret.version, utc_or_none(secret.changed_at), secret.changed_by)
