"""What an execution tells of itself while it runs: the entries of `events.Traced`."""

from datetime import datetime
from typing import Any, TypeAlias

from msgspec import Raw, Struct

from runlane.contracts.requests import Caller


def trace_context(org: str, execution_id: str) -> str:
    """What the true values in an execution's trace are sealed for."""
    return f"{org}|{execution_id}|trace"


class LogEntry(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="log"):
    """`context.log`. `data` is any JSON value; writers give it as `Raw`. (msgspec cannot read a `Raw | None`.)"""

    at: datetime
    level: str
    message: str
    data: Any = None


class CheckpointEntry(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="checkpoint"):
    """`context.save_checkpoint`. `sealed`: the true data, where `data` was sanitized."""

    at: datetime
    name: str
    data: Raw
    sealed: bytes | None = None


class VariableEntry(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="variable"):
    """`context.set_variable`."""

    at: datetime
    name: str
    value: Raw
    sealed: bytes | None = None


class CallEntry(Struct, frozen=True, tag_field="kind", tag="call"):
    """One call to a vendor's API."""

    at: datetime
    integration: str
    method: str
    endpoint: str
    status_code: int | None
    duration_ms: int
    success: bool
    error: str | None = None


class StepEntry(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="step"):
    """A finished durable step. `key` is its name with a count where a name is used again (`migrate#2`)."""

    at: datetime
    key: str
    result: Raw
    duration_ms: int = 0
    sealed: bytes | None = None


class SignalEntry(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="signal"):
    """An event from outside: `POST /executions/{id}/events/{name}`. `id` is the sender's, or made for it."""

    at: datetime
    name: str
    id: str
    data: Raw
    by: Caller
    sealed: bytes | None = None


class ProgressEntry(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="progress"):
    """`context.progress`."""

    at: datetime
    percent: float
    message: str | None = None


class DroppedEntry(Struct, frozen=True, tag_field="kind", tag="dropped"):
    """Entries beyond the cap were counted instead of kept; `what` is the entry kind."""

    at: datetime
    what: str
    count: int


class SecretEntry(Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="secret"):
    """A secret was read. `sealed`: its value, so that a later run masks what this one has seen of it."""

    at: datetime
    name: str
    sealed: bytes | None = None


TraceEntry: TypeAlias = (
    LogEntry
    | CheckpointEntry
    | VariableEntry
    | CallEntry
    | StepEntry
    | SignalEntry
    | ProgressEntry
    | DroppedEntry
    | SecretEntry
)
