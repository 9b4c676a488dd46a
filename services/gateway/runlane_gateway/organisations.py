"""`/orgs…`: organisations and their configuration. Secrets have a module of their own."""

from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request

from runlane.contracts.directory import PLATFORM, ConfigValue, Org
from runlane.directory import config_key, org_key
from runlane.errors import ValidationError
from runlane.ids import check_token
from runlane.telemetry import logger

from .answers import Answer, answer
from .auth import MANAGE_CONFIG, MANAGE_ORGS
from .describe import Described
from .parts import Parts, body_of, changes_by, organisation_in_path, principal_of, unknown_organisation
from .views import utc_or_none

_log = logger(__name__)


class OrgView(Struct, frozen=True, rename="camel"):
    id: str
    name: str
    tenant_id: str | None
    time_zone: str
    tags: list[str]
    disabled_workflows: list[str]


class OrgsView(Struct, frozen=True):
    organizations: list[OrgView]


class OrgBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is absent stays as it is; `name` is needed for a new organisation."""

    name: str | UnsetType = UNSET
    tenant_id: str | UnsetType | None = UNSET
    time_zone: str | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    disabled_workflows: list[str] | UnsetType = UNSET


class ConfigView(Struct, frozen=True, rename="camel"):
    """`inherited`: set for the platform, and not for the organisation itself."""

    key: str
    value: Any
    inherited: bool
    changed_at: str | None
    changed_by: str | None


class ConfigsView(Struct, frozen=True):
    config: list[ConfigView]


class ConfigBody(Struct, frozen=True, forbid_unknown_fields=True):
    value: Any


class OrganisationDoors:
    """`/orgs`, `/orgs/{org}`, `/orgs/{org}/config…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._directory = parts, parts.directory

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["organizations"])
        add = router.add_api_route
        one, views, body = "/orgs/{org}", described.answers(OrgView), described.body
        add("/orgs", self.all, methods=["GET"], responses=described.answers(OrgsView))
        add(one, self.one, methods=["GET"], responses=views)
        add(one, self.put, methods=["PUT"], responses=views, openapi_extra=body(OrgBody))
        add(f"{one}/config", self.config, methods=["GET"], responses=described.answers(ConfigsView))
        key = f"{one}/config/{{key}}"
        views = described.answers(ConfigView)
        add(key, self.put_config, methods=["PUT"], responses=views, openapi_extra=body(ConfigBody))
        add(key, self.delete_config, methods=["DELETE"], status_code=204)
        return router

    async def all(self, request: Request) -> Answer:
        """The organisations that the key may name."""
        principal = principal_of(request.scope)
        orgs = sorted((org for org in self._directory.orgs() if principal.sees(org.id)), key=lambda org: org.id)
        return answer(OrgsView([_org_view(org) for org in orgs]))

    async def one(self, request: Request, org: str) -> Answer:
        """One organisation."""
        known = self._directory.org(organisation_in_path(request, self._directory, org))
        if known is None:
            raise unknown_organisation()
        return answer(_org_view(known))

    async def put(self, request: Request, org: str) -> Answer:
        """Create or change an organisation."""
        principal = principal_of(request.scope).within(org)
        if not principal.sees(org):
            raise unknown_organisation()
        principal.require(MANAGE_ORGS)
        _check_new_id(org)
        body = await body_of(request, self._parts, OrgBody)
        given = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
        _check_org(given)

        def changed(known: Org | None) -> Org:
            if known is None and not given.get("name"):
                raise ValidationError("A new organisation needs a name.", "name")
            return msgspec.structs.replace(known or Org(id=org, name=""), **given)

        entry = await changes_by(request, self._parts).change(org_key(org), lambda: self._directory.org(org), changed)
        _log.info("organisation changed", org=org, by=principal.key_id)
        return answer(_org_view(entry))

    async def config(self, request: Request, org: str) -> Answer:
        """Its configuration, inherited values included."""
        self._config_org(request, org)
        own = {value.key: value for value in self._directory.config_values(org)}
        inherited = {value.key: value for value in self._directory.config_values(PLATFORM)}
        values = sorted({**inherited, **own}.values(), key=lambda value: value.key)
        return answer(ConfigsView([_config_view(value, org) for value in values]))

    async def put_config(self, request: Request, org: str, key: str) -> Answer:
        """Set one value; any JSON will do."""
        self._config_org(request, org)
        value = (await body_of(request, self._parts, ConfigBody)).value
        by = principal_of(request.scope).key_id
        entry = ConfigValue(
            org=org, key=check_token(key, "key"), value=value, changed_at=self._parts.clock.now(), changed_by=by
        )
        await changes_by(request, self._parts).put(config_key(org, key), entry)
        _log.info("config changed", org=org, key=key, by=by)
        return answer(_config_view(entry, org))

    async def delete_config(self, request: Request, org: str, key: str) -> Answer:
        """Take a value back; one that is not there is no error."""
        self._config_org(request, org)
        await changes_by(request, self._parts).delete(config_key(org, check_token(key, "key")))
        _log.info("config deleted", org=org, key=key, by=principal_of(request.scope).key_id)
        return Answer(204, b"")

    def _config_org(self, request: Request, org: str) -> None:
        """Whether the caller may see and set this configuration; the platform's is every organisation's."""
        principal = principal_of(request.scope).everywhere()
        if org == PLATFORM and principal.orgs is None:
            principal.require(MANAGE_ORGS)
            return
        organisation_in_path(request, self._directory, org)
        principal_of(request.scope).require(MANAGE_CONFIG)


def _check_new_id(org: str) -> None:
    check_token(org, "org")
    # `{org}--{name}` is the key of a secret: it must not be readable in two ways.
    if org == PLATFORM or "--" in org:
        raise ValidationError(f"{org!r} cannot be the id of an organisation.", "org")


def _check_org(given: dict[str, Any]) -> None:
    if "name" in given and not given["name"].strip():
        raise ValidationError("name must not be empty.", "name")
    if "time_zone" in given:
        try:
            ZoneInfo(given["time_zone"])
        except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a directory is an OSError
            raise ValidationError(f"There is no time zone {given['time_zone'][:64]!r}.", "time_zone") from None


def _org_view(org: Org) -> OrgView:
    return OrgView(org.id, org.name, org.tenant_id, org.time_zone, org.tags, org.disabled_workflows)


def _config_view(value: ConfigValue, org: str) -> ConfigView:
    return ConfigView(value.key, value.value, value.org != org, utc_or_none(value.changed_at), value.changed_by)
