"""What operators and probes ask: `/healthz`, `/readyz`, `/metrics` and `/asyncapi.json`. None of them needs a key."""

from collections.abc import Callable, Mapping
from importlib.metadata import version

import prometheus_client
from fastapi import APIRouter
from starlette.responses import Response

from runlane.contracts.asyncapi import asyncapi

from .answers import Answer, answer


class OperatorDoors:
    """`problems` is what keeps the gateway from serving; `degraded` what it serves without, for now."""

    def __init__(self, problems: Callable[[], Mapping[str, str]], degraded: Callable[[], Mapping[str, str]]) -> None:
        self._problems, self._degraded = problems, degraded

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["operations"])
        add = router.add_api_route
        add("/healthz", self.health, methods=["GET"])
        add("/readyz", self.readiness, methods=["GET"])
        add("/metrics", self.metrics, methods=["GET"], response_class=Response)
        add("/asyncapi.json", self.subjects, methods=["GET"])
        return router

    async def health(self) -> Answer:
        """The process lives."""
        return answer({"status": "ok"})

    async def readiness(self) -> Answer:
        """Whether to send requests here; 503 with the reasons when not."""
        problems = self._problems()
        status = "not ready" if problems else "ready"
        body = {"status": status, "problems": problems, "degraded": self._degraded()}
        return answer(body, 503 if problems else 200)

    async def subjects(self) -> Answer:
        """What goes over NATS: an AsyncAPI 3 document of every subject and payload."""
        return answer(asyncapi(version("runlane")))

    async def metrics(self) -> Response:
        """For Prometheus."""
        return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)
