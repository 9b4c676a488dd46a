"""Every error of Runlane's own, in one tree. Authors raise the first branch; the gateway alone turns them into HTTP.

RunlaneError                     code, message, details
├── WorkflowException            ends an execution as Failed (SPEC §2)
│   ├── ValidationError          details: field
│   ├── IntegrationError         details: integration, status_code
│   ├── TimeoutError             details: timeout_seconds
│   │   └── WaitTimeout          what the workflow waited for did not come in time
│   ├── ConfigurationError       details: config_key
│   ├── PermissionError
│   ├── SerializationError       details: path
│   ├── ResultTooLarge           details: size_bytes, limit_bytes
│   ├── WorkflowNotFound         no executor has code of that name
│   ├── BadMessage               its request cannot be read, or not be taken
│   ├── WorkerCrashed            the process that ran the code died
│   ├── ExecutorLost             too many executors died with it
│   ├── HistoryExpired           what it would go on from has left the event stream, or will have
│   └── InternalServerError      anything else; tells the client nothing
├── DefinitionError              a @workflow that cannot be accepted; raised at import
├── RequestError                 a door refuses a request
│   ├── Unauthorized, Forbidden, NotFound, MethodNotAllowed, Conflict, PreconditionFailed, NotAcceptable
│   ├── BadRequest, PayloadTooLarge, UnsupportedMediaType, UnprocessableRequest, TooManyRequests
│   └── RequestTimeout, HeadersTooLarge
└── InfrastructureError          a part of the engine cannot answer now; try again
    ├── BusUnavailable           NATS away, or no acknowledgement in time
    │   └── StorageFull          the stream takes no more
    ├── StoreUnavailable         the record store cannot answer
    ├── SecretsUnavailable       the store of secrets cannot answer
    ├── StateConflict            a compare-and-set lost: somebody else moved the state line
    ├── MessageTooLarge          payload and headers exceed what the broker takes
    ├── SealBroken               sealed bytes do not open with this key and context
    └── ChoicesUnavailable       a data provider did not give a form its choices; details: field, workflow, executionId
"""

from collections.abc import Mapping
from typing import Any, ClassVar

__all__ = [
    "BadMessage",
    "BadRequest",
    "BusUnavailable",
    "ChoicesUnavailable",
    "ConfigurationError",
    "Conflict",
    "DefinitionError",
    "ExecutorLost",
    "Forbidden",
    "HeadersTooLarge",
    "HistoryExpired",
    "InfrastructureError",
    "IntegrationError",
    "InternalServerError",
    "MessageTooLarge",
    "MethodNotAllowed",
    "NotAcceptable",
    "NotFound",
    "PayloadTooLarge",
    "PermissionError",
    "PreconditionFailed",
    "RequestError",
    "RequestTimeout",
    "ResultTooLarge",
    "RunlaneError",
    "SealBroken",
    "SecretsUnavailable",
    "SerializationError",
    "StateConflict",
    "StorageFull",
    "StoreUnavailable",
    "TimeoutError",
    "TooManyRequests",
    "Unauthorized",
    "UnprocessableRequest",
    "UnsupportedMediaType",
    "ValidationError",
    "WaitTimeout",
    "WorkerCrashed",
    "WorkflowException",
    "WorkflowNotFound",
]


class RunlaneError(Exception):
    """Something went wrong in Runlane."""

    code: ClassVar[str] = "RunlaneError"

    def __init__(self, message: str | None = None, *, details: Mapping[str, Any] | None = None) -> None:
        self.message: str = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.details: dict[str, Any] = dict(details or {})
        super().__init__(self.message)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "code" not in cls.__dict__:
            cls.code = cls.__name__


# --- what ends an execution ------------------------------------------------------------------------------------------


class WorkflowException(RunlaneError):
    """The workflow failed."""

    #: Whether a retry policy may try again when its `retry_on` does not say.
    retryable: ClassVar[bool] = True


class ValidationError(WorkflowException):
    """The input is not valid."""

    retryable = False

    def __init__(
        self, message: str | None = None, field: str | None = None, *, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, details={**({"field": field} if field is not None else {}), **(details or {})})
        self.field = field


class IntegrationError(WorkflowException):
    """A vendor's API failed."""

    def __init__(
        self,
        integration: str,
        message: str | None = None,
        status_code: int | None = None,
        *,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, details={"integration": integration, "status_code": status_code, **(details or {})})
        self.integration = integration
        self.status_code = status_code


