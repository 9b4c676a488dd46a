"""taskiq over NATS JetStream or Redis streams; results in Redis. Results are polled for: taskiq has no other way."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import marks
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from taskiq import AsyncBroker
from taskiq_nats import PullBasedJetStreamBroker
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

_results: RedisAsyncResultBackend[None] = RedisAsyncResultBackend(os.environ["BENCH_REDIS"], result_ex_time=600)
broker: AsyncBroker
if os.environ["BENCH_BROKER"] == "nats":
    broker = PullBasedJetStreamBroker(os.environ["BENCH_NATS"], queue="bench").with_result_backend(_results)
else:
    broker = RedisStreamBroker(os.environ["BENCH_REDIS"]).with_result_backend(_results)


@broker.task
async def noop() -> None:
    marks.done()


async def sync(request: Request) -> JSONResponse:
    task = await noop.kiq()
    await task.wait_result(check_interval=0.001, timeout=30)
    return JSONResponse({"done": True})


async def background(request: Request) -> JSONResponse:
    await noop.kiq()
    return JSONResponse({}, 202)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


routes = [Route("/sync", sync, methods=["POST"]), Route("/async", background, methods=["POST"])]
app = Starlette(routes=routes, lifespan=lifespan)
