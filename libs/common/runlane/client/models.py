"""What the gateway answers, as the client gives it to its caller. Fields that a newer gateway adds are left out."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct, field

from .errors import ExecutionFailed

FINISHED = frozenset({"Success", "Failed", "Cancelled"})


class Accepted(Struct, frozen=True, rename="camel"):
    """It will run, or runs already."""

    execution_id: str
    status: str


class Execution(Struct, frozen=True, kw_only=True, rename="camel"):
    """An execution; what a page does not hold (input, result, logs, variables) is there after `execution(id)` only."""

    execution_id: str
    workflow_name: str
    org_id: str
    status: str
    attempt: int = 0
    progress: float | None = None
    progress_message: str | None = None
    error: str | None = None
    message: str | None = None
    details: dict[str, Any] | None = None
    tags: list[str] = field(default_factory=list)
    queued_at: datetime | None = None
    run_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    resumes_at: datetime | None = None
    duration_ms: int | None = None
    input: Any = None
    result: Any = None
    logs: list[dict[str, Any]] = field(default_factory=list)
    variables: dict[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.status in FINISHED

    def require_success(self) -> "Execution":
        """Itself; raises `ExecutionFailed` when it ended in another way."""
        if self.ended and self.status != "Success":
            raise ExecutionFailed(
                self.execution_id, self.status, self.error or self.status, self.message or "", self.details or {}
            )
        return self


class Page(Struct, frozen=True):
    """Some of a list; `next` asks for those after it."""

    executions: list[Execution]
    next: str | None = None


class Event(Struct, frozen=True):
    """Something that an execution told, live: `log`, `state`, `progress`, …; `id` goes into `after`."""

    name: str
    data: Mapping[str, Any]
    id: str | None


class Line(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One execution of a batch."""

    parameters: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    delay_seconds: float | None = None
    run_at: datetime | None = None
    priority: str | None = None


class AcceptedLine(Struct, frozen=True, rename="camel"):
    """A line that became an execution. Lines count from 1."""

    line: int
    execution_id: str
    status: str


class RefusedLine(Struct, frozen=True):
    """A line that became none."""

    line: int
    error: str
    message: str
    details: dict[str, Any]


class BatchOutcome(Struct, frozen=True):
    """What became of each line."""

    executions: list[AcceptedLine]
    errors: list[RefusedLine]
