"""`GET /workflows`, `GET /workflows/{name}`: what can be run, and which files did not import."""

from typing import Any

from fastapi import APIRouter
from msgspec import UNSET, Raw, Struct, UnsetType
from starlette.requests import Request

from runlane.contracts.directory import PLATFORM, ImportFailure, Manifest, Org
from runlane.errors import ValidationError

from .answers import Answer, answer
from .auth import VIEW_INTERNALS
from .describe import Described
from .known_workflow import known_workflow
from .parts import Parts, organisation, principal_of
from .schedules import effective_schedule, next_fires
from .views import utc, utc_or_none


class RetryView(Struct, frozen=True, rename="camel"):
    """Delays in seconds."""

    max_attempts: int
    backoff_multiplier: float
    initial_delay_seconds: float
    max_delay_seconds: float
    jitter: float
    non_retryable: list[str]


class SourceView(Struct, frozen=True):
    file: str
    line: int


class WorkflowView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A workflow. `parameters` is the JSON Schema of its parameters; `nextRun` and `enabled` are the organisation's."""

    name: str
    description: str
    category: str
    tags: list[str]
    execution_mode: str
    timeout_seconds: float
    max_duration_seconds: float
    retry_policy: RetryView
    schedule: str | None
    schedule_time_zone: str
    misfire_policy: str
    misfire_window_seconds: float
    overlap_policy: str
    jitter_seconds: float
    requires_org: bool
    expose_in_forms: bool
    requires_approval: bool
    required_permission: str
    webhook_enabled: bool
    webhook_secret_required: bool
    data_provider: bool
    priority: str | None
    max_concurrent: int | None
    max_concurrent_per_org: int | None
    concurrency_key: str | None
    max_concurrent_per_key: int
    parameters: Raw
    source: SourceView
    version: str
    origin: str
    enabled: bool
    next_run: str | UnsetType = UNSET


class FailureView(Struct, frozen=True, kw_only=True):
    """A workflow file that did not import."""

    file: str
    message: str
    at: str | None
    origin: str
    traceback: str | UnsetType = UNSET


class WorkflowsView(Struct, frozen=True):
    workflows: list[WorkflowView]
    failures: list[FailureView]


class WorkflowDoors:
    """`/workflows…`, for reading."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["workflows"])
        add = router.add_api_route
        add("/workflows", self.all, methods=["GET"], responses=described.answers(WorkflowsView))
        add("/workflows/{name}", self.one, methods=["GET"], responses=described.answers(WorkflowView))
        return router

    async def all(self, request: Request) -> Answer:
        """All workflows, and the files that could not be imported."""
        directory, org = self._parts.directory, self._org(request)
        internals = principal_of(request.scope).may(VIEW_INTERNALS)
        workflows = sorted(directory.workflows(), key=lambda manifest: manifest.name)
        failures = sorted(directory.import_failures(), key=lambda failure: failure.file)
        return answer(
            WorkflowsView(
                [self._view(manifest, org) for manifest in workflows],
                [_failure_view(failure, internals) for failure in failures],
            )
        )

    async def one(self, request: Request, name: str) -> Answer:
        """One workflow."""
        org = self._org(request)
        return answer(self._view(known_workflow(self._parts.directory, name), org))

    def _org(self, request: Request) -> Org | None:
        """The organisation, where the caller has or names one: workflows themselves belong to all."""
        try:
            return self._parts.directory.org(organisation(request.scope, self._parts.directory))
        except ValidationError:
            return None

    def _view(self, manifest: Manifest, org: Org | None) -> WorkflowView:
        known: dict[str, Any] = {name: getattr(manifest, name) for name in _SAME_NAMES}
        retry = manifest.retry
        return WorkflowView(
            **known,
            retry_policy=RetryView(**{name: getattr(retry, name) for name in RetryView.__struct_fields__}),
            source=SourceView(manifest.source_file, manifest.source_line),
            enabled=org is None or org.runs(manifest.name),
            next_run=self._next_run(manifest, org),
        )

    def _next_run(self, manifest: Manifest, org: Org | None) -> str | UnsetType:
        of = PLATFORM if org is None else org.id
        schedule = effective_schedule(self._parts.directory, manifest, of)
        if schedule is None or not schedule.enabled:
            return UNSET
        fires = next_fires(schedule, self._parts.clock.now(), 1)
        return utc(fires[0]) if fires else UNSET


_OWN_NAMES = {"retry_policy", "source", "enabled", "next_run"}
_SAME_NAMES = [name for name in WorkflowView.__struct_fields__ if name not in _OWN_NAMES]


def _failure_view(failure: ImportFailure, internals: bool) -> FailureView:
    return FailureView(
        file=failure.file,
        message=failure.message,
        at=utc_or_none(failure.at),
        origin=failure.origin,
        traceback=failure.traceback if internals else UNSET,
    )
