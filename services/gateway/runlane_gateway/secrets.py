"""`/orgs/{org}/secrets…`: written, never read. Values are sealed before they leave this process."""

from fastapi import APIRouter
from msgspec import Struct
from starlette.requests import Request

from runlane.contracts.directory import SecretValue, secret_context
from runlane.directory import secret_key
from runlane.errors import ValidationError
from runlane.ids import check_token
from runlane.telemetry import logger

from .answers import Answer, answer
from .auth import MANAGE_SECRETS
from .describe import Described
from .parts import Parts, body_of, changes_by, organisation_in_path, principal_of
from .views import utc_or_none

_log = logger(__name__)


class SecretView(Struct, frozen=True, rename="camel"):
    """A secret without its value."""

    name: str
    version: int
    changed_at: str | None
    changed_by: str | None


class SecretsView(Struct, frozen=True):
    secrets: list[SecretView]


class SecretBody(Struct, frozen=True, forbid_unknown_fields=True):
    value: str


class SecretDoors:
    """`/orgs/{org}/secrets…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._directory = parts, parts.directory

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["secrets"])
        add, one = router.add_api_route, "/orgs/{org}/secrets/{name}"
        add("/orgs/{org}/secrets", self.names, methods=["GET"], responses=described.answers(SecretsView))
        add(
            one,
            self.put,
            methods=["PUT"],
            responses=described.answers(SecretView),
            openapi_extra=described.body(SecretBody),
        )
        add(one, self.delete, methods=["DELETE"], status_code=204)
        return router

    async def names(self, request: Request, org: str) -> Answer:
        """Which secrets there are."""
        self._permit(request, org)
        secrets = sorted(self._directory.secrets(org), key=lambda secret: secret.name)
        return answer(SecretsView([_view(secret) for secret in secrets]))

    async def put(self, request: Request, org: str, name: str) -> Answer:
        """Set a secret; every change is a new version."""
        self._permit(request, org)
        check_token(name, "name")
        value, by = (await body_of(request, self._parts, SecretBody)).value, principal_of(request.scope).key_id
        if not value:
            raise ValidationError("value must not be empty.", "value")

        def changed(known: SecretValue | None) -> SecretValue:
            version = 1 if known is None else known.version + 1
            sealed = self._parts.sealer.seal(value.encode(), secret_context(org, name, version))
            now = self._parts.clock.now()
            return SecretValue(org=org, name=name, sealed=sealed, version=version, changed_at=now, changed_by=by)

        entry = await changes_by(request, self._parts).change(
            secret_key(org, name), lambda: self._directory.secret(org, name), changed
        )
        _log.info("secret changed", org=org, name=name, version=entry.version, by=by)
        return answer(_view(entry))

    async def delete(self, request: Request, org: str, name: str) -> Answer:
        """Remove a secret; one that is not there is no error."""
        self._permit(request, org)
        await changes_by(request, self._parts).delete(secret_key(org, check_token(name, "name")))
        _log.info("secret deleted", org=org, name=name, by=principal_of(request.scope).key_id)
        return Answer(204, b"")

    def _permit(self, request: Request, org: str) -> None:
        organisation_in_path(request, self._directory, org)
        principal_of(request.scope).require(MANAGE_SECRETS)


def _view(secret: SecretValue) -> SecretView:
    return SecretView(secret.name, secret.version, utc_or_none(secret.changed_at), secret.changed_by)
