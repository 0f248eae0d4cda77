"""`caseus verify`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from caseus.cli.common import HERE, AsJson, Refused, Where, find_root, open_catalog, print_table


def verify(*, as_json: AsJson = False, where: Where = HERE) -> None:
    """Check every stored file against its digest and what the catalog knows; works while the server runs."""
    root = find_root(where)
    from caseus.storage.filesystem import FilesystemStorage
    from caseus.verify import count_files
    from caseus.verify import verify as find_damages

    with open_catalog(where) as catalog:
        total = count_files(catalog)
        with _progress(total) as seen:
            damages = list(find_damages(catalog, FilesystemStorage(root), seen=seen))
    if as_json:
        found = [{"kind": each.kind, "key": each.key, "detail": each.detail} for each in damages]
        print(json.dumps({"files": total, "damages": found}, indent=2))
    elif damages:
        print_table(("damage", "file", "detail"), [(each.kind, each.key, each.detail) for each in damages])
    else:
        print(f"verified {total} files: all as they were")
    if damages:
        raise Refused(f"{len(damages)} damages found in {root}")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("verifying", total=total)
        yield lambda: bar.advance(task)
