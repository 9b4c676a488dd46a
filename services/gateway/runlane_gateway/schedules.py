"""`/schedules…`: what runs when in an organisation, changes to it, running now, and the fate of past ticks."""

import re
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from msgspec import UNSET, Struct, UnsetType
from starlette.requests import Request

from runlane.contracts.directory import Manifest, Org, ScheduleSetting
from runlane.contracts.messages import Trigger
from runlane.contracts.records import TickQuery
from runlane.cron import Schedule
from runlane.directory import Directory, schedule_key
from runlane.errors import NotFound, RunlaneError, ValidationError
from runlane.ids import is_token, new_execution_id

from .answers import Answer, answer
from .auth import MANAGE_CONFIG, VIEW_EXECUTIONS
from .bodies import convert, decode_object, read_body
from .calls import Call
from .describe import Described
from .parts import Parts, headers_of, organisation, principal_of
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


def effective_schedule(directory: Directory, manifest: Manifest, org: Org) -> EffectiveSchedule | None:
    """The schedule of a workflow in an organisation, None where there is none."""
    setting = directory.schedule(org.id, manifest.name) or ScheduleSetting(org=org.id, workflow=manifest.name)
    expression = setting.schedule or manifest.schedule
    if expression is None:
        return None
    time_zone = setting.time_zone or manifest.schedule_time_zone
    return EffectiveSchedule(
        workflow=manifest.name,
        expression=expression,
        time_zone=time_zone,
        zone=org.time_zone if time_zone == "org" else time_zone,
        enabled=setting.enabled is not False and manifest.name not in org.disabled_workflows,
    )


def next_fires(schedule: EffectiveSchedule, after: datetime, count: int) -> list[datetime]:
    """The next times it fires; none where its expression or zone cannot be read."""
    try:
        cron = Schedule.parse(schedule.expression, schedule.zone)
        fires = [cron.next_after(after)]
        while len(fires) < count:
            fires.append(cron.next_after(fires[-1]))
    except (RunlaneError, ValueError):
        return []
    return fires


def snake_case(body: dict[str, Any]) -> dict[str, Any]:
    """A body's own names in snake_case, so that `timeZone` does as well as `time_zone`."""
    return {
        re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", key): value for key, value in body.items()
    }


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
        headers = headers_of(request.scope)
        given = decode_object(headers, await read_body(headers, request.receive, self._parts.settings.max_body))
        body = convert(snake_case(given), ScheduleBody)
        changes = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
        _check(changes, manifest, org)

        def changed(known: ScheduleSetting | None) -> ScheduleSetting:
            base = known or ScheduleSetting(org=org.id, workflow=workflow)
            return msgspec.structs.replace(base, **changes, changed_at=self._parts.clock.now())

        directory = self._parts.directory
        await self._parts.changes.change(
            schedule_key(org.id, workflow), lambda: directory.schedule(org.id, workflow), changed
        )
        schedule = effective_schedule(directory, manifest, org)
        if schedule is None:
            raise ValidationError(f"Workflow {workflow!r} declares no schedule: give one.", "schedule")
        return answer(self._view(schedule))

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

    def _org(self, request: Request) -> Org:
        org = self._parts.directory.org(organisation(request.scope, self._parts.directory))
        if org is None:
            raise ValidationError("Schedules belong to organisations, and the platform is none.", "X-Organization-Id")
        return org

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


def _check(changes: dict[str, Any], manifest: Manifest, org: Org) -> None:
    """Raises `ValidationError` unless the changed schedule could be read by the scheduler."""
    expression = changes.get("schedule") or manifest.schedule
    if expression is None:
        raise ValidationError(f"Workflow {manifest.name!r} declares no schedule: give one.", "schedule")
    time_zone = changes.get("time_zone") or manifest.schedule_time_zone
    try:
        Schedule.parse(expression, org.time_zone if time_zone == "org" else time_zone)
    except (RunlaneError, ValueError) as problem:
        raise ValidationError(str(problem), "schedule" if changes.get("schedule") else "time_zone") from None
