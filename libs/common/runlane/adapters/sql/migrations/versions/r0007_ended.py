"""What ended lately in an organisation, with how it ended and how long it took: the overview reads nothing else."""

import sqlalchemy as sa
from alembic import op

revision = "0007_ended"
down_revision = "0006_errors"
branch_labels = None
depends_on = None

_ENDED = sa.text("completed_at IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "ix_executions_ended",
        "executions",
        ["org", "completed_at", "status", "duration_ms"],
        sqlite_where=_ENDED,
        postgresql_where=_ENDED,
    )


def downgrade() -> None:
    op.drop_index("ix_executions_ended", "executions")
