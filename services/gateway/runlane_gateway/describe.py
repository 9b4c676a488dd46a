"""`/openapi.json`: what FastAPI cannot see, because the doors read and write with msgspec, is described here."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .answers import ErrorEnvelope
from .gate import needs_key
from .views import AcceptedView, ExecutionView, ResultView
from .webhook_views import WebhookAccepted, WebhookRefusal

_REF = "#/components/schemas/{name}"
_JSON = "application/json"

_HEADERS = {
    "X-Organization-Id": "The organisation; needed where the key is not bound to one.",
    "Prefer": "`respond-async`, or `wait=N` to wait up to N seconds (RFC 7240).",
    "X-Priority": "`high`, `normal` or `low`, among what the same organisation has waiting.",
    "Idempotency-Key": "The same key again finds the same execution instead of starting another.",
}
_QUERY: dict[str, tuple[dict[str, Any], str]] = {
    "delaySeconds": ({"type": "number", "minimum": 0}, "Start after this many seconds."),
    "runAt": ({"type": "string", "format": "date-time"}, "Start at this time."),
}


_REFUSALS = {
    400: "Something in the request is wrong; `details.field` names it.",
    401: "No key, or one that is not valid.",
    403: "The key lacks a permission.",
    404: "There is no such thing, or not for this caller.",
    429: "Too many requests; see `Retry-After`.",
    503: "A part of the engine is away; see `Retry-After`.",
}
_REFUSALS_OF_CHANGES = {
    409: "It is not in the state for that.",
    412: "It was changed meanwhile (`If-Match`).",
    413: "The body is too large.",
    415: "The body is not `application/json`.",
    422: "The same key was used with other parameters.",
}


class Described:
    """The structs that doors mention, gathered while routes are declared; `finish` turns them into components."""

    def __init__(self) -> None:
        self._types: list[type[msgspec.Struct]] = [
            ErrorEnvelope,
            AcceptedView,
            ResultView,
            ExecutionView,
            WebhookAccepted,
            WebhookRefusal,
        ]

    def body(self, type_: type[msgspec.Struct]) -> dict[str, Any]:
        """For `openapi_extra`: the body is this."""
        return {"requestBody": {"required": True, "content": {_JSON: {"schema": self._reference(type_)}}}}

    def lines(self, type_: type[msgspec.Struct]) -> dict[str, Any]:
        """For `openapi_extra`: each line of the body is this."""
        # One line is a JSON document, too.
        content = {media: {"schema": self._reference(type_)} for media in ("application/x-ndjson", _JSON)}
        return {"requestBody": {"required": True, "content": content}}

    def answers(self, type_: type[msgspec.Struct], status: int = 200) -> dict[int | str, dict[str, Any]]:
        """For `responses`: it answers this."""
        return {status: _response("Done.", self._reference(type_))}

    def any_object(self) -> dict[str, Any]:
        """For `openapi_extra`: the body is a JSON object of what the caller's data are."""
        return {"requestBody": {"content": {_JSON: {"schema": {"type": "object"}}}}}

    def outcomes(self) -> dict[int | str, dict[str, Any]]:
        """For `responses`: it answers with the result, or that it will run."""
        failed: dict[int | str, dict[str, Any]] = {500: _response("The workflow failed.", _ref(ErrorEnvelope))}
        return {**self.answers(ResultView), **self.answers(AcceptedView, 202), **failed}

    def finish(self, app: FastAPI) -> dict[str, Any]:
        """The whole document."""
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, components = msgspec.json.schema_components(self._types, ref_template=_REF)
        document.setdefault("components", {})
        # FastAPI describes its own form of a refusal, which no door here sends.
        document["components"]["schemas"] = components
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        document["paths"] = {**_hot_paths(document["paths"])}
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                operation["responses"].pop("422", None)
                _describe_refusals(operation, path, method)
        return document

    def _reference(self, type_: type[msgspec.Struct]) -> dict[str, Any]:
        if type_ not in self._types:
            self._types.append(type_)
        return _ref(type_)


