"""`/executors`: which are there, and draining them. They answer a roll call; nothing is kept of them."""

import asyncio

import msgspec
from fastapi import APIRouter
from msgspec import Struct
from starlette.requests import Request

from runlane.audit import Target
from runlane.contracts import subjects
from runlane.contracts.directory import PLATFORM
from runlane.contracts.presence import Presence, decode_presence
from runlane.errors import Forbidden, NotFound

from .answers import Answer, answer
from .auth import MANAGE_EXECUTIONS, VIEW_INTERNALS
from .describe import Described
from .parts import Parts, audit_of, principal_of

#: They answer within milliseconds; one that does not has more to do than to be listed.
_ROLL_CALL_SECONDS = 0.3


class ExecutorView(Struct, frozen=True, rename="camel"):
    """`running`: executions in it now, of at most `slots`. `draining`: it takes no more and ends when it has none."""

    executor: str
    host: str
    pid: int
    running: int
    slots: int
    draining: bool


class ExecutorsView(Struct, frozen=True):
    executors: list[ExecutorView]


class ExecutorDoors:
    """`/executors…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["operations"])
        add = router.add_api_route
        add("/executors", self.find, methods=["GET"], responses=described.answers(ExecutorsView))
        add("/executors/{id}/drain", self.drain, methods=["POST"], responses=described.answers(ExecutorsView, 202))
        return router

    async def find(self, request: Request) -> Answer:
        """The executors that are there now."""
        principal_of(request.scope).require(VIEW_INTERNALS)
        return answer(_views(await self._present()))

    async def drain(self, request: Request, id: str) -> Answer:
        """Have one, or `all` that are there, finish what they have and end; whoever keeps them starts them anew.

        Needs credentials that hold in every organisation: executors work for all.
        """
        principal = principal_of(request.scope).everywhere()
        principal.require(MANAGE_EXECUTIONS)
        if principal.orgs is not None:
            raise Forbidden("Executors work for every organisation; your credentials do not reach so far.")
        chosen = [there for there in await self._present() if id in (there.executor, subjects.EVERY_EXECUTOR)]
        if not chosen:
            raise NotFound("There is no such executor.")
        async with audit_of(request, self._parts).record("drain", Target(PLATFORM, "executors", id)):
            for there in chosen:
                self._parts.bus.send(subjects.drain(there.executor), b"")
        return answer(_views([msgspec.structs.replace(there, draining=True) for there in chosen]), 202)

    async def _present(self) -> list[Presence]:
        found: dict[str, Presence] = {}

        def heard(_: str, payload: bytes) -> None:
            said = decode_presence(payload)
            found[said.executor] = said

        listening = await self._parts.bus.listen(subjects.ALL_PRESENCE, heard)
        try:
            self._parts.bus.send(subjects.ROLL_CALL, b"")
            await asyncio.sleep(_ROLL_CALL_SECONDS)
        finally:
            await listening.stop()
        return [found[name] for name in sorted(found)]


def _views(present: list[Presence]) -> ExecutorsView:
    return ExecutorsView([ExecutorView(**msgspec.structs.asdict(there)) for there in present])
