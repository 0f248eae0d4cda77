"""A database and a repository of pyshop 1.3.0, as the program itself wrote them."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

from support.packages import make_sdist, make_wheel

DUMP = Path(__file__).parents[1] / "data" / "pyshop-1.3.0.sql"
ACME = (make_wheel("acme", "1.0"), make_sdist("acme", "1.0"))
APP = make_wheel("Acme.App", "2.0")
ALPHA = (make_wheel("alpha", "1.0"), make_wheel("alpha", "2.0"))
"""Published there: ACME by mia, APP by bob; ALPHA was mirrored, and the first of it downloaded."""


class PyshopShop:
    """`database` and `repository` in a folder. Digests and sizes are those of the packages as they are made today."""

    def __init__(self, folder: Path) -> None:
        self.database, self.repository = folder / "pyshop.db", folder / "repository"
        with closing(sqlite3.connect(self.database)) as database:
            database.executescript(DUMP.read_text())
            for name, data in (*ACME, APP, *ALPHA):
                md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
                changed = database.execute(
                    "UPDATE release_file SET md5_digest = ?, size = ? WHERE filename = ?", (md5, len(data), name)
                )
                assert changed.rowcount == 1, name
            database.commit()
        for file in (*ACME, APP, ALPHA[0]):
            self.put(*file)

    def put(self, filename: str, data: bytes) -> Path:
        """Into the repository, as pyshop does."""
        path = self.repository / filename[0].lower() / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def execute(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.database)) as database:
            database.execute(statement, values)
            database.commit()
