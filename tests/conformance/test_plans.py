"""How SQLite goes about each statement: by a key that leaves a few rows, however large the index is."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from caseus import catalog as catalog_package
from caseus.catalog import Catalog, sql

BY_HAND = {
    "accounts._users": "people, listed for people; asked at a start for whether there are any",
    "accounts._tokens": "tokens, listed for people",
    "uploads._drop_claims": "the clean-up of a start: uploads that run",
    "aliases._aliases": "caseus index show",
    "folders._marked": "a start: folders that a person marked",
    "folders._all_marked": "reindex",
    "upkeep._accounts[users]": "reindex",
    "upkeep._accounts[tokens]": "reindex",
    "upkeep._rows_of_files[files]": "caseus verify, backup, restore",
    "upkeep._rows_of_files[fetched_files]": "caseus verify, backup, restore",
    "upkeep._counts[users]": "caseus info: people",
    "upkeep._counts[tokens]": "caseus info: tokens",
    "upkeep._clear_stored": "reindex",
    "upkeep._trees": "caseus cache",
    "upkeep._cached": "caseus cache",
    "upkeep._pages": "caseus cache",
    "upkeep._unused": "caseus cache",
    "upkeep._fetched_named": "caseus cache",
}
"""Statements that may look at all there is: no request, no upload and nothing that runs by itself uses them."""
FEW = {"transaction._counters": "three, and five for each tree"}
"""Statements that look at all there is of what is never much."""
COARSE = {"tree", "stored"}
"""Columns of which one value is shared by any number of rows."""


def statements() -> Iterator[tuple[str, sql.Statement]]:
    for found in pkgutil.iter_modules(catalog_package.__path__):
        if found.name in ("migration", "migrations"):
            continue
        module = importlib.import_module(f"caseus.catalog.{found.name}")
        for name, value in vars(module).items():
            several = {f"[{key}]": one for key, one in value.items()} if isinstance(value, dict) else {"": value}
            for key, one in several.items():
                for each in one if isinstance(one, tuple) else (one,):
                    if isinstance(each, sql.Statement):
                        yield f"{found.name}.{name}{key}", each


def plan(connection: sqlite3.Connection, text: str) -> list[str]:
    class Anything(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return ""

    return [row[3] for row in connection.execute("EXPLAIN QUERY PLAN " + text, Anything())]


def faults(steps: list[str], text: str) -> list[str]:
    """The steps that take longer the more there is."""
    found = []
    for step in steps:
        if step == "SCAN CONSTANT ROW":
            continue
        by = re.search(r"\((.*)\)", step)
        columns = set(re.findall(r"(\w+)(?:[,)]|[=<>])", by[1])) if by else set()
        # Rows that come in the order that is asked for, up to a limit, are as few as the limit says.
        bounded = " LIMIT " in text and not any("TEMP B-TREE" in each for each in steps)
        smallest = step.startswith("SEARCH") and by is None  # min() or max(), one look at an end of the index
        if not (smallest or (step.startswith("SEARCH") and (columns - COARSE or bounded)) or "SUBQUERY" in step):
            found.append(step)
    return found


def test_every_statement_goes_by_a_key_that_leaves_a_few_rows(tmp_path: Path) -> None:
    Catalog.open(tmp_path).close()
    looked: dict[str, list[str]] = {}
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection:
        for name, statement in statements():
            text, _ = statement.compiled
            looked[name] = faults(plan(connection, text), text)
    assert {name for name, found in looked.items() if found} <= BY_HAND.keys() | FEW.keys() <= looked.keys()
    assert len(looked) > 50


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM files",
        "SELECT * FROM files WHERE project = 'acme'",
        "SELECT * FROM files WHERE tree = 'files/main'",
        "SELECT count(*) FROM files WHERE tree = 'files/main'",
        "SELECT DISTINCT project FROM files WHERE tree = 'files/main' ORDER BY size LIMIT 10",
        # What SQLite makes of a wish for an order when it knows an index that gives it: it says SEARCH, and reads all.
        "SELECT * FROM files INDEXED BY files_filename WHERE tree = 'files/main' AND project = 'a' ORDER BY filename",
    ],
)
def test_a_statement_that_reads_all_would_be_seen(tmp_path: Path, text: str) -> None:
    Catalog.open(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection:
        assert faults(plan(connection, text), text)
