"""`POST /executions/bulk`: cancels or retries what a filter matches, a page at a time, so that callers see progress.

The caller asks again with the `next` of the page before; a page that was asked for twice does nothing twice.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal, TypeAlias

import msgspec
import pydantic
from fastapi import APIRouter
from msgspec import Struct, field
from starlette.requests import Request

from runlane.audit import Target
from runlane.contracts.overview import UNFINISHED
from runlane.contracts.records import FINISHED, ExecutionQuery
from runlane.errors import PermissionError, RequestError, ValidationError, WorkflowNotFound
from runlane.ids import new_execution_id, repeatable_execution_id

from .again import call_again
from .answers import Answer, answer
from .auth import MANAGE_EXECUTIONS
from .cancelling import Canceller
from .describe import Described
from .executions import Filters
from .parts import Parts, audit_of, body_of, organisation, principal_of
from .preferences import NO_PREFERENCE

_MOST_COUNTED = 100_000
_AT_ONCE = 16
#: What stands in the way of one execution, and of no other.
_REFUSALS = (RequestError, ValidationError, PermissionError, WorkflowNotFound)

Action: TypeAlias = Literal["cancel", "retry"]

#: What can be done to which, and to which it is done where the filter names no status.
_POSSIBLE: dict[Action, frozenset[str]] = {"cancel": frozenset(UNFINISHED), "retry": FINISHED}
_USUAL: dict[Action, frozenset[str]] = {"cancel": frozenset(UNFINISHED), "retry": FINISHED - {"Success"}}


class BulkBody(Struct, frozen=True, forbid_unknown_fields=True):
    """`filter`: as the query of `GET /executions`, `limit` and `after` too. `key` makes retries repeatable: the same
    one for all pages. `dry_run`: only count."""

    action: Action
    filter: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    key: str = ""
    dry_run: bool = False


class RefusedView(Struct, frozen=True, rename="camel"):
    execution_id: str
    error: str
    message: str


class BulkView(Struct, frozen=True):
    """`count`: how many match, up to 100,000 (then `more`), for a dry run. Else `done` and `refused` of this page;
    there is another one unless `next` is null."""

    count: int = 0
    more: bool = False
    done: int = 0
    refused: list[RefusedView] = field(default_factory=list)
    next: str | None = None


class BulkDoor:
    """`/executions/bulk`"""

    def __init__(self, parts: Parts, canceller: Canceller) -> None:
        self._parts, self._canceller = parts, canceller

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["executions"])
        router.add_api_route(
            "/executions/bulk",
            self.act,
            methods=["POST"],
            responses=described.answers(BulkView),
            openapi_extra=described.body(BulkBody),
        )
        return router

    async def act(self, request: Request) -> Answer:
        """Cancel or retry a page of what a filter matches, or count all of it.

        Without a status, everything unfinished is cancelled, and what failed or was cancelled is retried.
        """
        principal_of(request.scope).require(MANAGE_EXECUTIONS)
        org = organisation(request.scope, self._parts.directory)
        body = await body_of(request, self._parts, BulkBody)
        query = _query(body, org)
        if query.after is None:
            await self._parts.records.caught_up(self._parts.acceptor.last_sequence)
        if body.dry_run:
            found = await self._parts.store.count(query, _MOST_COUNTED) if query.statuses else 0
            return answer(BulkView(count=found, more=found == _MOST_COUNTED))
        if not query.statuses:
            return answer(BulkView())
        async with audit_of(request, self._parts).record(body.action, Target(org, "executions", "bulk"), after=body):
            return answer(await self._page(request, body, org, query))

    async def _page(self, request: Request, body: BulkBody, org: str, query: ExecutionQuery) -> BulkView:
        page = await self._parts.store.find(query)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(execution_id: str) -> RefusedView | None:
            async with turns:
                return await _refused(execution_id, lambda: self._act_on(request, body, org, execution_id))

        found = await asyncio.gather(*(one(item.execution_id) for item in page.items), return_exceptions=True)
        for problem in found:
            # The broker or the store is away: all of them were tried, and the page can be asked for again.
            if isinstance(problem, BaseException):
                raise problem
        refused = [view for view in found if isinstance(view, RefusedView)]
        return BulkView(done=len(found) - len(refused), refused=refused, next=page.next)

    async def _act_on(self, request: Request, body: BulkBody, org: str, execution_id: str) -> None:
        parts = self._parts
        record = await parts.records.get(org, execution_id, certain=body.action == "retry")
        if body.action == "cancel":
            await self._canceller.cancel(org, record, principal_of(request.scope).caller, body.reason)
            return
        key = f"bulk:{body.key}"
        new = repeatable_execution_id("retry", org, execution_id, key) if body.key else new_execution_id()
        call = call_again(request, parts, record, new, preference=NO_PREFERENCE, repeatable=bool(body.key))
        await parts.calls.start(call)


async def _refused(execution_id: str, act: Callable[[], Awaitable[None]]) -> RefusedView | None:
    try:
        await act()
    except _REFUSALS as problem:
        return RefusedView(execution_id, problem.code, problem.message)
    return None


def _query(body: BulkBody, org: str) -> ExecutionQuery:
    """Raises `ValidationError` for a filter that is none."""
    try:
        query = Filters.model_validate(body.filter).query([org])
    except pydantic.ValidationError as problem:
        first = problem.errors()[0]
        name = ".".join(["filter", *(part for part in first["loc"] if isinstance(part, str))])
        raise ValidationError(f"{name}: {first['msg']}", name) from None
    statuses = (frozenset(query.statuses) & _POSSIBLE[body.action]) if query.statuses else _USUAL[body.action]
    return msgspec.structs.replace(query, statuses=sorted(statuses))
