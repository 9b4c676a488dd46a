"""Deliveries of webhooks."""

import sqlalchemy as sa
from alembic import op

revision = "0004_deliveries"
down_revision = "0003_approvals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("org", sa.String(64), nullable=False),
        sa.Column("workflow", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("scheme", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("execution_id", sa.String(64)),
        sa.Column("sender_id", sa.Text),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("address", sa.Text),
        sa.Column("sequence", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_deliveries_listed", "deliveries", ["org", "workflow", "at", "id"])
    op.create_index("ix_deliveries_at", "deliveries", ["at"])


def downgrade() -> None:
    op.drop_table("deliveries")
