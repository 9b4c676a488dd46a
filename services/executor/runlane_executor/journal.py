"""Reads back what earlier runs of an execution stored, in its true form: what resume stands on."""

import msgspec

from runlane.context import Journal
from runlane.contracts import subjects
from runlane.contracts.messages import (
    CheckpointEntry,
    Request,
    Retrying,
    SecretEntry,
    StepEntry,
    Suspended,
    Traced,
    TraceEntry,
    VariableEntry,
    decode_event,
    trace_context,
)
from runlane.ports import Bus
from runlane.sealing import Sealer

_PAGE = 500


async def load_journal(bus: Bus, sealer: Sealer, request: Request) -> Journal:
    """Fold the stored trace of an execution into its journal."""
    journal = Journal()
    filter_ = subjects.all_events(request.org, request.execution_id, request.workflow)
    after = 0
    while page := await bus.read(subjects.EVENTS, filter_, after=after, limit=_PAGE):
        after = page[-1].sequence
        for stored in page:
            event = decode_event(stored.payload)
            if isinstance(event, Traced):
                _fold(journal, sealer, request, event.data.entries)
            elif isinstance(event, Retrying | Suspended):
                _fold(journal, sealer, request, event.data.trace)
    return journal


def _fold(journal: Journal, sealer: Sealer, request: Request, entries: list[TraceEntry]) -> None:
    context = trace_context(request.org, request.execution_id)
    for entry in entries:
        match entry:
            case StepEntry(key=key, result=shown):
                journal.steps[key] = _true(sealer, context, entry.sealed, shown)
            case VariableEntry(name=name, value=shown):
                journal.variables[name] = _true(sealer, context, entry.sealed, shown)
            case CheckpointEntry(name=name, data=shown):
                journal.checkpoints[name] = _true(sealer, context, entry.sealed, shown)
            case SecretEntry(sealed=bytes(sealed)):
                journal.secrets.append(sealer.open(sealed, context).decode())
            case _:
                pass


def _true(sealer: Sealer, context: str, sealed: bytes | None, shown: msgspec.Raw) -> bytes:
    return bytes(shown) if sealed is None else sealer.open(sealed, context)
