"""Who decided: a column of `transitions`."""

import sqlalchemy as sa
from alembic import op

revision = "0003_approvals"
down_revision = "0002_audit"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("transitions", sa.Column("decided_by", sa.LargeBinary))
