"""Names that are ours by a marker in their folder, yanks of deleted files, and signatures that were fetched."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "markers",
        sa.Column("tree", sa.String, primary_key=True),
        sa.Column("project", sa.String, primary_key=True),
    )
    op.add_column("tombstones", sa.Column("yanked", sa.String))
    op.add_column("fetched_files", sa.Column("has_sig", sa.Boolean, nullable=False, server_default=sa.false()))
