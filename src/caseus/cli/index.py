"""`caseus index`: what clients point at."""

from __future__ import annotations

import re
from typing import Any

from cyclopts import App

from caseus.cli.common import (
    HERE,
    AsJson,
    Switch,
    UsageError,
    Where,
    actor,
    existing_root,
    load_config,
    open_catalog,
    print_table,
    show_time,
)
from caseus.cli.show import print_json, show_size
from caseus.errors import NotFound

app = App(name="index", help="The indexes that are served: list, show, alias.")

_ALIAS = re.compile(r"[A-Za-z0-9@_.-]+/[A-Za-z0-9@_.-]+\Z")


@app.command(name="list")
def list_(*, as_json: AsJson = False, where: Where = HERE) -> None:
    """List the indexes."""
    found = _indexes(where)
    if as_json:
        print_json(found)
        return
    keys = ("name", "read", "upstream", "private", "projects", "files", "bytes")
    print_table(keys, [tuple(_show(key, index[key]) for key in keys) for index in found])


@app.command
def show(name: str, /, *, as_json: AsJson = False, where: Where = HERE) -> None:
    """Print one index: who may read, its upstream, its private names, how much it has.

    Parameters
    ----------
    name
        The index, such as main.
    """
    found = next((index for index in _indexes(where) if index["name"] == name), None)
    if found is None:
        raise NotFound(f"no index {name!r}: see `caseus index list`")
    if as_json:
        print_json(found)
        return
    print_table(("what", "value"), [(key.replace("_", " "), _show(key, value)) for key, value in found.items()])


@app.command
def alias(path: str, /, *, remove: Switch = False, where: Where = HERE) -> None:
    """Have the index answer under a path of devpi too: PATH/+simple/, uploads to PATH/, files under PATH/+f/.

    Parameters
    ----------
    path
        USER/NAME as devpi had it.
    remove
        Have it no longer answer there.
    """
    if not _ALIAS.match(path):
        raise UsageError(f"{path!a} is no path of devpi: give USER/NAME")
    from caseus.site import MAIN

    with open_catalog(where) as catalog:
        if not remove:
            catalog.add_alias(path, MAIN, actor=actor())
            print(f"/{path}/+simple/ is /simple/")
        elif catalog.remove_alias(path, actor=actor()):
            print(f"/{path}/+simple/ is no more")
        else:
            raise NotFound(f"no alias {path}: see `caseus index show main`")


def _indexes(where: Where) -> list[dict[str, Any]]:
    """This version has one, `main`, whose settings stand under [index.main] or at the top of the file."""
    loaded = load_config(where)
    existing_root(loaded.config.root)
    from caseus.site import MAIN
    from caseus.storage import hosted_tree

    with open_catalog(where) as catalog:
        totals, aliases = catalog.totals(hosted_tree(MAIN)), catalog.aliases(MAIN)
    return [
        {
            "name": MAIN,
            "url": "/simple/",
            "aliases": aliases,
            "read": loaded.settings["read"].shown,
            "upstream": loaded.settings["upstream"].shown,
            "upstream_ttl": loaded.settings["upstream_ttl"].shown,
            "private": loaded.settings["private"].shown.split(),
            "projects": totals.projects,
            "files": totals.files,
            "bytes": totals.bytes,
            "last_upload": totals.last_upload,
        }
    ]


def _show(key: str, value: Any) -> str:
    if key == "bytes":
        return show_size(value)
    if key == "last_upload":
        return show_time(value)
    return (" ".join(value) or "-") if isinstance(value, list) else str(value)
