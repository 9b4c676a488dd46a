"""The tables of the record store, in words that every dialect knows. Migrations make them; writes and queries use them.

Times are integer microseconds since 1970 UTC; bodies are JSON bytes exactly as the events carried them.
"""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text, text

#: The migration that leaves the tables as they are described here.
REVISION = "0007_ended"

metadata = MetaData()


def _execution_key() -> tuple[Column[str], Column[str]]:
    # The id leads: ids sort by time, so new rows go to one end of the tree, whichever organisation they belong to.
    return (
        Column("execution_id", String(64), primary_key=True),
        Column("org", String(64), primary_key=True),
    )


def _some(name: str, *columns: str, where: str) -> Index:
    """An index of those rows alone."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


executions = Table(
    "executions",
    metadata,
    *_execution_key(),
    Column("workflow", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("trigger_kind", String(16), nullable=False),
    Column("trigger_reference", Text),
    Column("caller", LargeBinary, nullable=False),
    Column("tags", Text, nullable=False),
    Column("listed_at", BigInteger, nullable=False),
    Column("queued_at", BigInteger),
    Column("run_at", BigInteger),
    Column("started_at", BigInteger),
    Column("completed_at", BigInteger),
    Column("duration_ms", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("executor", Text),
    Column("failure", LargeBinary),
    Column("cancelled_by", LargeBinary),
    Column("resumes_at", BigInteger),
    Column("progress", Float),
    Column("progress_message", Text),
    Column("state_sequence", BigInteger, nullable=False),
    Column("started_sequence", BigInteger, nullable=False),
    Column("progress_sequence", BigInteger, nullable=False),
    Column("error", Text),
    Index("ix_executions_org", "org", "listed_at", "execution_id"),
    Index("ix_executions_workflow", "org", "workflow", "listed_at", "execution_id"),
    Index("ix_executions_completed", "completed_at"),
    # Nearly all succeed: they are found well enough without, and each index costs every write.
    _some("ix_executions_status", "org", "status", "listed_at", "execution_id", where="status <> 'Success'"),
    _some("ix_executions_error", "org", "error", "listed_at", "execution_id", where="error IS NOT NULL"),
    _some("ix_executions_open", "listed_at", "execution_id", where="completed_at IS NULL"),
    _some("ix_executions_ended", "org", "completed_at", "status", "duration_ms", where="completed_at IS NOT NULL"),
)

payloads = Table(
    "payloads",
    metadata,
    *_execution_key(),
    Column("input", LargeBinary),
    Column("sealed_input", LargeBinary),
    Column("digest", Text),
    Column("result", LargeBinary),
)

traces = Table(
    "traces",
    metadata,
    *_execution_key(),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("idx", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("body", LargeBinary, nullable=False),
)

transitions = Table(
    "transitions",
    metadata,
    *_execution_key(),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("reason", Text),
    Column("until", BigInteger),
    Column("executor", Text),
    Column("decided_by", LargeBinary),
)

ticks = Table(
    "ticks",
    metadata,
    Column("org", String(64), primary_key=True),
    Column("workflow", String(64), primary_key=True),
    Column("scheduled_for", BigInteger, primary_key=True, autoincrement=False),
    Column("outcome", String(16), nullable=False),
    Column("decided_at", BigInteger, nullable=False),
    Column("schedule", Text, nullable=False),
    Column("time_zone", Text, nullable=False),
    Column("reason", Text),
    Column("execution_id", String(64)),
    Column("sequence", BigInteger, nullable=False),
    Index("ix_ticks_listed", "scheduled_for", "org", "workflow"),
    Index("ix_ticks_org", "org", "scheduled_for", "workflow"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("org", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("caller", LargeBinary, nullable=False),
    Column("action", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("before", LargeBinary),
    Column("after", LargeBinary),
    Column("reason", Text),
    Column("address", Text),
    Column("agent", Text),
    Column("request_id", Text),
    Column("sequence", BigInteger, nullable=False),
    Index("ix_audit_listed", "at", "id"),
    Index("ix_audit_org", "org", "at", "id"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("org", String(64), nullable=False),
    Column("workflow", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("scheme", String(16), nullable=False),
    Column("reason", Text),
    Column("execution_id", String(64)),
    Column("sender_id", Text),
    Column("size_bytes", BigInteger, nullable=False),
    Column("address", Text),
    Column("sequence", BigInteger, nullable=False),
    Index("ix_deliveries_listed", "org", "workflow", "at", "id"),
    Index("ix_deliveries_at", "at"),
)
