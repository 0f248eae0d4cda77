"""The tree of commands."""

from __future__ import annotations

from cyclopts import App

from caseus import __version__
from caseus.cli import config, project, token, user
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
app.command(project.app)
app.command(config.app)
app.command(verify)
