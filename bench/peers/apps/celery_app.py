"""Celery over Redis, results in Redis, acknowledged late as the others do."""

import os

import marks
from anyio import to_thread
from celery import Celery
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

celery = Celery("bench", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])
celery.conf.update(task_acks_late=True, worker_prefetch_multiplier=16, broker_connection_retry_on_startup=True)


@celery.task
def noop() -> None:
    marks.done()


async def sync(request: Request) -> JSONResponse:
    await to_thread.run_sync(lambda: noop.delay().get(timeout=30))
    return JSONResponse({"done": True})


async def background(request: Request) -> JSONResponse:
    await to_thread.run_sync(noop.delay)
    return JSONResponse({}, 202)


app = Starlette(routes=[Route("/sync", sync, methods=["POST"]), Route("/async", background, methods=["POST"])])
