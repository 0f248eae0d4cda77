"""The tree of commands."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from caseus import __version__
from caseus.cli import cache, config, import_, import_stock, index, project, token, user
from caseus.cli.backup import backup, restore
from caseus.cli.doctor import doctor
from caseus.cli.gc import gc
from caseus.cli.info import info
from caseus.cli.passwd import passwd_check, passwd_hash
from caseus.cli.reindex import reindex
from caseus.cli.serve import serve
from caseus.cli.verify import verify

app = App(
    name="caseus",
    help="A Python package index that a team runs itself: private packages, a verified cache of everybody else's.",
    version=__version__,
    help_format="plaintext",
    suppress_keyboard_interrupt=False,
)
app.command(serve)
app.command(user.app)
app.command(token.app)
app.command(passwd_check)
app.command(passwd_hash)
app.command(project.app)
app.command(config.app)
app.command(verify)
app.command(doctor)
import_.app.command(import_stock.gocheese)
import_.app.command(import_stock.pyshop)
import_.app.command(import_stock.pypiserver)
import_.app.command(import_stock.devpi)
app.command(import_.app)
app.command(index.app)
app.command(cache.app)
app.command(info)
app.command(gc)
app.command(reindex)
app.command(backup)
app.command(restore)


@app.command(help_flags=[])
def export(*words: Annotated[str, Parameter(allow_leading_hyphen=True)]) -> int:
    """Write an index as static files; `caseus export --help` tells how."""
    from caseus.cli.export import main  # which is called without this module, where that is quicker

    return main(words)
