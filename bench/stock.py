"""A data folder for measuring: facts written straight into the catalog, and bytes where they are asked for.

ten       10 files        the page of a usual project
many      2,000 files     the page of a project with nightly builds
small     a wheel of 50 KB and its METADATA
large     a wheel of 50 MB
project-N 50,000 of them, one file each: what makes the list of projects long
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from caseus.catalog import Catalog

TREE = "files/main"
PROJECTS = 50_000
KB, MB = 1000, 1_000_000
PACKAGES = ("ten", "many", "small", "large")
"""All but those that only make the list long."""
METADATA = b"Metadata-Version: 2.4\nName: small\nVersion: 1.0\n" + b"Classifier: Programming Language :: Python\n" * 60

_UPLOADED = 1_700_000_000.0


def wheel(project: str, version: str = "1.0") -> str:
    return f"{project.replace('-', '_')}-{version}-py3-none-any.whl"


def make_stock(root: Path, *, projects: int = PROJECTS) -> None:
    """Fill a new data folder."""
    root.mkdir(mode=0o700)
    catalog = Catalog.open(root)
    try:
        rows = [_stored(root, "small", 50 * KB, METADATA), _stored(root, "large", 50 * MB, b""), *_rows(projects)]
        _insert(root / "catalog.sqlite", rows, list(dict.fromkeys(row["project"] for row in rows)))
        catalog.adopt_serial()
        catalog.listed = catalog.serial()  # else the start would write a list for each project
    finally:
        catalog.close()


def write_packages(folder: Path, static: Path, projects: Sequence[str]) -> None:
    """The projects' files in one folder: those that the tree `static` has, and else small ones of the same names."""
    folder.mkdir(parents=True)
    for row in _rows(0):
        if row["project"] in projects:
            (folder / row["filename"]).write_bytes(row["filename"].encode())
    for project in projects:
        if (found := static / project / wheel(project)).exists():
            (folder / found.name).symlink_to(found)


def _rows(projects: int) -> Iterator[dict[str, Any]]:
    for number in range(10):
        yield _row("ten", f"1.{number}")
    for number in range(2000):
        yield _row("many", f"{number // 100}.{number % 100}.0")
    for number in range(projects):
        yield _row(f"project-{number:05}", "1.0")


def _row(project: str, version: str) -> dict[str, Any]:
    filename = wheel(project, version)
    digest = hashlib.sha256(filename.encode()).hexdigest()
    return {
        "tree": TREE, "filename": filename, "project": project, "version": version, "sha256": digest,
        "size": 48_213, "md5": digest[:32], "blake2b_256": digest, "uploaded": _UPLOADED, "uploader": "bench",
        "requires_python": ">=3.9", "metadata_sha256": digest[::-1], "has_sig": 0, "yanked": None,
    }  # fmt: skip


def _stored(root: Path, project: str, size: int, metadata: bytes) -> dict[str, Any]:
    """The row of a file whose bytes are written, too."""
    folder = root / TREE / project
    folder.mkdir(parents=True)
    data = random.Random(project).randbytes(size)
    (folder / wheel(project)).write_bytes(data)
    row = _row(project, "1.0") | {"sha256": hashlib.sha256(data).hexdigest(), "size": size, "metadata_sha256": None}
    if metadata:
        (folder / f"{wheel(project)}.metadata").write_bytes(metadata)
        row["metadata_sha256"] = hashlib.sha256(metadata).hexdigest()
    return row


def _insert(path: Path, rows: list[dict[str, Any]], names: list[str]) -> None:
    connection = sqlite3.connect(path)
    columns = ", ".join(rows[0])
    places = ", ".join(f":{name}" for name in rows[0])
    with connection:
        connection.executemany(f"INSERT INTO files ({columns}) VALUES ({places})", rows)
        connection.executemany("INSERT INTO projects VALUES (?, ?, 1, 1, 1)", [(TREE, name) for name in names])
        counts = {"projects": len(names), "files": len(rows), "bytes": sum(row["size"] for row in rows)}
        for what, count in counts.items():
            connection.execute("INSERT INTO counters VALUES (?, ?)", (f"{what} {TREE}", count))
        connection.execute("UPDATE counters SET value = 1 WHERE name = 'serial'")
    connection.close()
