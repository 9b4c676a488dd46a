"""Graph's `$batch`: many requests in one call, each with a status of its own. Used by `msgraph`."""

from collections.abc import Mapping, Sequence
from typing import Any

from runlane.errors import IntegrationError, ValidationError
from runlane.integrations.base import BaseIntegration
from runlane.integrations.throttle import Patience, Throttle

#: What Graph takes in one call.
BATCH = 20

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_KEYS = frozenset({"method", "url", "headers", "body"})

Json = dict[str, Any]


async def in_batches(graph: BaseIntegration, throttle: Throttle, requests: Sequence[Mapping[str, Any]]) -> list[Json]:
    """See `MicrosoftGraph.batch`."""
    pending = {place: _checked(place, request) for place, request in enumerate(requests)}
    answers: dict[int, Json] = {}
    patience = Patience()
    while pending:
        for begin in range(0, len(pending), BATCH):
            places = list(pending)[begin : begin + BATCH]
            answers.update(await _send(graph, {place: pending[place] for place in places}))
        throttled = {place: request for place, request in pending.items() if _is_throttled(answers[place])}
        if not throttled or not await _waited(throttle, [answers[place] for place in throttled], patience):
            break
        pending = throttled
    return [answers[place] for place in range(len(requests))]


async def _send(graph: BaseIntegration, batch: Mapping[int, Json]) -> dict[int, Json]:
    requests = [{"id": str(place), **request} for place, request in batch.items()]
    body = await graph.request_json("POST", "/v1.0/$batch", json={"requests": requests}, cost=len(requests))
    found: dict[int, Json] = {}
    for answer in _responses(body):
        if str(answer.get("id")).isdigit() and isinstance(answer.get("status"), int):
            known = {"status": answer["status"], "headers": answer.get("headers") or {}, "body": answer.get("body")}
            found[int(answer["id"])] = known
    if set(found) != set(batch):
        raise IntegrationError("msgraph", f"POST /v1.0/$batch answered {len(found)} of {len(batch)} requests")
    return found


def _responses(body: Any) -> list[Json]:
    responses = body.get("responses") if isinstance(body, dict) else None
    return [answer for answer in responses if isinstance(answer, dict)] if isinstance(responses, list) else []


def _is_throttled(answer: Json) -> bool:
    return bool(answer["status"] == 429 or (answer["status"] == 503 and _header(answer, "Retry-After")))


async def _waited(throttle: Throttle, answers: list[Json], patience: Patience) -> bool:
    """Wait as long as the one says that asks for most."""
    asked = [str(_header(answer, "Retry-After") or "") for answer in answers]
    longest = max((text for text in asked if text.isdigit()), key=int, default=None)
    return await throttle.wait(int(answers[0]["status"]), lambda _: longest, patience)


def _header(answer: Json, name: str) -> Any:
    headers = answer["headers"] if isinstance(answer["headers"], dict) else {}
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)


def _checked(place: int, request: Mapping[str, Any]) -> Json:
    method, url = str(request.get("method", "GET")).upper(), request.get("url")
    if method not in _METHODS or not isinstance(url, str) or not url.startswith("/") or not _KEYS.issuperset(request):
        raise ValidationError(
            f"requests[{place}] must be like {{'method': 'GET', 'url': '/users/1', 'headers': {{}}, 'body': {{}}}}",
            f"requests[{place}]",
        )
    checked: Json = {"method": method, "url": url}
    headers = dict(request.get("headers") or {})
    if request.get("body") is not None:
        checked["body"] = request["body"]
        headers.setdefault("Content-Type", "application/json")
    return {**checked, "headers": headers} if headers else checked
