"""procrastinate: jobs in PostgreSQL. It keeps no results, so there is nothing to wait for."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import marks
from procrastinate import App, PsycopgConnector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

tasks = App(connector=PsycopgConnector(conninfo=os.environ["BENCH_POSTGRESQL"], min_size=4, max_size=16))


@tasks.task(name="noop")
async def noop() -> None:
    marks.done()


async def background(request: Request) -> JSONResponse:
    await noop.defer_async()
    return JSONResponse({}, 202)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with tasks.open_async():
        yield


app = Starlette(routes=[Route("/async", background, methods=["POST"])], lifespan=lifespan)
