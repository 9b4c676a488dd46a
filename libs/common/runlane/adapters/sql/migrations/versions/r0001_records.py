"""The first tables: executions, payloads, traces, transitions and ticks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _executions()
    op.create_table(
        "payloads",
        *_execution_key(),
        sa.Column("input", sa.LargeBinary),
        sa.Column("sealed_input", sa.LargeBinary),
        sa.Column("digest", sa.Text),
        sa.Column("result", sa.LargeBinary),
    )
    op.create_table(
        "traces",
        *_execution_key(),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("idx", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "transitions",
        *_execution_key(),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("until", sa.BigInteger),
        sa.Column("executor", sa.Text),
    )
    _ticks()


def downgrade() -> None:
    for table in ("ticks", "transitions", "traces", "payloads", "executions"):
        op.drop_table(table)


def _execution_key() -> tuple[sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("execution_id", sa.String(64), primary_key=True),
        sa.Column("org", sa.String(64), primary_key=True),
    )


def _executions() -> None:
    op.create_table(
        "executions",
        *_execution_key(),
        sa.Column("workflow", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("trigger_kind", sa.String(16), nullable=False),
        sa.Column("trigger_reference", sa.Text),
        sa.Column("caller", sa.LargeBinary, nullable=False),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("listed_at", sa.BigInteger, nullable=False),
        sa.Column("queued_at", sa.BigInteger),
        sa.Column("run_at", sa.BigInteger),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("completed_at", sa.BigInteger),
        sa.Column("duration_ms", sa.BigInteger),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("executor", sa.Text),
        sa.Column("failure", sa.LargeBinary),
        sa.Column("cancelled_by", sa.LargeBinary),
        sa.Column("resumes_at", sa.BigInteger),
        sa.Column("progress", sa.Float),
        sa.Column("progress_message", sa.Text),
        sa.Column("state_sequence", sa.BigInteger, nullable=False),
        sa.Column("started_sequence", sa.BigInteger, nullable=False),
        sa.Column("progress_sequence", sa.BigInteger, nullable=False),
    )
    for name, columns in {
        "ix_executions_listed": ["listed_at", "execution_id"],
        "ix_executions_org": ["org", "listed_at", "execution_id"],
        "ix_executions_workflow": ["org", "workflow", "listed_at", "execution_id"],
        "ix_executions_status": ["org", "status", "listed_at", "execution_id"],
        "ix_executions_completed": ["completed_at"],
    }.items():
        op.create_index(name, "executions", columns)


def _ticks() -> None:
    op.create_table(
        "ticks",
        sa.Column("org", sa.String(64), primary_key=True),
        sa.Column("workflow", sa.String(64), primary_key=True),
        sa.Column("scheduled_for", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("decided_at", sa.BigInteger, nullable=False),
        sa.Column("schedule", sa.Text, nullable=False),
        sa.Column("time_zone", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("execution_id", sa.String(64)),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_ticks_listed", "ticks", ["scheduled_for", "org", "workflow"])
    op.create_index("ix_ticks_org", "ticks", ["org", "scheduled_for", "workflow"])
