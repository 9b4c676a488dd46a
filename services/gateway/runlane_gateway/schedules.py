"""`/schedules…`: what runs when in an organisation, changes to it, running now, and the fate of past ticks."""

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Query
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request

from runlane.contracts.directory import PLATFORM, Manifest, Org, ScheduleSetting
from runlane.contracts.records import TickQuery
from runlane.contracts.requests import Trigger
from runlane.cron import Schedule
from runlane.directory import Directory, schedule_key
from runlane.errors import NotFound, ValidationError
from runlane.ids import new_execution_id

from .answers import Answer, answer
from .calls import Call
from .conditions import etag
from .describe import Described
from .known_workflow import known_workflow
from .parts import Parts, body_of, changes_by, organisation, principal_of
from .permissions import MANAGE_CONFIG, VIEW_EXECUTIONS
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


class PreviewView(Struct, frozen=True, rename="camel"):
    """When it would fire: `fires` in UTC, `localFires` by the clocks of `zone`."""

    workflow: str
    schedule: str
    time_zone: str
    zone: str
    fires: list[str]
    local_fires: list[str]


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
        enabled=setting.enabled is not False and directory.enabled(org, manifest.name),
    )


def _zone(time_zone: str, org: Org | None) -> str:
    if time_zone != "org":
        return time_zone
    return "UTC" if org is None else org.time_zone


def schedule_view(schedule: EffectiveSchedule, now: datetime) -> ScheduleView:
    """A schedule with the next times it fires; none while it is paused."""
    fires = next_fires(schedule, now, _SHOWN_FIRES) if schedule.enabled else []
    return ScheduleView(
        schedule.workflow, schedule.expression, schedule.time_zone, schedule.enabled, [utc(fire) for fire in fires]
    )


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
        one = "/schedules/{workflow}"
        add(one, self.one, methods=["GET"], responses=described.answers(ScheduleView))
        add(one, self.reset, methods=["DELETE"], status_code=204)
        add(f"{one}/preview", self.preview, methods=["GET"], responses=described.answers(PreviewView))
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
        org, directory, now = self._org(request), self._parts.directory, self._parts.clock.now()
        known = self._known(workflow, org)
        body = await body_of(request, self._parts, ScheduleBody)
        _check(body, known, directory.org(org))
        changes = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}

        def changed(setting: ScheduleSetting | None) -> ScheduleSetting:
            base = setting or ScheduleSetting(org=org, workflow=workflow)
            return msgspec.structs.replace(base, **changes, changed_at=now)

        await changes_by(request, self._parts).change(
            schedule_key(org, workflow), lambda: directory.schedule(org, workflow), changed
        )
        return self._answer(workflow, org)

    async def one(self, request: Request, workflow: str) -> Answer:
        """One schedule. Its `ETag` is that of what the organisation changed, absent where it changed nothing."""
        principal_of(request.scope).require(VIEW_EXECUTIONS)
        return self._answer(workflow, self._org(request))

    async def reset(self, request: Request, workflow: str) -> Answer:
        """Take back everything that was changed for this organisation: the schedule is as declared again."""
        principal_of(request.scope).require(MANAGE_CONFIG)
        org = self._org(request)
        self._known(workflow, org)
        await changes_by(request, self._parts).delete(schedule_key(org, workflow))
        return Answer(204, b"")

    async def preview(
        self,
        request: Request,
        workflow: str,
        count: Annotated[int, Query(ge=1, le=100)] = 10,
        schedule: str | None = None,
        time_zone: Annotated[str | None, Query(alias="timeZone")] = None,
    ) -> Answer:
        """When it fires next, as it is or with another expression or zone that is only tried out."""
        principal_of(request.scope).require(VIEW_EXECUTIONS)
        org, directory = self._org(request), self._parts.directory
        known = self._known(workflow, org)
        _check(ScheduleBody(schedule=schedule, time_zone=time_zone), known, directory.org(org))
        shown_zone = time_zone or known.time_zone
        zone = _zone(shown_zone, directory.org(org))
        tried = msgspec.structs.replace(known, expression=schedule or known.expression, time_zone=shown_zone, zone=zone)
        fires = next_fires(tried, self._parts.clock.now(), count)
        local = [fire.astimezone(ZoneInfo(zone)).isoformat() for fire in fires]
        return answer(PreviewView(workflow, tried.expression, shown_zone, zone, [utc(fire) for fire in fires], local))

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

    def _answer(self, workflow: str, org: str) -> Answer:
        headers = etag(self._parts.directory, schedule_key(org, workflow))
        return answer(self._view(self._known(workflow, org)), headers=headers)

    def _org(self, request: Request) -> str:
        return organisation(request.scope, self._parts.directory)

    def _manifest(self, workflow: str) -> Manifest:
        return known_workflow(self._parts.directory, workflow)

    def _view(self, schedule: EffectiveSchedule) -> ScheduleView:
        return schedule_view(schedule, self._parts.clock.now())

    def _known(self, workflow: str, org: str) -> EffectiveSchedule:
        known = effective_schedule(self._parts.directory, self._manifest(workflow), org)
        if known is None:
            raise NotFound(f"Workflow {workflow!r} has no schedule here.")
        return known


def _check(body: ScheduleBody, schedule: EffectiveSchedule, org: Org | None) -> None:
    """Raises `ValidationError` unless the scheduler could read what is to be changed."""
    try:
        Schedule.parse(body.schedule or schedule.expression, _zone(body.time_zone or schedule.time_zone, org))
    except ValueError as problem:
        field = "schedule" if "cron" in str(problem) else "time_zone"
        raise ValidationError(str(problem), field) from None
