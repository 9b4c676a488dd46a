"""PostgreSQL sorts and compares what pages go by in bytes, as SQLite does: an index outlives an update of the system's
sorting rules, and both stores page alike."""

from alembic import op

revision = "0005_collation"
down_revision = "0004_deliveries"
branch_labels = None
depends_on = None

_EXECUTION = ("execution_id", "org")
_COLUMNS = {
    "executions": (*_EXECUTION, "workflow", "status"),
    "payloads": _EXECUTION,
    "traces": _EXECUTION,
    "transitions": _EXECUTION,
    "ticks": ("org", "workflow"),
    "audit": ("id", "org"),
    "deliveries": ("id", "org", "workflow"),
}
_SHORT = {"status"}


def upgrade() -> None:
    _collate('"C"')


def downgrade() -> None:
    _collate('"default"')


def _collate(collation: str) -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    for table, columns in _COLUMNS.items():
        for column in columns:
            length = 16 if column in _SHORT else 64
            op.execute(f"ALTER TABLE {table} ALTER COLUMN {column} TYPE VARCHAR({length}) COLLATE {collation}")
