"""What a client raises.

ClientError
├── CallRefused             the gateway said no; `status` and `code` say why
├── GatewayUnavailable      nobody answers, or not now; it was tried again
├── ExecutionFailed         the execution ended, and not well
└── NotYetEnded             it goes on, but nobody waits any more
"""

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """Anything that a client raises."""


class CallRefused(ClientError):
    """The gateway refused a call. `status` is HTTP's; `code`, `message` and `details` are the envelope's (SPEC §2).

    `retry_after`: seconds after which it may be tried again, where the gateway says so.
    """

    def __init__(
        self, status: int, code: str, message: str, details: Mapping[str, Any], retry_after: float | None = None
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message, self.details = status, code, message, dict(details)
        self.retry_after = retry_after


class GatewayUnavailable(ClientError):
    """Nobody answers. Whether the last call was done is not known: the same call with the same key may be repeated."""


class ExecutionFailed(ClientError):
    """An execution that was waited for failed or was cancelled. `code`: the error in its record."""

    def __init__(self, execution_id: str, status: str, code: str, message: str, details: Mapping[str, Any]) -> None:
        super().__init__(f"execution {execution_id}: {code}: {message}")
        self.execution_id, self.status = execution_id, status
        self.code, self.message, self.details = code, message, dict(details)


class NotYetEnded(ClientError):
    """It did not end in the time that the caller had. It goes on: `wait(execution_id)` waits again."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(f"execution {execution_id} has not ended yet: it is {status}")
        self.execution_id, self.status = execution_id, status
