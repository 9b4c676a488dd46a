"""Reads back what earlier runs of an execution stored, in its true form: what resume stands on."""

import asyncio

import msgspec

from runlane.context import Journal
from runlane.contracts import subjects
from runlane.contracts.events import (
    AnyEvent,
    ApprovalDecision,
    Approved,
    DecidedData,
    Declined,
    PendingApproval,
    Retrying,
    Signalled,
    StateEvent,
    Suspended,
    Traced,
    decode_event,
)
from runlane.contracts.requests import Request
from runlane.contracts.trace import (
    CheckpointEntry,
    SecretEntry,
    SignalEntry,
    StepEntry,
    TraceEntry,
    VariableEntry,
    trace_context,
)
from runlane.errors import BusUnavailable, StateConflict
from runlane.ports import Bus
from runlane.sealing import Sealer

_PAGE = 500

#: A replica may lag behind; then it is asked again.
_STALE_READS = 60
_STALE_SECONDS = 0.05


async def load_journal(bus: Bus, sealer: Sealer, request: Request, claim: int) -> Journal:
    """What the runs before the one under `claim` stored.

    Raises `StateConflict` when somebody has moved the execution on since, and may be storing more by now;
    `BusUnavailable` when the stream cannot be read up to the claim.
    """
    journal, state = await _journal_up_to(bus, sealer, request, claim)
    if state > claim:
        raise StateConflict("Somebody else has taken it over.")
    return journal


async def event_is_waiting(bus: Bus, sealer: Sealer, request: Request, name: str, suspended: int) -> bool:
    """Whether an event of that name had come, and was not taken, when the state `suspended` was stored."""
    journal, _ = await _journal_up_to(bus, sealer, request, suspended)
    return journal.untaken(name) is not None


async def _journal_up_to(bus: Bus, sealer: Sealer, request: Request, at_least: int) -> tuple[Journal, int]:
    """The journal up to that sequence or further, and the sequence of the last state that it has seen."""
    for _ in range(_STALE_READS):
        journal, last, state = await _read_journal(bus, sealer, request)
        if last >= at_least:
            return journal, state
        await asyncio.sleep(_STALE_SECONDS)
    raise BusUnavailable("The journal of an execution cannot be read up to its end.")


async def _read_journal(bus: Bus, sealer: Sealer, request: Request) -> tuple[Journal, int, int]:
    journal = Journal()
    filter_ = subjects.all_events(request.org, request.execution_id, request.workflow)
    after = state = 0
    while page := await bus.read(subjects.EVENTS, filter_, after=after, limit=_PAGE):
        after = page[-1].sequence
        for stored in page:
            event = decode_event(stored.payload)
            if isinstance(event, StateEvent):
                state = stored.sequence
            _fold_event(journal, sealer, request, event)
    return journal, after, state


def _fold_event(journal: Journal, sealer: Sealer, request: Request, event: AnyEvent) -> None:
    match event:
        case Traced(data=traced):
            _fold(journal, sealer, request, traced.entries)
        case Retrying(data=ended) | Suspended(data=ended) | PendingApproval(data=ended):
            _fold(journal, sealer, request, ended.trace)
        case Signalled(data=signalled):
            _fold(journal, sealer, request, [signalled.entry])
        case Approved(data=decided) | Declined(data=decided) if decided.step is not None:
            journal.steps[decided.step] = msgspec.json.encode(_told(decided))
        case _:
            pass


def _told(decided: DecidedData) -> ApprovalDecision:
    last = decided.decisions[-1]
    return ApprovalDecision(
        approved=last.approved, by=last.by, at=last.at, reason=last.reason, decisions=decided.decisions
    )


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
            case SignalEntry(name=name, data=shown):
                true = _true(sealer, context, entry.sealed, shown)
                journal.signals.setdefault(name, []).append((entry.id, true))
            case _:
                pass


def _true(sealer: Sealer, context: str, sealed: bytes | None, shown: msgspec.Raw) -> bytes:
    return bytes(shown) if sealed is None else sealer.open(sealed, context)
