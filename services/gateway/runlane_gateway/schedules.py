"""`/schedules…`: what runs when in an organisation, changes to it, running now, and the fate of past ticks."""

from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request

from runlane.contracts.directory import PLATFORM, Manifest, Org, ScheduleSetting
from runlane.contracts.messages import Trigger
from runlane.contracts.records import TickQuery
from runlane.cron import Schedule
from runlane.directory import Directory, schedule_key
from runlane.errors import NotFound, ValidationError
from runlane.ids import is_token, new_execution_id

from .answers import Answer, answer
from .auth import MANAGE_CONFIG, VIEW_EXECUTIONS
from .calls import Call
from .describe import Described
from .parts import Parts, body_of, changes_by, organisation, principal_of
from .views import AcceptedView, utc

_SHOWN_FIRES = 5


class EffectiveSchedule(Struct, frozen=True):
    """What holds in an organisation: its own setting over what the workflow declares. `zone` is an IANA name."""

    workflow: str
    expression: str
    time_zone: str
    zone: str
    enabled: bool


class ScheduleView(Struct, frozen=True, rename="camel"):
    workflow: str
    schedule: str
    time_zone: str
    enabled: bool
    next_fires: list[str]


class SchedulesView(Struct, frozen=True):
    schedules: list[ScheduleView]


class ScheduleBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What is absent stays as it is; null takes back what was changed."""

    enabled: bool | UnsetType | None = UNSET
    schedule: str | UnsetType | None = UNSET
    time_zone: str | UnsetType | None = UNSET


class TickView(Struct, frozen=True, rename="camel"):
    scheduled_for: str
    outcome: str
    reason: str | None
    execution_id: str | None
    schedule: str
    time_zone: str
    decided_at: str


class TickPageView(Struct, frozen=True):
    ticks: list[TickView]
    next: str | None


def effective_schedule(directory: Directory, manifest: Manifest, org: str) -> EffectiveSchedule | None:
    """The schedule of a workflow in an organisation; None where it has none, or runs for the platform instead."""
    if manifest.schedule is None or manifest.requires_org == (org == PLATFORM):
        return None
    setting = directory.schedule(org, manifest.name) or ScheduleSetting(org=org, workflow=manifest.name)
    time_zone = setting.time_zone or manifest.schedule_time_zone
    known = directory.org(org)
    return EffectiveSchedule(
        workflow=manifest.name,
        expression=setting.schedule or manifest.schedule,
        time_zone=time_zone,
        zone=_zone(time_zone, known),
        enabled=setting.enabled is not False and (known is None or manifest.name not in known.disabled_workflows),
    )


def _zone(time_zone: str, org: Org | None) -> str:
    if time_zone != "org":
        return time_zone
    return "UTC" if org is None else org.time_zone


def next_fires(schedule: EffectiveSchedule, after: datetime, count: int) -> list[datetime]:
    """The next times it fires; none where its expression or zone cannot be read."""
    try:
        cron = Schedule.parse(schedule.expression, schedule.zone)
        fires = [cron.next_after(after)]
        while len(fires) < count:
            fires.append(cron.next_after(fires[-1]))
    except (ValueError, StopIteration):
        return []
    return fires


class ScheduleDoors:
    """`/schedules…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["schedules"])
        add = router.add_api_route
        add("/schedules", self.all, methods=["GET"], responses=described.answers(SchedulesView))
        add(
            "/schedules/{workflow}",
            self.change,
            methods=["PUT"],
            responses=described.answers(ScheduleView),
            openapi_extra=described.body(ScheduleBody),
        )
        add("/schedules/{workflow}/run", self.run, methods=["POST"], responses=described.answers(AcceptedView, 202))
        add("/schedules/{workflow}/ticks", self.ticks, methods=["GET"], responses=described.answers(TickPageView))
        return router

    async def all(self, request: Request) -> Answer:
        """What is scheduled in the organisation, with the next times it fires."""
        principal_of(request.scope).require(VIEW_EXECUTIONS)
        org, directory = self._org(request), self._parts.directory
        found = [effective_schedule(directory, manifest, org) for manifest in directory.workflows()]
        views = [self._view(schedule) for schedule in found if schedule is not None]
        return answer(SchedulesView(sorted(views, key=lambda view: view.workflow)))

    async def change(self, request: Request, workflow: str) -> Answer:
        """Pause it, or change its expression or time zone, for this organisation."""
        principal_of(request.scope).require(MANAGE_CONFIG)
        org, manifest = self._org(request), self._manifest(workflow)
        body = await body_of(request, self._parts, ScheduleBody)
        directory, now = self._parts.directory, self._parts.clock.now()
        known = effective_schedule(directory, manifest, org)
        if known is None:
            raise NotFound(f"Workflow {workflow!r} has no schedule here.")
        _check(body, known, directory.org(org))
        changes = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}

        def changed(setting: ScheduleSetting | None) -> ScheduleSetting:
            base = setting or ScheduleSetting(org=org, workflow=workflow)
            return msgspec.structs.replace(base, **changes, changed_at=now)

        await changes_by(request, self._parts).change(
            schedule_key(org, workflow), lambda: directory.schedule(org, workflow), changed
        )
        return answer(self._view(effective_schedule(directory, manifest, org) or known))

    async def run(self, request: Request, workflow: str) -> Answer:
        """Run it now, beside its schedule."""
        principal, calls = principal_of(request.scope), self._parts.calls
        org = organisation(request.scope, self._parts.directory)
        call = Call(
            execution_id=new_execution_id(),
            org=org,
            manifest=calls.workflow(workflow, org, principal),
            parameters={},
            principal=principal,
            trigger=Trigger("schedule", "manual"),
        )
        return await calls.start(call)

    async def ticks(
        self,
        request: Request,
        workflow: str,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: str | None = None,
    ) -> Answer:
        """What became of past ticks, newest first."""
        principal_of(request.scope).require(VIEW_EXECUTIONS)
        org = organisation(request.scope, self._parts.directory)
        page = await self._parts.store.ticks(TickQuery(orgs=[org], workflow=workflow, after=after, limit=limit))
        views = [
            TickView(
                utc(tick.scheduled_for),
                tick.outcome,
                tick.reason,
                tick.execution_id,
                tick.schedule,
                tick.time_zone,
                utc(tick.decided_at),
            )
            for tick in page.items
        ]
        return answer(TickPageView(views, page.next))

    def _org(self, request: Request) -> str:
        return organisation(request.scope, self._parts.directory)

    def _manifest(self, workflow: str) -> Manifest:
        manifest = self._parts.directory.workflow(workflow) if is_token(workflow) else None
        if manifest is None:
            raise NotFound(f"There is no workflow {workflow[:64]!r}.")
        return manifest

    def _view(self, schedule: EffectiveSchedule) -> ScheduleView:
        fires = next_fires(schedule, self._parts.clock.now(), _SHOWN_FIRES) if schedule.enabled else []
        return ScheduleView(
            schedule.workflow,
            schedule.expression,
            schedule.time_zone,
            schedule.enabled,
            [utc(fire) for fire in fires],
        )


def _check(body: ScheduleBody, schedule: EffectiveSchedule, org: Org | None) -> None:
    """Raises `ValidationError` unless the scheduler could read what is to be changed."""
    try:
        Schedule.parse(body.schedule or schedule.expression, _zone(body.time_zone or schedule.time_zone, org))
    except ValueError as problem:
        field = "schedule" if "cron" in str(problem) else "time_zone"
        raise ValidationError(str(problem), field) from None
