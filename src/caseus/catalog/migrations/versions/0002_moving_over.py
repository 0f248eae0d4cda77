"""Users who may only read, who may upload to a project, and paths of indexes on other servers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("read_only", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "uploaders",
        sa.Column("tree", sa.String, primary_key=True),
        sa.Column("project", sa.String, primary_key=True),
        sa.Column("user", sa.String, primary_key=True),
    )
    op.create_table(
        "aliases",
        sa.Column("path", sa.String, primary_key=True),
        sa.Column("index", sa.String, nullable=False),
    )
