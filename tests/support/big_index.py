"""An index as large as the public one, made straight in the catalog.

Rows go into the tables in bulk. There are no bytes behind the files (pages need none) and no journal entries. Names and
numbers of files are the same each time; digests are random.
"""

from __future__ import annotations

import itertools
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from caseus.catalog import Catalog

TREE = "files/main"
LARGEST = 10_000
"""Files of one project: the largest of the public index have some more."""
_SYLLABLES = ("ba", "co", "di", "fu", "ge", "ka", "lo", "mi", "nu", "pe", "ra", "so", "ti", "vu", "py", "data", "tool")
_BEGAN = 1_100_000_000.0
_LARGEST_FILE = 1 << 22  # bytes


def make_index(root: Path, projects: int, files: int) -> None:
    """Make ROOT with a catalog of so many projects and files."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    Catalog.open(root).close()
    with closing(sqlite3.connect(root / "catalog.sqlite", isolation_level=None)) as connection:
        for pragma in ("synchronous = OFF", "journal_mode = OFF", "cache_size = -200000", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        _fill(connection, projects, files)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    with closing(Catalog.open(root)) as catalog:
        catalog.listed = catalog.serial()  # there are no lists beside files that are not there


def names(projects: int) -> list[str]:
    """So many different ones, sorted: made of syllables, some with a number, as people name things."""
    chance = random.Random(1)
    found: set[str] = set()
    while len(found) < projects:
        parts = ["".join(chance.choices(_SYLLABLES, k=chance.randint(1, 4))) for _ in range(chance.randint(1, 2))]
        found.add("-".join(parts) + chance.choice(["", "", str(chance.randint(2, 99))]))
    return sorted(found)


def counts(projects: int, files: int) -> list[int]:
    """Of the files of each project: many have a few, a few have thousands, and together they are `files`."""
    chance = random.Random(2)
    raw = [chance.paretovariate(1.1) for _ in range(projects)]
    scale = files / sum(raw)
    most = min(LARGEST, files)
    found = [max(1, min(most, round(each * scale))) for each in raw]
    left = files - sum(found)
    for place in itertools.cycle(range(projects)):
        if not left:
            return found
        step = 1 if left > 0 else -1
        if 1 <= found[place] + step <= most:
            found[place] += step
            left -= step
    raise AssertionError("unreachable: a cycle has no end")


def _fill(connection: sqlite3.Connection, projects: int, files: int) -> None:
    connection.execute("CREATE TEMP TABLE wanted (name TEXT PRIMARY KEY, files INTEGER, place INTEGER) WITHOUT ROWID")
    connection.executemany("INSERT INTO wanted VALUES (?, ?, ?)", _wanted(projects, files))
    connection.execute("CREATE TEMP TABLE numbers (n INTEGER PRIMARY KEY)")
    connection.executemany("INSERT INTO numbers VALUES (?)", ((n,) for n in range(LARGEST)))
    connection.execute("DROP INDEX files_filename")
    connection.execute(
        # Two files a version, two fifths of them sdists; a project is uploaded to over the years.
        f"""
        INSERT INTO files
        SELECT '{TREE}',
               replace(w.name, '-', '_') || '-' || (n / 20) || '.' || (n / 2 % 10) || '.0'
                   || CASE WHEN n % 5 IN (0, 3) THEN '.tar.gz' ELSE '-' || n || '-py3-none-any.whl' END,
               w.name, (n / 20) || '.' || (n / 2 % 10) || '.0', lower(hex(randomblob(32))),
               abs(random()) % {_LARGEST_FILE} + 1, lower(hex(randomblob(16))), lower(hex(randomblob(32))),
               {_BEGAN} + w.place * 600.0 + n * 20000.0, 'somebody', CASE WHEN n % 3 THEN '>=3.8' END,
               CASE WHEN n % 5 IN (0, 3) THEN NULL ELSE lower(hex(randomblob(32))) END, 0,
               CASE WHEN n % 50 = 49 THEN 'broken' END
        FROM wanted w CROSS JOIN numbers ON n < w.files
        ORDER BY w.name, 2
        """
    )
    connection.execute("CREATE UNIQUE INDEX files_filename ON files (tree, filename)")
    for index in ("projects_serial", "projects_listed_serial"):
        connection.execute(f"DROP INDEX {index}")
    connection.execute(f"INSERT INTO projects SELECT '{TREE}', name, place, 1, place FROM wanted ORDER BY name")
    connection.execute("CREATE INDEX projects_serial ON projects (serial)")
    connection.execute("CREATE INDEX projects_listed_serial ON projects (listed_serial)")
    connection.execute("UPDATE counters SET value = ? WHERE name = 'serial'", (projects,))
    for what, value, table in (
        ("projects", "count(*)", "projects"),
        ("files", "count(*)", "files"),
        ("bytes", "sum(size)", "files"),
        ("uploaded", "CAST(max(uploaded) AS INTEGER)", "files"),
    ):
        connection.execute(f"INSERT INTO counters SELECT '{what} {TREE}', {value} FROM {table}")


def _wanted(projects: int, files: int) -> Iterator[tuple[str, int, int]]:
    """Name, files, and the place in the order in which the projects came, from 1 on."""
    places = list(range(1, projects + 1))
    random.Random(3).shuffle(places)
    return zip(names(projects), counts(projects, files), places, strict=True)
