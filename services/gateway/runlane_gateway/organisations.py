"""`/orgs…`: organisations, and which workflows each may run. Configuration and secrets have modules of their own."""

import asyncio
from itertools import islice
from typing import Annotated, Any, get_args
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Query
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request

from runlane.contracts.directory import PLATFORM, Org
from runlane.contracts.records import FINISHED, ExecutionQuery, Status
from runlane.directory import api_key_key, org_key
from runlane.errors import Conflict, ValidationError
from runlane.ids import check_token, is_token
from runlane.telemetry import logger

from .answers import Answer, answer
from .changes import ChangesBy
from .conditions import etag
from .describe import Described
from .parts import Parts, body_of, changes_by, organisation_in_path, principal_of, unknown_organisation
from .permissions import MANAGE_ORGS

_log = logger(__name__)

_LONGEST_NAME = 200
_MOST_TAGS = 50
_MOST_WORKFLOWS = 1000
_MOST_CONCURRENT = 10_000
_AT_ONCE = 32

_UNFINISHED = sorted(set(get_args(Status)) - FINISHED)


class OrgView(Struct, frozen=True, rename="camel"):
    """`enabledWorkflows` null: all but the disabled ones; else only these, without the disabled ones."""

    id: str
    name: str
    tenant_id: str | None
    time_zone: str
    tags: list[str]
    enabled_workflows: list[str] | None
    disabled_workflows: list[str]
    max_concurrent: int | None


class OrgsView(Struct, frozen=True):
    organizations: list[OrgView]
    next: str | None


class OrgBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is absent stays as it is; `name` is needed for a new organisation."""

    name: str | UnsetType = UNSET
    tenant_id: str | UnsetType | None = UNSET
    time_zone: str | UnsetType = UNSET
    tags: list[str] | UnsetType = UNSET
    enabled_workflows: list[str] | UnsetType | None = UNSET
    disabled_workflows: list[str] | UnsetType = UNSET
    max_concurrent: int | UnsetType | None = UNSET


class OrganisationDoors:
    """`/orgs`, `/orgs/{org}`"""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._directory = parts, parts.directory

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["organizations"])
        add = router.add_api_route
        one, views, body = "/orgs/{org}", described.answers(OrgView), described.body
        add("/orgs", self.all, methods=["GET"], responses=described.answers(OrgsView))
        add(one, self.one, methods=["GET"], responses=views)
        add(one, self.put, methods=["PUT"], responses=views, openapi_extra=body(OrgBody))
        add(one, self.delete, methods=["DELETE"], status_code=204)
        return router

    async def all(
        self,
        request: Request,
        tag: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 200,
        after: str = "",
    ) -> Answer:
        """The organisations that the key may name, in the order of their ids. `tag`: only those that have it."""
        principal, known = principal_of(request.scope), self._directory.orgs_after(after)
        wanted = (org for org in known if principal.sees(org.id) and (tag is None or tag in org.tags))
        found = list(islice(wanted, limit + 1))
        following = found[limit - 1].id if len(found) > limit else None
        return answer(OrgsView([_org_view(org) for org in found[:limit]], following))

    async def one(self, request: Request, org: str) -> Answer:
        """One organisation. Its `ETag` goes into `If-Match` of a change."""
        known = self._directory.org(organisation_in_path(request, self._directory, org))
        if known is None:
            raise unknown_organisation()
        return answer(_org_view(known), headers=etag(self._directory, org_key(org)))

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
        return answer(_org_view(entry), headers=etag(self._directory, org_key(org)))

    async def delete(self, request: Request, org: str) -> Answer:
        """Remove an organisation with its configuration, secrets, keys and schedules. 409 while anything of it runs or
        waits. Records of what it ran stay for their time."""
        principal = principal_of(request.scope).within(org)
        if not principal.sees(org):
            raise unknown_organisation()
        principal.require(MANAGE_ORGS)
        belongings = self._directory.belongings(org) if is_token(org) and org != PLATFORM else []
        # Another try finds the organisation itself gone when the first one was interrupted.
        if self._directory.org(org) is None and not belongings:
            raise unknown_organisation()
        if principal.everywhere().orgs is not None:
            raise Conflict("Who belongs to an organisation cannot remove it.")
        principal.everywhere().require(MANAGE_ORGS)
        await self._check_idle(org)
        changes = changes_by(request, self._parts)
        changes.check(org_key(org))
        rest = changes.unconditional()
        # First the keys that act elsewhere too: nothing would tell another try of them once the organisation is gone.
        await self._take_from_keys(rest, org)
        await changes.delete(org_key(org))
        keys = iter(self._directory.belongings(org))

        async def remove() -> None:
            for key in keys:
                await rest.delete(key)

        await asyncio.gather(*(remove() for _ in range(_AT_ONCE)))
        _log.info("organisation deleted", org=org, entries=len(belongings), by=principal.key_id)
        return Answer(204, b"")

    async def _take_from_keys(self, changes: ChangesBy, org: str) -> None:
        """Keys of several organisations lose this one: another that is called so later is not theirs."""
        for key in [key for key in self._directory.api_keys() if org in key.orgs]:
            left = sorted((key.reach or frozenset()) - {org})
            if left:
                # Over exactly this revision: a key that is revoked meanwhile must not come back.
                entry, name = msgspec.structs.replace(key, org=None, orgs=left), api_key_key(key.id)
                await changes.put(name, entry, expect=self._directory.revisions.get(name, 0))
            else:  # a key without any organisation would be one of all
                await changes.delete(api_key_key(key.id))

    async def _check_idle(self, org: str) -> None:
        await self._parts.records.caught_up(self._parts.acceptor.last_sequence)
        query = ExecutionQuery(orgs=[org], statuses=_UNFINISHED, limit=1)
        unfinished = (await self._parts.store.find(query)).items
        if unfinished:
            raise Conflict(
                "Executions of this organisation have not ended: cancel them or wait.",
                details={"executionId": unfinished[0].execution_id, "status": unfinished[0].status},
            )


def _check_new_id(org: str) -> None:
    check_token(org, "org")
    # `{org}--{name}` is the key of a secret: it must not be readable in two ways.
    if org == PLATFORM or "--" in org:
        raise ValidationError(f"{org!r} cannot be the id of an organisation.", "org")


def _check_org(given: dict[str, Any]) -> None:
    if "name" in given and not 0 < len(given["name"].strip()) <= _LONGEST_NAME:
        raise ValidationError(f"name must have 1 to {_LONGEST_NAME} characters.", "name")
    if len(given.get("tenant_id") or "") > _LONGEST_NAME:
        raise ValidationError(f"tenant_id must have at most {_LONGEST_NAME} characters.", "tenant_id")
    if "time_zone" in given:
        try:
            ZoneInfo(given["time_zone"])
        except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError; a directory is an OSError
            raise ValidationError(f"There is no time zone {given['time_zone'][:64]!r}.", "time_zone") from None
    if not 0 < (given.get("max_concurrent") or 1) <= _MOST_CONCURRENT:
        raise ValidationError(f"max_concurrent is a number from 1 to {_MOST_CONCURRENT}, or null.", "max_concurrent")
    tags = given.get("tags", [])
    if len(tags) > _MOST_TAGS or not all(0 < len(tag.strip()) <= _LONGEST_NAME for tag in tags):
        raise ValidationError(f"tags are at most {_MOST_TAGS} texts of 1 to {_LONGEST_NAME} characters.", "tags")
    for field in ("enabled_workflows", "disabled_workflows"):
        names = given.get(field) or []
        if len(names) > _MOST_WORKFLOWS or not all(map(is_token, names)):
            raise ValidationError(f"{field} are at most {_MOST_WORKFLOWS} names of workflows.", field)


def _org_view(org: Org) -> OrgView:
    only = org.enabled_workflows
    return OrgView(
        org.id, org.name, org.tenant_id, org.time_zone, org.tags, only, org.disabled_workflows, org.max_concurrent
    )
