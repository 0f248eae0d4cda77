"""A project's files lie together, the list of projects can be followed, and what a tree holds is counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_COUNTS = (
    "SELECT 'projects ' || tree, count(*) FROM projects WHERE listed GROUP BY tree",
    "SELECT 'files ' || tree, count(*) FROM files GROUP BY tree",
    "SELECT 'bytes ' || tree, sum(size) FROM files GROUP BY tree",
    "SELECT 'uploaded ' || tree, CAST(max(uploaded) AS INTEGER) FROM files GROUP BY tree",
    "SELECT 'tombstones ' || tree, count(*) FROM tombstones GROUP BY tree",
    "SELECT 'files ' || tree, count(*) FROM fetched_files WHERE stored GROUP BY tree",
)


def upgrade() -> None:
    _projects()
    _files()
    _tombstones()
    for count in _COUNTS:
        op.execute(f"INSERT INTO counters (name, value) {count}")
    op.execute("INSERT INTO counters (name, value) VALUES ('identity', abs(random()))")


def _projects() -> None:
    op.drop_index("projects_serial", "projects")
    op.rename_table("projects", "old")
    op.create_table(
        "projects",
        sa.Column("tree", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("serial", sa.BigInteger, nullable=False),
        sa.Column("listed", sa.Boolean, nullable=False),
        sa.Column("listed_serial", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO projects (tree, name, serial, listed, listed_serial) "
        "SELECT tree, name, serial, EXISTS (SELECT 1 FROM files f WHERE f.tree = old.tree AND f.project = old.name) "
        "OR EXISTS (SELECT 1 FROM upstream_pages p WHERE p.tree = old.tree AND p.project = old.name), serial "
        "FROM old ORDER BY tree, name"
    )
    op.drop_table("old")
    op.create_index("projects_serial", "projects", ["serial"])
    op.create_index("projects_listed_serial", "projects", ["listed_serial"])


def _files() -> None:
    op.drop_index("files_project", "files")
    op.rename_table("files", "old")
    op.create_table(
        "files",
        sa.Column("tree", sa.String),
        sa.Column("filename", sa.String),
        sa.Column("project", sa.String),
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
        sa.PrimaryKeyConstraint("tree", "project", "filename"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO files SELECT * FROM old ORDER BY tree, project, filename")
    op.drop_table("old")
    op.create_index("files_filename", "files", ["tree", "filename"], unique=True)


def _tombstones() -> None:
    op.drop_index("tombstones_project", "tombstones")
    op.rename_table("tombstones", "old")
    op.create_table(
        "tombstones",
        sa.Column("tree", sa.String),
        sa.Column("filename", sa.String),
        sa.Column("project", sa.String),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("deleted", sa.Float, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("yanked", sa.String),
        sa.PrimaryKeyConstraint("tree", "project", "filename"),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO tombstones SELECT * FROM old ORDER BY tree, project, filename")
    op.drop_table("old")
    op.create_index("tombstones_filename", "tombstones", ["tree", "filename"], unique=True)
