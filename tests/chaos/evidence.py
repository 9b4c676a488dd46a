"""Everything that is known at the end of a run: the history, the streams read raw, and the tables of the store."""

from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy
from msgspec import Struct, field

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.sql.dialect import parse_url
from runlane.contracts import subjects
from runlane.ports import Stored
from tests.chaos.history import read_history

#: How the last state of a line is called in the store.
STATUS = {
    "started": "Running",
    "retrying": "Retrying",
    "suspended": "Suspended",
    "pending_approval": "PendingApproval",
    "approved": "Queued",
    "declined": "Queued",
    "succeeded": "Success",
    "failed": "Failed",
    "cancelled": "Cancelled",
    "rejected": "Cancelled",
    "approval_expired": "Cancelled",
}
TERMINAL = ("succeeded", "failed", "cancelled", "rejected", "approval_expired")


class Told(Struct, frozen=True):
    """One event as the stream holds it. `tail` is what its subject ends with: `queued`, `trace`, `state.started`, …"""

    sequence: int
    tail: str
    id: str
    event: dict[str, Any]

    @property
    def state(self) -> str | None:
        """`started`, `succeeded`, …; None for what is no state."""
        return self.tail.removeprefix("state.") if self.tail.startswith("state.") else None

    @property
    def attempt(self) -> int:
        found: int = self.event.get("attempt", 0)
        return found

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.event["data"]
        return found

    def entries(self) -> list[dict[str, Any]]:
        """The trace that it brings."""
        match self.tail:
            case "trace":
                found: list[dict[str, Any]] = self.data["entries"]
                return found
            case tail if tail.startswith("signal."):
                return [self.data["entry"]]
            case _:
                return list(self.data.get("trace", ()))


class Row(Struct, frozen=True):
    """An execution in the store."""

    status: str
    attempt: int
    queued: bool
    trigger: str
    input: Any
    result: Any
    completed: bool = True


class Evidence(Struct, kw_only=True):
    """`clients` and `code` are the histories. `events` and `traces` are by execution; `ticks` as stream and store have
    them; `queue` is how many messages still lie in each work queue; `faults` how many happened; `leaks` are the files
    in which the secret of the run stands."""

    clients: list[dict[str, Any]] = field(default_factory=list)
    code: list[dict[str, Any]] = field(default_factory=list)
    events: dict[str, list[Told]] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    traces: dict[str, list[tuple[int, int, Any]]] = field(default_factory=dict)
    ticks: list[dict[str, Any]] = field(default_factory=list)
    tick_rows: list[tuple[str, int, str | None]] = field(default_factory=list)
    queue: dict[str, int] = field(default_factory=dict)
    letters: int = 0
    faults: int = 0
    leaks: list[str] = field(default_factory=list)


async def gather_evidence(directory: Path, bus: NatsBus, database_url: str) -> Evidence:
    """Read everything. The services must have come to rest."""
    found = Evidence(clients=read_history(directory / "clients.jsonl"), code=read_history(directory / "code.jsonl"))
    for stored in await _read_all(bus, subjects.ALL_EVENTS):
        known = subjects.parse_event(stored.subject)
        assert known is not None
        told = Told(stored.sequence, known.tail, stored.id, msgspec.json.decode(stored.payload))
        found.events.setdefault(known.execution, []).append(told)
    found.ticks = [msgspec.json.decode(stored.payload) for stored in await _read_all(bus, subjects.ALL_TICKS)]
    for stream in (subjects.REQUESTS, subjects.DELAYED, subjects.DEAD):
        info = await bus.api(f"STREAM.INFO.{stream}", None)
        found.queue[stream] = info["state"]["messages"]
    found.letters = found.queue.pop(subjects.DEAD)
    _read_store(found, database_url)
    return found


async def _read_all(bus: NatsBus, filter_: str) -> list[Stored]:
    found: list[Stored] = []
    while page := await bus.read(subjects.EVENTS, filter_, after=found[-1].sequence if found else 0, limit=1000):
        found += page
    return found


def _read_store(found: Evidence, database_url: str) -> None:
    engine = sqlalchemy.create_engine(parse_url(database_url))
    with engine.connect() as connection:

        def ask(statement: str) -> Any:
            return connection.execute(sqlalchemy.text(statement))

        contents = {row[0]: (_json(row[1]), _json(row[2])) for row in ask(_PAYLOADS)}
        for row in ask(_EXECUTIONS):
            given, result = contents.get(row[0], (None, None))
            found.rows[row[0]] = Row(row[1], row[2], row[3] is not None, row[4], given, result, row[5] is not None)
        for execution, sequence, index, body in ask(_TRACES):
            found.traces.setdefault(execution, []).append((sequence, index, _json(body)))
        found.tick_rows = [tuple(row) for row in ask("SELECT workflow, scheduled_for, execution_id FROM ticks")]
    engine.dispose()


_PAYLOADS = "SELECT execution_id, input, result FROM payloads"
_EXECUTIONS = "SELECT execution_id, status, attempt, queued_at, trigger_kind, completed_at FROM executions"
_TRACES = "SELECT execution_id, sequence, idx, body FROM traces ORDER BY execution_id, sequence, idx"


def _json(body: bytes | memoryview | None) -> Any:
    return None if body is None else msgspec.json.decode(bytes(body))
