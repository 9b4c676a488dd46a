"""DBOS: workflows run in the process that serves, state in PostgreSQL."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import marks
from dbos import DBOS, DBOSConfig
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

_config: DBOSConfig = {
    "name": "bench",
    "system_database_url": os.environ["BENCH_POSTGRESQL"],
    "run_admin_server": False,
}
DBOS(config=_config)


@DBOS.workflow()
async def noop() -> None:
    marks.done()


@DBOS.step()
async def step(n: int) -> str:
    return f"{n:0200}"


@DBOS.workflow()
async def five_steps() -> int:
    for n in range(5):
        await step(n)
    marks.done()
    return 5


async def sync(request: Request) -> JSONResponse:
    await noop()
    return JSONResponse({"done": True})


async def background(request: Request) -> JSONResponse:
    await DBOS.start_workflow_async(noop)
    return JSONResponse({}, 202)


async def five(request: Request) -> JSONResponse:
    await DBOS.start_workflow_async(five_steps)
    return JSONResponse({}, 202)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    await asyncio.to_thread(DBOS.launch)
    yield
    DBOS.destroy()


doors = {"/sync": sync, "/async": background, "/five": five}
app = Starlette(routes=[Route(path, door, methods=["POST"]) for path, door in doors.items()], lifespan=lifespan)
