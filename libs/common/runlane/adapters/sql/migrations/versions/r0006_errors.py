"""Executions are found by the code of their error, and those that have not ended without looking at all that have.
What nearly all of them are costs no index any more: of all organisations, or successful."""

import sqlalchemy as sa
from alembic import op

revision = "0006_errors"
down_revision = "0005_collation"
branch_labels = None
depends_on = None

_STATUS = ["org", "status", "listed_at", "execution_id"]
_CODES = {
    "sqlite": sa.text("json_extract(CAST(failure AS TEXT), '$.error')"),
    "postgresql": sa.text("CAST(convert_from(failure, 'UTF8') AS JSON) ->> 'error'"),
}


def upgrade() -> None:
    op.add_column("executions", sa.Column("error", sa.Text))
    failed = sa.table("executions", sa.column("failure"), sa.column("error"))
    code = _CODES[op.get_context().dialect.name]
    op.execute(sa.update(failed).where(failed.c.failure.is_not(None)).values(error=code))
    _partial("ix_executions_error", ["org", "error", "listed_at", "execution_id"], "error IS NOT NULL")
    _partial("ix_executions_open", ["listed_at", "execution_id"], "completed_at IS NULL")
    op.drop_index("ix_executions_status", "executions")
    _partial("ix_executions_status", _STATUS, "status <> 'Success'")
    op.drop_index("ix_executions_listed", "executions")


def _partial(name: str, columns: list[str], rows: str) -> None:
    where = sa.text(rows)
    op.create_index(name, "executions", columns, sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.create_index("ix_executions_listed", "executions", ["listed_at", "execution_id"])
    op.drop_index("ix_executions_status", "executions")
    op.create_index("ix_executions_status", "executions", _STATUS)
    op.drop_index("ix_executions_open", "executions")
    op.drop_index("ix_executions_error", "executions")
    op.drop_column("executions", "error")
