"""`caseus info`."""

from __future__ import annotations

import sqlite3
from typing import Any

from caseus import __version__
from caseus.cli.common import HERE, AsJson, Where, existing_root, load_config, open_catalog, print_table, show_time
from caseus.cli.show import print_json, show_size


def info(*, as_json: AsJson = False, where: Where = HERE) -> None:
    """Print how much is there: projects, files, cache, users, and what runs."""
    config = load_config(where).config
    existing_root(config.root)
    from caseus.catalog import schema
    from caseus.catalog.locks import is_open
    from caseus.site import cache_limit

    running = is_open(config.root / "server.lock")  # before this process opens it too
    with open_catalog(where) as catalog:
        totals = catalog.totals()
        facts: dict[str, Any] = {
            "root": str(config.root),
            "in_use": running,
            "schema": schema.HEAD,
            "serial": catalog.serial(),
            "projects": totals.projects,
            "files": totals.files,
            "bytes": totals.bytes,
            "tombstones": totals.tombstones,
            "last_upload": totals.last_upload,
            "fetched_files": totals.fetched_files,
            "fetched_bytes": catalog.cache_bytes(),
            "cache_bytes": cache_limit(config),
            "users": totals.users,
            "tokens": totals.tokens,
            "journal_entries": totals.journal_entries,
            "caseus": __version__,
            "sqlite": sqlite3.sqlite_version,
        }
    if as_json:
        print_json(facts)
        return
    print_table(("what", "value"), [(key.replace("_", " "), _show(key, value)) for key, value in facts.items()])


def _show(key: str, value: Any) -> str:
    if key == "in_use":
        return "yes: by a server or another command" if value else "no"
    if key == "last_upload":
        return show_time(value)
    return show_size(value) if key.endswith("bytes") else str(value)
