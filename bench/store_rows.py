"""Executions by the million, made inside the database from their numbers. Used by `bench.store`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection

from runlane.adapters.sql import rows
from runlane.contracts.events import Failure
from runlane.contracts.records import Record, Traceline, fold
from runlane.contracts.trace import LogEntry
from tests.support.memory_bus import Story

ORGS, WORKFLOWS, DAYS = 1_000, 20, 90
#: The organisation that has every tenth execution; the others share the rest.
BIGGEST = "org0"
#: The last code is that of one failure in a thousand.
ERRORS = ("IntegrationError", "TimeoutError", "ValidationError", "PermissionError", "ConfigurationError")
_CHUNK = 250_000
_START = datetime(2026, 8, 1, tzinfo=UTC)

#: Number → organisation, workflow, status, moment. `h` is spread evenly over 32 bits, whatever comes of neighbours.
_NUMBERED = """
    SELECT n, h, CASE WHEN n % 10 = 0 THEN 'org0' ELSE 'org' || CAST(h % {orgs} AS VARCHAR(8)) END AS org,
      'workflow' || CAST(h / 1000 % {workflows} AS VARCHAR(8)) AS workflow,
      CASE WHEN h / 20000 % 10000 < 9300 THEN 'Success' WHEN h / 20000 % 10000 < 9900 THEN 'Failed'
        WHEN h / 20000 % 10000 < 9998 THEN 'Cancelled' ELSE 'Suspended' END AS status,
      CASE WHEN h % 1000 < 600 THEN 'api' WHEN h % 1000 < 900 THEN 'schedule' WHEN h % 1000 < 999 THEN 'webhook'
        ELSE 'form' END AS trigger_kind,
      {start} + n * {step} AS at
    FROM (SELECT n, n * 2654435761 % 4294967296 AS h FROM {numbers}) AS spread
"""
_SQLITE = {
    "numbers": "(WITH RECURSIVE c(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM c WHERE n + 1 < {end}) "
    "SELECT n FROM c)",
    "id": "printf('%012x%020x', at / 1000, n)",
    "blob": "CAST({} AS BLOB)",
}
_POSTGRESQL = {
    "numbers": "(SELECT CAST(g AS BIGINT) AS n FROM generate_series({first}, {end} - 1) AS g) AS g",
    "id": "lpad(to_hex(at / 1000), 12, '0') || lpad(to_hex(n), 20, '0')",
    "blob": "convert_to({}, 'UTF8')",
}


def start_of(total: int) -> tuple[datetime, timedelta]:
    """When the first was queued, and how long after it the next: they fill so many days whatever their number."""
    return _START, timedelta(days=DAYS) / total


def id_of(number: int, total: int) -> tuple[str, str]:
    """Organisation and id of the execution of a number that is divisible by ten."""
    start, step = start_of(total)
    at = int(start.timestamp() * 1e6) + number * int(step / timedelta(microseconds=1))
    return BIGGEST, f"{at // 1000:012x}{number:020x}"


def fill(connection: Connection, first: int, total: int, told: Callable[[int], None]) -> None:
    """Write executions `first` to `total` with payloads, a trace of two lines each and nothing else."""
    words = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRESQL
    while first < total:
        end = min(first + _CHUNK, total)
        for statement in _statements(words, first, end, total):
            connection.exec_driver_sql(statement.replace("%", "%%") if words is _POSTGRESQL else statement)
        connection.commit()
        first = end
        told(first)


def _statements(words: dict[str, str], first: int, end: int, total: int) -> list[str]:
    start, step = start_of(total)
    numbered = _NUMBERED.format(
        orgs=ORGS,
        workflows=WORKFLOWS,
        start=int(start.timestamp() * 1e6),
        step=int(step / timedelta(microseconds=1)),
        numbers=words["numbers"].format(first=first, end=end),
    )
    record, blob, id_ = _model(), words["blob"], words["id"]
    payload = rows.payload_row(record)
    assert payload is not None
    lines = [rows.trace_row(("", ""), line) for line in record.trace]
    ended = "CASE WHEN status = 'Suspended' THEN NULL ELSE at + 900000 END"
    codes = " ".join(f"WHEN h / 20000 % 10000 < {limit} THEN '{code}'" for limit, code in _shares())
    error = f"CASE WHEN status = 'Failed' THEN CASE {codes} END END"
    failure = rows.execution_row(_failed())[16].decode().replace("'", "''")
    named = blob.format(f"replace('{failure}', 'CODE', {error})")
    quoted = f"CASE WHEN status = 'Failed' THEN {named} END"
    model = rows.execution_row(record)
    caller, tags = model[6].decode(), model[7]
    return [
        "INSERT INTO executions (execution_id, org, workflow, status, trigger_kind, caller, tags, listed_at, queued_at,"
        " started_at, completed_at, duration_ms, attempt, executor, failure, state_sequence, started_sequence,"
        f" progress_sequence, error) SELECT {id_}, org, workflow, status, trigger_kind, {blob.format(_text(caller))},"
        f" {_text(tags)}, at, at, at + 2000, {ended}, 898, 1, 'executor-1', {quoted}, n * 5 + 4, n * 5 + 1, 0, {error}"
        f" FROM ({numbered}) AS numbered",
        f"INSERT INTO payloads (execution_id, org, input, result) SELECT {id_}, org,"
        f" {blob.format(_text(payload[2].decode()))}, {blob.format(_text(payload[5].decode()))}"
        f" FROM ({numbered}) AS numbered",
        *(
            f"INSERT INTO traces (execution_id, org, sequence, idx, attempt, kind, body) SELECT {id_}, org,"
            f" n * 5 + 2, {place}, 1, {_text(line[5])}, {blob.format(_text(line[6].decode()))}"
            f" FROM ({numbered}) AS numbered"
            for place, line in enumerate(lines)
        ),
    ]


def _shares() -> list[tuple[int, str]]:
    """Failures are 600 in 10,000; so many of them have each code."""
    return [(9600, ERRORS[0]), (9800, ERRORS[1]), (9850, ERRORS[2]), (9899, ERRORS[3]), (9900, ERRORS[4])]


def _model() -> Record:
    story = Story()
    record = fold(
        fold(fold(None, 1, story.queued(tags=["bench"])), 2, story.started()), 3, story.succeeded(b'{"ok":1}')
    )
    assert record is not None
    line = LogEntry(at=story.at, message="looked up user 4711 of tenant " + "0123456789" * 8, level="info")
    record.trace = [Traceline(2, 0, 1, line), Traceline(2, 1, 1, line)]
    return record


def _failed() -> Record:
    record = _model()
    record.failure = Failure("CODE", "The vendor's API answered 502 after three tries")
    return record


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
