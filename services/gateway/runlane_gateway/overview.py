"""`GET /overview`: how an organisation is doing, and the engine it runs on. What an operator looks at first."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from msgspec import Struct
from pydantic import BaseModel, Field
from starlette.requests import Request

from runlane.contracts import subjects
from runlane.contracts.overview import Overview, OverviewQuery, Part
from runlane.errors import BusUnavailable
from runlane.queues import LaneQueue, lane_queues

from .answers import Answer, answer
from .auth import VIEW_EXECUTIONS, VIEW_INTERNALS
from .describe import Described
from .parts import Parts, organisation, principal_of
from .shared_answers import SharedAnswers
from .views import utc

_FRESH_SECONDS = 1.0
_BROKER_SECONDS = 1.0
_PARTS = 60


class PartView(Struct, frozen=True, rename="camel"):
    """What ended in a part of the time. Null percentiles: nothing that had run."""

    at: str
    succeeded: int
    failed: int
    cancelled: int
    p50_ms: int | None
    p95_ms: int | None


class TicksView(Struct, frozen=True, rename="camel"):
    fired: int = 0
    late: int = 0
    caught_up: int = 0
    skipped: int = 0
    missed: int = 0


class LaneView(Struct, frozen=True, rename="camel"):
    """`taken`: that an executor has; `oldestSeconds`: for how long the first of those that wait has been due."""

    lane: str
    waiting: int
    taken: int
    oldest_seconds: float


class RecorderView(Struct, frozen=True, rename="camel"):
    """What is not in the records yet, and how old the first of it is."""

    behind_events: int
    behind_seconds: float


class EngineView(Struct, frozen=True):
    """What all organisations share."""

    lanes: list[LaneView]
    recorder: RecorderView


class OverviewView(Struct, frozen=True, rename="camel"):
    """Sixty `parts` of `partSeconds`, the last one as far as it is. `complete` false: there was more than is looked at,
    and the oldest of it is left out. `engine`: null where it cannot be seen."""

    at: str
    part_seconds: int
    complete: bool
    parts: list[PartView]
    total: PartView
    unfinished: dict[str, int]
    ticks: TicksView
    engine: EngineView | None


class Window(BaseModel, extra="forbid"):
    minutes: int = Field(default=60, ge=1, le=10_080)


class OverviewDoor:
    """`/overview`"""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._overviews = SharedAnswers(self._overview, _FRESH_SECONDS)
        self._engine = SharedAnswers(self._look_at_engine, _FRESH_SECONDS)

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["operations"])
        router.add_api_route("/overview", self.show, methods=["GET"], responses=described.answers(OverviewView))
        return router

    async def show(self, request: Request, window: Annotated[Window, Query()]) -> Answer:
        """How an organisation has been doing for the last so many minutes, at most a second ago."""
        principal = principal_of(request.scope)
        principal.require(VIEW_EXECUTIONS)
        org = organisation(request.scope, self._parts.directory)
        (at, found), engine = await asyncio.gather(
            self._overviews.get((org, window.minutes)),
            self._engine.get(None) if principal.may(VIEW_INTERNALS) else _nothing(),
        )
        return answer(_view(at, window.minutes, found, engine))

    async def _overview(self, key: tuple[str, int]) -> tuple[datetime, Overview]:
        org, part_seconds = key  # sixty parts of an hour are minutes
        now = self._parts.clock.now()
        # Parts begin where they did a second ago, so that what is drawn of them stays.
        until = datetime.fromtimestamp((now.timestamp() // part_seconds + 1) * part_seconds, UTC)
        query = OverviewQuery(
            org=org, since=until - timedelta(seconds=_PARTS * part_seconds), until=until, parts=_PARTS
        )
        return query.since, await self._parts.store.overview(query)

    async def _look_at_engine(self, _: None) -> EngineView | None:
        """None while the broker does not answer."""
        try:
            async with asyncio.timeout(_BROKER_SECONDS):
                lanes, recorder = await asyncio.gather(
                    lane_queues(self._parts.bus, self._parts.clock.now()), self._recorder()
                )
        except (BusUnavailable, TimeoutError):
            return None
        return EngineView([_lane_view(lane) for lane in lanes], recorder)

    async def _recorder(self) -> RecorderView:
        bus = self._parts.bus
        lag = await bus.lag(subjects.EVENTS, subjects.RECORDER)
        behind = lag.pending + lag.unacknowledged
        first = await bus.read(subjects.EVENTS, ">", after=lag.floor, limit=1) if behind else []
        ages = [(self._parts.clock.now() - stored.time).total_seconds() for stored in first]
        return RecorderView(behind, round(max([0.0, *ages]), 3))


async def _nothing() -> None:
    return None


def _view(since: datetime, part_seconds: int, found: Overview, engine: EngineView | None) -> OverviewView:
    step = timedelta(seconds=part_seconds)
    return OverviewView(
        at=utc(since),
        part_seconds=part_seconds,
        complete=found.complete,
        parts=[_part_view(since + step * number, part) for number, part in enumerate(found.parts)],
        total=_part_view(since, found.whole),
        unfinished=found.unfinished,
        ticks=TicksView(**found.ticks),
        engine=engine,
    )


def _part_view(at: datetime, part: Part) -> PartView:
    ended = part.ended
    return PartView(utc(at), ended["Success"], ended["Failed"], ended["Cancelled"], part.p50_ms, part.p95_ms)


def _lane_view(lane: LaneQueue) -> LaneView:
    return LaneView(lane.lane, lane.waiting, lane.taken, round(lane.oldest_seconds, 3))
