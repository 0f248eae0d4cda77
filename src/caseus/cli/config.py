"""`caseus config`."""

from __future__ import annotations

import json
from pathlib import Path

from cyclopts import App

from caseus.cli.common import DEFAULTS, AsJson, Settings, load_config, print_table
from caseus.config import Setting

app = App(name="config", help="The configuration: show.")


@app.command
def show(*, as_json: AsJson = False, settings: Settings = DEFAULTS) -> None:
    """Print every key, its value, and where the value came from."""
    rows = list(load_config(settings).settings.values())
    if as_json:
        print(json.dumps({row.key: {"value": _plain(row), "source": row.source} for row in rows}, indent=2))
        return
    print_table(("key", "value", "source"), [(row.key, row.shown or "-", row.source) for row in rows])


def _plain(row: Setting) -> object:
    """As JSON has it; the upstream as a person writes it, for its URL may hold a password."""
    return row.shown if row.key == "upstream" or isinstance(row.value, Path) else row.value
