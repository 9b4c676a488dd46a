"""What the gateway answers with: the one table from exceptions to HTTP, the error envelope, the answer itself.

`gate` and the FastAPI handlers turn every exception into an `Answer` here; the doors build theirs with `answer()`.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from runlane.contracts.events import Failure
from runlane.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    HeadersTooLarge,
    InfrastructureError,
    MessageTooLarge,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    PayloadTooLarge,
    PermissionError,
    PreconditionFailed,
    RequestTimeout,
    RunlaneError,
    SealBroken,
    TooManyRequests,
    Unauthorized,
    UnprocessableRequest,
    UnsupportedMediaType,
    ValidationError,
    WorkflowNotFound,
)
from runlane.telemetry import logger

_log = logger(__name__)

Header = tuple[bytes, bytes]

#: Exception to status; the nearest ancestor counts. What is not here is unexpected: 500, and nothing is told.
_STATUS_OF: dict[type[RunlaneError], int] = {
    BadRequest: 400,
    ValidationError: 400,
    Unauthorized: 401,
    Forbidden: 403,
    PermissionError: 403,
    NotFound: 404,
    WorkflowNotFound: 404,
    MethodNotAllowed: 405,
    NotAcceptable: 406,
    RequestTimeout: 408,
    Conflict: 409,
    PreconditionFailed: 412,
    PayloadTooLarge: 413,
    MessageTooLarge: 413,
    UnsupportedMediaType: 415,
    UnprocessableRequest: 422,
    TooManyRequests: 429,
    HeadersTooLarge: 431,
    InfrastructureError: 503,
}

#: The same for what ended an execution, by the name in its record; any other name is 500.
_STATUS_OF_FAILURE = {"ValidationError": 400, "PermissionError": 403, "WorkflowNotFound": 404}

#: What ended an execution that did not fail but was not to run (on): 409.
_CANCELLED = frozenset({"Cancelled", "ApprovalRejected", "ApprovalExpired"})

_HEADERS_OF: dict[int, list[Header]] = {
    401: [(b"www-authenticate", b'Bearer realm="runlane"')],
    503: [(b"retry-after", b"1")],
}

#: The body of every error that says nothing: what went wrong is in the log only.
UNEXPECTED = RunlaneError("An unexpected error occurred")
UNEXPECTED_NAME = "InternalServerError"

_encode = msgspec.json.Encoder().encode


class ErrorEnvelope(Struct, frozen=True, rename="camel"):
    """SPEC §2: the body of every error."""

    error: str
    message: str
    details: Mapping[str, Any]
    execution_id: str | UnsetType = UNSET
    status: str = "Failed"


class Answer(Response):
    """A JSON answer. Its headers are made as they are sent: Starlette's own way costs more than encoding the body."""

    def __init__(self, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-content-type-options", b"nosniff"),
            (b"cache-control", b"no-store"),
            *headers,
        ]


def answer(body: object, status: int = 200, headers: Iterable[Header] = ()) -> Answer:
    """Anything msgspec can write, as an answer."""
    return Answer(status, _encode(body), headers)


def refusal(problem: Exception, headers: Iterable[Header] = ()) -> Answer:
    """The answer to an exception; logs those that nobody expected."""
    status = _status_of(problem)
    if status is None or not isinstance(problem, RunlaneError):
        _log.error("unexpected error", exc_info=problem)
        return _error(500, UNEXPECTED_NAME, UNEXPECTED.message, {})
    code = "NotFound" if status == 404 else problem.code
    if isinstance(problem, TooManyRequests):
        headers = [*headers, (b"retry-after", b"%d" % max(1, math.ceil(problem.details.get("seconds", 1))))]
    return _error(status, code, problem.message, problem.details, headers)


def failure_answer(execution_id: str, failure: Failure) -> Answer:
    """The answer to a synchronous call whose execution did not succeed."""
    envelope = ErrorEnvelope(
        execution_id=execution_id,
        status="Cancelled" if failure.error in _CANCELLED else "Failed",
        error=failure.error,
        message=failure.message,
        details=failure.details,
    )
    status = 409 if failure.error in _CANCELLED else _STATUS_OF_FAILURE.get(failure.kind or failure.error, 500)
    return answer(envelope, status)


def _status_of(problem: Exception) -> int | None:
    if isinstance(problem, SealBroken):
        return None  # trying again does not help: the master key of this process is not the right one
    for type_ in type(problem).__mro__:
        if type_ in _STATUS_OF:
            return _STATUS_OF[type_]
    return None


def _error(status: int, error: str, message: str, details: Mapping[str, Any], headers: Iterable[Header] = ()) -> Answer:
    envelope = ErrorEnvelope(error=error, message=message, details=details)
    return answer(envelope, status, [*_HEADERS_OF.get(status, ()), *headers])
