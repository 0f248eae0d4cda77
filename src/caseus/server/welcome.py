"""What a start tells the person who started it, on stderr: where the index is, who can read, lines to copy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, TextIO
from urllib.parse import urlsplit

from caseus import __version__
from caseus.config import Loaded
from caseus.server.admin import NAME, FirstAdmin

_LOCAL = "http://localhost/"
"""What curl calls a server behind --unix-socket."""
_EVERYWHERE = re.compile(r"//(?:0\.0\.0\.0|\[::\]):")


class Welcome(NamedTuple):
    facts: Sequence[tuple[str, str]]
    copies: Sequence[tuple[str, str]]


def urls_of(names: Sequence[str], *, tls: bool) -> list[str]:
    """Where the server listens, for people and scripts: `http://HOST:PORT/`, `unix:/PATH`."""
    scheme = "https" if tls else "http"
    return [name if name.startswith("unix:") else f"{scheme}://{name}/" for name in names]


def compose(loaded: Loaded, names: Sequence[str], admin: FirstAdmin | None, *, secret: bool) -> Welcome:
    """`names`: where the server listens. `secret`: whether the admin's new password may be shown."""
    config = loaded.config
    urls = urls_of(names, tls=config.tls_cert is not None)
    base = config.public_url or next((_reachable(url) for url in urls if not url.startswith("unix:")), _LOCAL)
    index, upload = f"{base}simple/", f"{base}legacy/"
    closed = config.read == "users"
    facts = [
        *([("listening", " ".join(urls))] if len(urls) > 1 or urls[0].startswith("unix:") else []),
        ("index", index),
        ("reading", "users and tokens only" if closed else "everybody who reaches it"),
        ("uploads", f"users and tokens, to {upload}"),
        ("data", str(config.root)),
        ("upstream", loaded.settings["upstream"].shown),
        *([("DANGER", "no_fsync: a power cut loses what is published")] if config.no_fsync else []),
    ]
    if admin is not None:
        facts.append(("admin", f"user `{NAME}` was made; the password is in {admin.where}"))
        if secret and admin.password is not None:
            facts.append(("password", admin.password))
    if closed:
        parts = urlsplit(index)
        index = parts._replace(netloc=f"USER@{parts.netloc}").geturl()
    copies = [
        ("pip", f"pip install --index-url {index} PROJECT"),
        ("uv", f"uv pip install --default-index {index} PROJECT"),
        ("twine", f"twine upload --repository-url {upload} dist/*"),
        ("uv publish", f"uv publish --publish-url {upload} dist/*"),
    ]
    return Welcome(facts, copies)


def show(welcome: Welcome, stream: TextIO) -> None:
    """With colours on a terminal, else plain lines; nothing is wrapped, so that it can be copied."""
    if stream.isatty():
        from rich.console import Console
        from rich.text import Text

        console = Console(file=stream)
        console.print(Text.assemble(("caseus ", "bold"), __version__))
        for style, rows in (("cyan", welcome.facts), ("green", welcome.copies)):
            for name, value in rows:
                console.print(Text.assemble((f"  {name:<10} ", style), value), soft_wrap=True)
        return
    lines = [f"caseus {__version__}", *(f"  {name:<10} {value}" for name, value in (*welcome.facts, *welcome.copies))]
    stream.write("\n".join(lines) + "\n")
    stream.flush()


def _reachable(url: str) -> str:
    """Every address at once is none that a client can ask: show this machine's own."""
    return _EVERYWHERE.sub("//127.0.0.1:", url)
