"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    counters = op.create_table(
        "counters",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in ("serial", "users", "cache")])
    op.create_table(
        "projects",
        sa.Column("tree", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("serial", sa.BigInteger, nullable=False),
    )
    op.create_index("projects_serial", "projects", ["serial"])
    op.create_table(
        "files",
        sa.Column("tree", sa.String, primary_key=True),
        sa.Column("filename", sa.String, primary_key=True),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("md5", sa.String, nullable=False),
        sa.Column("blake2b_256", sa.String, nullable=False),
        sa.Column("uploaded", sa.Float, nullable=False),
        sa.Column("uploader", sa.String, nullable=False),
        sa.Column("requires_python", sa.String),
        sa.Column("metadata_sha256", sa.String),
        sa.Column("has_sig", sa.Boolean, nullable=False),
        sa.Column("yanked", sa.String),
    )
    op.create_index("files_project", "files", ["tree", "project"])
    op.create_table(
        "tombstones",
        sa.Column("tree", sa.String, primary_key=True),
        sa.Column("filename", sa.String, primary_key=True),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("deleted", sa.Float, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
    )
    op.create_index("tombstones_project", "tombstones", ["tree", "project"])
    op.create_table(
        "claims",
        sa.Column("tree", sa.String, primary_key=True),
        sa.Column("filename", sa.String, primary_key=True),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_index("claims_project", "claims", ["tree", "project"])
    op.create_table(
        "upstream_pages",
        sa.Column("tree", sa.String, primary_key=True),
        sa.Column("project", sa.String, primary_key=True),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("etag", sa.String),
        sa.Column("fetched", sa.Float, nullable=False),
        sa.Column("until", sa.Float, nullable=False),
    )
    op.create_table(
        "fetched_files",
        sa.Column("tree", sa.String, primary_key=True),
        sa.Column("project", sa.String, primary_key=True),
        sa.Column("filename", sa.String, primary_key=True),
        sa.Column("sha256", sa.String),
        sa.Column("size", sa.BigInteger),
        sa.Column("metadata_sha256", sa.String),
        sa.Column("modified", sa.Float),
        sa.Column("stored", sa.Boolean, nullable=False),
        sa.Column("used", sa.Float, nullable=False),
    )
    op.create_index("fetched_files_used", "fetched_files", ["stored", "used"])
    op.create_table(
        "users",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("password_hash", sa.String, nullable=False),
        sa.Column("admin", sa.Boolean, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.String, nullable=False, unique=True),
        sa.Column("user", sa.String, sa.ForeignKey("users.name", ondelete="CASCADE"), nullable=False),
        sa.Column("prefix", sa.String, nullable=False),
        sa.Column("scope", sa.String, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("expires", sa.Float),
        sa.Column("last_used", sa.Float),
        sqlite_autoincrement=True,
    )
    op.create_index("tokens_user", "tokens", ["user"])
    op.create_table(
        "journal",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("serial", sa.BigInteger, nullable=False),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("tree", sa.String, nullable=False),
        sa.Column("project", sa.String, nullable=False),
        sa.Column("filename", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("previous", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
    )
