"""`caseus cache`: what was fetched from upstreams."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec
from cyclopts import App

from caseus.cli.common import (
    HERE,
    AsJson,
    Refused,
    UsageError,
    Where,
    existing_root,
    load_config,
    open_catalog,
    print_table,
    show_time,
)
from caseus.cli.show import counted, parse_age, print_json, show_size
from caseus.units import parse_size

if TYPE_CHECKING:
    from caseus.upkeep.cache import Evicted, Pruner

app = App(name="cache", help="What was fetched from upstreams: info, prune, evict.")


@app.command
def info(*, as_json: AsJson = False, where: Where = HERE) -> None:
    """Print how much is cached of each upstream, and when it was used."""
    config = load_config(where).config
    existing_root(config.root)
    from caseus.site import cache_limit

    with open_catalog(where) as catalog:
        trees, size, limit = catalog.cached_trees(), catalog.cache_bytes(), cache_limit(config)
    if as_json:
        print_json({"bytes": size, "cache_bytes": limit, "upstreams": msgspec.to_builtins(trees)})
        return
    if trees:
        headers = ("upstream", "pages", "files", "bytes", "oldest use", "latest use")
        rows = [
            (
                tree.tree.removeprefix("fetched/"),
                str(tree.pages),
                str(tree.files),
                show_size(tree.bytes),
                show_time(tree.oldest),
                show_time(tree.newest),
            )
            for tree in trees
        ]
        print_table(headers, rows)
    print(f"{show_size(size)} of {show_size(limit)} are used")


@app.command
def prune(
    *, to: str | None = None, older_than: str | None = None, as_json: AsJson = False, where: Where = HERE
) -> None:
    """Delete the least recently used files until the cache is as small as `cache_bytes` says, or smaller.

    Parameters
    ----------
    to
        Until at most this much is left, such as 5GiB.
    older_than
        All that was not read for so long, such as 30d, whatever the size.
    """
    if to is not None and older_than is not None:
        raise UsageError("give one of --to and --older-than")
    age = parse_age(older_than) if older_than is not None else None
    with _pruner(where) as (pruner, limit):
        if age is not None:
            evicted = pruner.unused_since(time.time() - age)
        else:
            evicted = pruner.down_to(_size(to) if to is not None else limit)
    _report(evicted, as_json)


@app.command
def evict(target: str, /, *, as_json: AsJson = False, where: Where = HERE) -> None:
    """Delete what is cached of a project, so that the upstream is asked again.

    Parameters
    ----------
    target
        PROJECT, PROJECT==VERSION or a filename.
    """
    with _pruner(where) as (pruner, _):
        evicted = pruner.evict(target)
    _report(evicted, as_json)


@contextmanager
def _pruner(where: Where) -> Iterator[tuple[Pruner, int]]:
    """With the size that the cache may have."""
    config = load_config(where).config
    existing_root(config.root)
    from caseus.site import cache_limit
    from caseus.storage.filesystem import FilesystemStorage
    from caseus.upkeep.cache import Pruner

    with open_catalog(where) as catalog:
        yield Pruner(catalog, FilesystemStorage(config.root)), cache_limit(config)


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError(f"--to: {error}") from None


def _report(evicted: Evicted, as_json: bool) -> None:
    size = sum(row.size or 0 for row in evicted.files)
    if as_json:
        files = [{"tree": row.tree, "project": row.project, "filename": row.filename} for row in evicted.files]
        print_json({"bytes": size, "files": files, "pages": evicted.pages, "busy": [r.filename for r in evicted.busy]})
    else:
        for row in evicted.files:
            print("evicted", row.filename)
        for tree in evicted.pages:
            print("forgot the page of", tree.removeprefix("fetched/"))
        print(f"{counted(len(evicted.files), 'file')}, {show_size(size)}")
    if evicted.busy:
        raise Refused(f"{counted(len(evicted.busy), 'file')} being read or fetched just now: left, try again")