class TimeoutError(WorkflowException):
    """The workflow exceeded its time limit."""

    def __init__(
        self,
        message: str | None = None,
        timeout_seconds: float | None = None,
        *,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        if message is None and timeout_seconds is not None:
            message = f"Workflow exceeded timeout of {timeout_seconds:g} seconds"
        if timeout_seconds is not None and timeout_seconds == int(timeout_seconds):
            timeout_seconds = int(timeout_seconds)  # 300, as SPEC §2 shows it, not 300.0
        known = {"timeout_seconds": timeout_seconds} if timeout_seconds is not None else {}
        super().__init__(message, details={**known, **(details or {})})
        self.timeout_seconds = timeout_seconds


class WaitTimeout(TimeoutError):
    """What the workflow waited for did not come in time."""

    code = "TimeoutError"
    retryable = False  # a retry would find that it did not come


class ConfigurationError(WorkflowException):
    """Configuration is missing or wrong."""

    retryable = False

    def __init__(
        self, message: str | None = None, config_key: str | None = None, *, details: Mapping[str, Any] | None = None
    ) -> None:
        known = {"config_key": config_key} if config_key is not None else {}
        super().__init__(message, details={**known, **(details or {})})
        self.config_key = config_key


class PermissionError(WorkflowException):
    """Not permitted."""

    retryable = False


class SerializationError(WorkflowException):
    """The value cannot be written as JSON."""

    retryable = False

    def __init__(self, message: str | None = None, path: str = "$") -> None:
        super().__init__(message, details={"path": path})
        self.path = path


class ResultTooLarge(WorkflowException):
    """The result is larger than a record can hold; store it elsewhere and return a reference."""

    retryable = False


class WorkflowNotFound(WorkflowException):
    """No executor has a workflow of that name."""


class BadMessage(WorkflowException):
    """The request of this execution cannot be read."""

    retryable = False


class WorkerCrashed(WorkflowException):
    """The process that ran the workflow died."""

    retryable = False  # its crashes were counted against `max_attempts` already


class ExecutorLost(WorkflowException):
    """The executors that ran the workflow were lost too often."""


class HistoryExpired(WorkflowException):
    """The execution lasts longer than its events are kept, so it could not go on from its steps."""

    retryable = False


class InternalServerError(WorkflowException):
    """An unexpected error occurred during workflow execution"""


# --- what stops at import --------------------------------------------------------------------------------------------


class DefinitionError(RunlaneError):
    """A workflow is declared in a way that cannot work."""


# --- what a door refuses ---------------------------------------------------------------------------------------------


class RequestError(RunlaneError):
    """The request cannot be served."""


class BadRequest(RequestError):
    """The request is malformed."""


class Unauthorized(RequestError):
    """Authentication is required: send `Authorization: Bearer rl_…`."""


class Forbidden(RequestError):
    """You may not do this."""


class NotFound(RequestError):
    """There is no such thing here."""


class MethodNotAllowed(RequestError):
    """This method is not allowed here."""


class NotAcceptable(RequestError):
    """None of the accepted representations is available."""


class Conflict(RequestError):
    """The request conflicts with the present state."""


class PreconditionFailed(RequestError):
    """What you changed is not what it was; read it again."""


class PayloadTooLarge(RequestError):
    """The request body is too large."""


class UnsupportedMediaType(RequestError):
    """Send JSON with `Content-Type: application/json`."""


class UnprocessableRequest(RequestError):
    """The request cannot be processed."""


class TooManyRequests(RequestError):
    """Too many requests; slow down."""


class RequestTimeout(RequestError):
    """The request did not arrive in time."""


class HeadersTooLarge(RequestError):
    """The headers are too large."""


# --- what may work a moment later ------------------------------------------------------------------------------------


class InfrastructureError(RunlaneError):
    """A part of the engine cannot answer now."""


class BusUnavailable(InfrastructureError):
    """The message broker cannot be reached."""


class StorageFull(BusUnavailable):
    """The message broker's storage is full."""


class StoreUnavailable(InfrastructureError):
    """The record store cannot answer."""


class SecretsUnavailable(InfrastructureError):
    """The store of secrets cannot answer."""


class StateConflict(InfrastructureError):
    """Somebody else moved this state first."""


class MessageTooLarge(InfrastructureError):
    """The message is larger than the broker takes."""


class SealBroken(InfrastructureError):
    """Sealed bytes do not open with this key."""


class ChoicesUnavailable(InfrastructureError):
    """The choices of a field cannot be had."""
