"""`/openapi.json`: what FastAPI cannot see, because the doors read and write with msgspec, is described here."""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from .answers import ErrorEnvelope
from .views import AcceptedView, ExecutionView, ResultView

_REF = "#/components/schemas/{name}"
_JSON = "application/json"

_HEADERS = {
    "X-Organization-Id": "The organisation; needed where the key is not bound to one.",
    "Prefer": "`respond-async`, or `wait=N` to wait up to N seconds (RFC 7240).",
    "Idempotency-Key": "The same key again finds the same execution instead of starting another.",
}
_QUERY: dict[str, tuple[dict[str, Any], str]] = {
    "delaySeconds": ({"type": "number", "minimum": 0}, "Start after this many seconds."),
    "runAt": ({"type": "string", "format": "date-time"}, "Start at this time."),
}


class Described:
    """The structs that doors mention, gathered while routes are declared; `finish` turns them into components."""

    def __init__(self) -> None:
        self._types: list[type[msgspec.Struct]] = [ErrorEnvelope, AcceptedView, ResultView, ExecutionView]

    def body(self, type_: type[msgspec.Struct]) -> dict[str, Any]:
        """For `openapi_extra`: the body is this."""
        return {"requestBody": {"required": True, "content": {_JSON: {"schema": self._reference(type_)}}}}

    def answers(self, type_: type[msgspec.Struct], status: int = 200) -> dict[int | str, dict[str, Any]]:
        """For `responses`: it answers this."""
        return {status: _response("Done.", self._reference(type_))}

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
        for operation in _operations(document["paths"]):
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = _response("Refused or failed.", _ref(ErrorEnvelope))
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


def _operations(paths: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    return (operation for operations in paths.values() for operation in operations.values())
