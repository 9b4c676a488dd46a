"""A finished execution as a call that runs it again, with the same parameters. Used by its own doors, and by
those of dead letters and webhooks."""

from typing import Any

import msgspec
from starlette.requests import Request

from runlane.contracts.records import Record
from runlane.contracts.requests import Trigger, parameters_context
from runlane.errors import Conflict, SealBroken
from runlane.redaction import masked_names

from .calls import Call, idle_seconds, traceparent_of
from .parts import Parts, headers_of, principal_of
from .preferences import Preference


def call_again(
    request: Request, parts: Parts, record: Record, execution_id: str, *, preference: Preference, repeatable: bool
) -> Call:
    """The call. Raises `NotFound` where the caller may not run the workflow (any more), `Conflict` while the execution
    has not ended, or when its parameters cannot be opened any more."""
    principal, headers = principal_of(request.scope), headers_of(request.scope)
    manifest = parts.calls.workflow(record.workflow, record.org, principal)
    if not record.finished:
        raise Conflict(f"It has not ended yet: it is {record.status}.", details={"status": record.status})
    return Call(
        execution_id=execution_id,
        org=record.org,
        manifest=manifest,
        parameters=true_parameters(parts, record),
        # A form may have said so, and its word holds for a retry too.
        sensitive=frozenset(masked_names(record.input) if record.input is not None else ()),
        principal=principal,
        trigger=Trigger("retry", record.execution_id),
        preference=preference,
        wait=0.0 if preference.wait is None else idle_seconds(manifest, preference, None, 0.0),
        traceparent=traceparent_of(headers),
        repeatable=repeatable,
    )


def true_parameters(parts: Parts, record: Record) -> dict[str, Any]:
    """What an execution was given. Raises `Conflict` when it can no longer be opened."""
    if record.sealed_input is None:
        return {}
    try:
        opened = parts.sealer.open(record.sealed_input, parameters_context(record.org, record.execution_id))
    except SealBroken:
        raise Conflict("Its parameters were sealed with a master key that has been retired.") from None
    return msgspec.json.decode(opened, type=dict[str, Any])
