"""`/orgs/{org}/workflows…`: which workflows an organisation may run, one by one, and what their schedules are there."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from msgspec import Struct
from starlette.requests import Request

from runlane.contracts.directory import Manifest, Org
from runlane.directory import org_key
from runlane.telemetry import logger

from .answers import Answer, answer
from .conditions import etag
from .describe import Described
from .known_workflow import known_workflow
from .parts import Parts, body_of, changes_by, organisation_in_path, principal_of, unknown_organisation
from .permissions import MANAGE_CONFIG, VIEW_EXECUTIONS
from .schedules import ScheduleView, effective_schedule, schedule_view

_log = logger(__name__)


class OrgWorkflowView(Struct, frozen=True):
    """`schedule` is null where the workflow has none."""

    workflow: str
    enabled: bool
    schedule: ScheduleView | None


class OrgWorkflowsView(Struct, frozen=True):
    workflows: list[OrgWorkflowView]
    next: str | None


class EnableBody(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool


class EnablementDoors:
    """`/orgs/{org}/workflows`, `/orgs/{org}/workflows/{workflow}`"""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._directory = parts, parts.directory

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["organizations"])
        add, every = router.add_api_route, "/orgs/{org}/workflows"
        one, views = "/orgs/{org}/workflows/{workflow}", described.answers(OrgWorkflowView)
        add(every, self.all, methods=["GET"], responses=described.answers(OrgWorkflowsView))
        add(one, self.one, methods=["GET"], responses=views)
        add(one, self.put, methods=["PUT"], responses=views, openapi_extra=described.body(EnableBody))
        return router

    async def all(
        self, request: Request, org: str, limit: Annotated[int, Query(ge=1, le=1000)] = 200, after: str = ""
    ) -> Answer:
        """Every workflow as the organisation has it."""
        organisation_in_path(request, self._directory, org)
        principal_of(request.scope).require(VIEW_EXECUTIONS)
        names = sorted(manifest.name for manifest in self._directory.workflows() if manifest.name > after)
        views = [self._view(org, self._manifest(name)) for name in names[:limit]]
        return answer(OrgWorkflowsView(views, names[limit - 1] if len(names) > limit else None))

    async def one(self, request: Request, org: str, workflow: str) -> Answer:
        """One workflow as the organisation has it. The `ETag` is the organisation's."""
        organisation_in_path(request, self._directory, org)
        principal_of(request.scope).require(VIEW_EXECUTIONS)
        return self._answer(org, self._manifest(workflow))

    async def put(self, request: Request, org: str, workflow: str) -> Answer:
        """Let the organisation run a workflow, or not: by calls, schedules, webhooks and forms alike."""
        organisation_in_path(request, self._directory, org)
        principal = principal_of(request.scope)
        principal.require(MANAGE_CONFIG)
        manifest, wanted = self._manifest(workflow), (await body_of(request, self._parts, EnableBody)).enabled

        def changed(known: Org | None) -> Org:
            if known is None:
                raise unknown_organisation()
            return with_workflow(known, workflow) if wanted else without_workflow(known, workflow)

        await changes_by(request, self._parts).change(org_key(org), lambda: self._directory.org(org), changed)
        _log.info(
            "workflow enabled" if wanted else "workflow disabled", org=org, workflow=workflow, by=principal.key_id
        )
        return self._answer(org, manifest)

    def _answer(self, org: str, manifest: Manifest) -> Answer:
        return answer(self._view(org, manifest), headers=etag(self._directory, org_key(org)))

    def _view(self, org: str, manifest: Manifest) -> OrgWorkflowView:
        schedule = effective_schedule(self._directory, manifest, org)
        view = None if schedule is None else schedule_view(schedule, self._parts.clock.now())
        return OrgWorkflowView(manifest.name, self._directory.enabled(org, manifest.name), view)

    def _manifest(self, workflow: str) -> Manifest:
        return known_workflow(self._directory, workflow)


def with_workflow(org: Org, workflow: str) -> Org:
    """The organisation, running this workflow too."""
    disabled = [name for name in org.disabled_workflows if name != workflow]
    only = org.enabled_workflows
    if only is not None and workflow not in only:
        only = [*only, workflow]
    return msgspec.structs.replace(org, disabled_workflows=disabled, enabled_workflows=only)


def without_workflow(org: Org, workflow: str) -> Org:
    """The organisation, not running this workflow: struck off the list that decides."""
    if not org.runs(workflow):
        return org
    if org.enabled_workflows is None:
        return msgspec.structs.replace(org, disabled_workflows=[*org.disabled_workflows, workflow])
    return msgspec.structs.replace(org, enabled_workflows=[name for name in org.enabled_workflows if name != workflow])
