"""What travels on REQUESTS: what an executor is asked to run, for whom and why."""

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct, field

TriggerKind: TypeAlias = Literal["http", "schedule", "form", "webhook", "retry"]


class Trigger(Struct, frozen=True, omit_defaults=True):
    """What caused an execution. `reference`: the tick, form, delivery or retried execution."""

    kind: TriggerKind = "http"
    reference: str | None = None


class Caller(Struct, frozen=True, omit_defaults=True):
    """On whose behalf an execution runs (`context.executed_by…`)."""

    id: str
    email: str | None = None
    name: str | None = None


#: The newest form of a request that this code can read.
REQUEST_VERSION = 1


class Request(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Run a workflow. The work-queue message.

    `sealed_parameters` is a JSON object sealed under `parameters_context()`; None means no parameters.
    `last_state` is the sequence of the last state its sender knows; 0 before the first attempt.
    `first_started_at` is set once it has run: `max_duration_seconds` counts from it, without the `waited_seconds` that
    it was suspended and the time since `suspended_at`. `wake` asks an executor only to look whether there is something
    to do, and to do that.
    `sensitive` names parameters whose values no record may show, whatever they are called.
    `crashes` counts the child processes that died under it so far; `redriven` says why it was put on the queue again.
    """

    execution_id: str
    org: str
    workflow: str
    caller: Caller
    accepted_at: datetime
    trigger: Trigger = Trigger()
    sealed_parameters: bytes | None = None
    attempt: int = 1
    last_state: int = 0
    first_started_at: datetime | None = None
    reply_to: str | None = None
    traceparent: str | None = None
    sensitive: list[str] = field(default_factory=list)
    waited_seconds: float = 0.0
    suspended_at: datetime | None = None
    wake: bool = False
    crashes: int = 0
    redriven: str | None = None
    version: int = REQUEST_VERSION


def parameters_context(org: str, execution_id: str) -> str:
    """What an execution's parameters are sealed for."""
    return f"{org}|{execution_id}|parameters"


_request_decoder = msgspec.json.Decoder(Request)


def decode_request(payload: bytes) -> Request:
    """Raises `msgspec.DecodeError` (a `msgspec.ValidationError` where it is JSON of another shape)."""
    return _request_decoder.decode(payload)
