"""The tables. What they say of hosted projects can be rebuilt from a store's `files/`; users and tokens can't.

`tree` is the folder of a store where the bytes are (`files/main`, `fetched/pypi`). Times are Unix seconds.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    false,
)

HEAD = "0004"
"""The newest migration; known here so that a start needs alembic only where something is to do."""

metadata = MetaData()

COUNTERS = ("serial", "users", "cache")
"""Those that there are from the first."""

# "serial": of what readers see; "users": of users and tokens; "cache": bytes of stored fetched files. What a tree holds
# is counted beside each change ("projects TREE" and so on: catalog.holdings), so that nobody ever has to count it.
# "identity" is random, and stays: what was derived from one catalog is none of another's, whatever their serials.
counters = Table(
    "counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

# A row for each name that was ever seen in a tree; `serial` is that of its last visible change. `listed`: whether it
# stands in the list of projects (it has a file, or a page of the upstream), `listed_serial`: since which serial.
projects = Table(
    "projects",
    metadata,
    Column("tree", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("serial", BigInteger, nullable=False),
    Column("listed", Boolean, nullable=False),
    Column("listed_serial", BigInteger, nullable=False),
    Index("projects_serial", "serial"),
    Index("projects_listed_serial", "listed_serial"),
    sqlite_with_rowid=False,
)

# What is published here. `yanked`: null or the reason, "" for none given. A project's rows lie together: of a large
# index its page is one place to read, not one for each file.
files = Table(
    "files",
    metadata,
    Column("tree", String),
    Column("filename", String),
    Column("project", String),
    Column("version", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("md5", String, nullable=False),
    Column("blake2b_256", String, nullable=False),
    Column("uploaded", Float, nullable=False),
    Column("uploader", String, nullable=False),
    Column("requires_python", String),
    Column("metadata_sha256", String),
    Column("has_sig", Boolean, nullable=False),
    Column("yanked", String),
    PrimaryKeyConstraint("tree", "project", "filename"),
    Index("files_filename", "tree", "filename", unique=True),
    sqlite_with_rowid=False,
)

# A filename once used and deleted never serves other bytes.
tombstones = Table(
    "tombstones",
    metadata,
    Column("tree", String),
    Column("filename", String),
    Column("project", String),
    Column("sha256", String, nullable=False),
    Column("deleted", Float, nullable=False),
    Column("reason", String, nullable=False),
    Column("yanked", String),
    PrimaryKeyConstraint("tree", "project", "filename"),
    Index("tombstones_filename", "tree", "filename", unique=True),
    sqlite_with_rowid=False,
)

# A project whose folder has a marker, by which its name is ours.
markers = Table(
    "markers",
    metadata,
    Column("tree", String, primary_key=True),
    Column("project", String, primary_key=True),
)

# An upload that runs: the name is `owner`'s until the lease ends.
claims = Table(
    "claims",
    metadata,
    Column("tree", String, primary_key=True),
    Column("filename", String, primary_key=True),
    Column("project", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("until", Float, nullable=False),
    Index("claims_project", "tree", "project"),
)

# What an upstream last said of a project; `body`: zstd of JSON (catalog.fetched).
upstream_pages = Table(
    "upstream_pages",
    metadata,
    Column("tree", String, primary_key=True),
    Column("project", String, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("etag", String),
    Column("fetched", Float, nullable=False),
    Column("until", Float, nullable=False),
)

# Files of upstreams that were seen; the row outlives the bytes, so the first sha256 binds.
fetched_files = Table(
    "fetched_files",
    metadata,
    Column("tree", String, primary_key=True),
    Column("project", String, primary_key=True),
    Column("filename", String, primary_key=True),
    Column("sha256", String),
    Column("size", BigInteger),
    Column("metadata_sha256", String),
    Column("modified", Float),
    Column("stored", Boolean, nullable=False),
    Column("used", Float, nullable=False),
    Column("has_sig", Boolean, nullable=False, server_default=false()),
    Index("fetched_files_used", "stored", "used"),
)

users = Table(
    "users",
    metadata,
    Column("name", String, primary_key=True),
    Column("password_hash", String, nullable=False),
    Column("admin", Boolean, nullable=False),
    Column("created", Float, nullable=False),
    Column("read_only", Boolean, nullable=False, server_default=false()),
)

# Who may upload to a project; where it has no row, everybody who may upload at all. Users of other places have no row
# in `users`.
uploaders = Table(
    "uploaders",
    metadata,
    Column("tree", String, primary_key=True),
    Column("project", String, primary_key=True),
    Column("user", String, primary_key=True),
)

# Paths under which clients know an index from another server (devpi's USER/NAME).
aliases = Table(
    "aliases",
    metadata,
    Column("path", String, primary_key=True),
    Column("index", String, nullable=False),
)

# Tokens are random strings; only their sha256 is stored.
tokens = Table(
    "tokens",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("digest", String, nullable=False, unique=True),
    Column("user", String, ForeignKey("users.name", ondelete="CASCADE"), nullable=False),
    Column("prefix", String, nullable=False),
    Column("scope", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("expires", Float),
    Column("last_used", Float),
    Index("tokens_user", "user"),
    sqlite_autoincrement=True,
)

# Every change, in its own transaction; `digest` covers the entry and `previous`.
journal = Table(
    "journal",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("serial", BigInteger, nullable=False),
    Column("time", Float, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("tree", String, nullable=False),
    Column("project", String, nullable=False),
    Column("filename", String, nullable=False),
    Column("sha256", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("previous", String, nullable=False),
    Column("digest", String, nullable=False),
)
