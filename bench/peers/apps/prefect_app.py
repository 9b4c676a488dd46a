"""Prefect: flows run in the process that serves and report to a Prefect server; background work is its tasks."""

import marks
from prefect import flow, task
from prefect.task_worker import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


@flow(log_prints=False)
async def noop_flow() -> None:
    marks.done()


@task
async def noop_task() -> None:
    marks.done()


async def sync(request: Request) -> JSONResponse:
    await noop_flow()
    return JSONResponse({"done": True})


async def background(request: Request) -> JSONResponse:
    noop_task.delay()
    return JSONResponse({}, 202)


app = Starlette(routes=[Route("/sync", sync, methods=["POST"]), Route("/async", background, methods=["POST"])])

if __name__ == "__main__":
    serve(noop_task)