def new_application(described: Described) -> FastAPI:
    """FastAPI without its documentation pages: they load scripts from other hosts."""
    app = FastAPI(
        title="Runlane",
        version=version("runlane"),
        description="Runs workflows, and keeps a complete record of what they did.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = described.finish(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # the way that FastAPI documents for this
    return app


def _hot_paths(paths: Mapping[str, Any]) -> dict[str, Any]:
    merged = {path: dict(operations) for path, operations in paths.items()}
    merged.setdefault("/workflows/{name}", {})["post"] = _execute()
    merged.setdefault("/executions/{id}", {})["get"] = _execution()
    merged.setdefault("/webhooks/{org}/{workflow}", {})["post"] = _webhook()
    return merged


def _execute() -> dict[str, Any]:
    return {
        "summary": "Run a workflow",
        "operationId": "run_workflow",
        "tags": ["workflows"],
        "parameters": [
            _parameter("name", "path", {"type": "string"}),
            *(_parameter(name, "header", {"type": "string"}, text) for name, text in _HEADERS.items()),
            *(_parameter(name, "query", schema, text) for name, (schema, text) in _QUERY.items()),
        ],
        "requestBody": {"content": {_JSON: {"schema": {"type": "object"}}}},
        "responses": {
            "200": _response("It succeeded.", _ref(ResultView)),
            "202": _response("It will run, or runs still.", _ref(AcceptedView)),
            "500": _response("The workflow failed.", _ref(ErrorEnvelope)),
        },
    }


def _webhook() -> dict[str, Any]:
    refused = _response("It was not processed; why is in the log and in the deliveries.", _ref(WebhookRefusal))
    return {
        "summary": "Deliver to a webhook",
        "description": "Without a key: the webhook's scheme says how a sender proves who it is.",
        "operationId": "deliver_webhook",
        "tags": ["webhooks"],
        "parameters": [
            _parameter("org", "path", {"type": "string"}),
            _parameter("workflow", "path", {"type": "string"}),
            _parameter("X-Webhook-Secret", "header", {"type": "string"}, "The secret; other schemes sign instead."),
            _parameter("validationToken", "query", {"type": "string"}, "What Microsoft Graph wants to read again."),
        ],
        "requestBody": {"content": {_JSON: {"schema": {}}}},
        "responses": {
            "200": {"description": "A handshake was answered.", "content": {"text/plain": {}, _JSON: {}}},
            "202": _response("It is queued.", _ref(WebhookAccepted)),
            **dict.fromkeys(("400", "413", "429", "503"), refused),
        },
    }


def _execution() -> dict[str, Any]:
    return {
        "summary": "An execution, with everything it did",
        "operationId": "get_execution",
        "tags": ["executions"],
        "parameters": [
            _parameter("id", "path", {"type": "string"}),
            _parameter("wait", "query", {"type": "integer", "minimum": 0}, "Wait this many seconds for its end."),
            _parameter("X-Organization-Id", "header", {"type": "string"}, _HEADERS["X-Organization-Id"]),
        ],
        "responses": {"200": _response("The execution.", _ref(ExecutionView))},
    }


def _parameter(name: str, place: str, schema: Mapping[str, Any], text: str = "") -> dict[str, Any]:
    described = {"description": text} if text else {}
    return {"name": name, "in": place, "required": place == "path", "schema": dict(schema), **described}


def _response(text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {_JSON: {"schema": dict(schema)}}}


def _ref(type_: type[msgspec.Struct]) -> dict[str, Any]:
    return {"$ref": _REF.format(name=type_.__name__)}


def _describe_refusals(operation: dict[str, Any], path: str, method: str) -> None:
    """Every status that the operation can answer with beside its own, so that clients can be generated from it."""
    if not needs_key(method.upper(), path):
        operation["security"] = []
        if not path.startswith("/sign-in/"):
            return  # pages and probes refuse nobody; webhooks say for themselves what they answer
    statuses = _REFUSALS if method == "get" else {**_REFUSALS, **_REFUSALS_OF_CHANGES}
    for status, text in statuses.items():
        operation["responses"].setdefault(str(status), _response(text, _ref(ErrorEnvelope)))
