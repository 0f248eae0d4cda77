"""The page for people at `/`: what this index is, and lines to copy. No scripts, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #22201c; --dim: #6d675c; --paper: #fbf9f4; --card: #fff; --line: #e6dfd0;
  --rind: #c98a1b; }
@media (prefers-color-scheme: dark) { :root { --ink: #ece7dc; --dim: #a49c8c; --paper: #1b1916; --card: #24211d;
  --line: #3a352c; --rind: #e8b04b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 3.5rem 1.25rem; }
h1 { margin: 0 0 .25rem; font-size: 2rem; letter-spacing: -.02em; border-left: .35rem solid var(--rind);
  padding-left: .75rem; }
h2 { margin: 2.25rem 0 .5rem; font-size: 1.05rem; }
p { margin: .5rem 0; }
.lead { color: var(--dim); font-size: 1.1rem; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .6rem 1rem;
  margin: .6rem 0; }
.card p { margin: 0; color: var(--dim); font-size: .85rem; }
pre { margin: .15rem 0 .25rem; overflow-x: auto; user-select: all; white-space: pre;
  font: .9rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
a { color: inherit; text-decoration-color: var(--rind); text-underline-offset: .2em; }
a.button { display: inline-block; margin-top: 1rem; padding: .5rem .9rem; border: 1px solid var(--rind);
  border-radius: .5rem; text-decoration: none; }
footer { margin-top: 3rem; color: var(--dim); font-size: .85rem; }
"""

HOME_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}'"
)
"""The Content-Security-Policy under which the page works."""


class Line(NamedTuple):
    """A command or a setting to copy."""

    what: str
    text: str


def home_html(
    *,
    base_url: str,
    index: str = "main",
    closed: bool = False,
    proxied: bool = False,
    projects: int = 0,
    files: int = 0,
    version: str = "",
) -> bytes:
    """The page. `base_url`: absolute, ends in `/`; `closed`: reading needs a login; `proxied`: there is an upstream;
    `projects` and `files`: how many are published here."""
    what = (
        "Packages published here, and everybody else's through a verified cache."
        if proxied
        else "Packages published here."
    )
    who = "Reading and publishing need a login." if closed else "Anybody may install; publishing needs a login."
    title = "Package index" if index == "main" else f"Package index {index}"
    body = "\n".join(
        [
            f"<h1>{escape(title)}</h1>",
            f'<p class="lead">{what}</p>',
            f"<p>{who}</p>",
            f"<p>{_count(projects, files)}</p>",
            '<a class="button" href="simple/">Browse all projects</a>',
            "<h2>Install from here</h2>",
            *_cards(_install_lines(base_url)),
            "<h2>Publish here</h2>",
            "<p>With your user name and password, or with a token as the password of the user "
            "<code>__token__</code>.</p>",
            *_cards(_publish_lines(base_url)),
            f"<footer>caseus {escape(version)}</footer>",
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    ).encode()


def _count(projects: int, files: int) -> str:
    if not projects:
        return "Nothing is published here yet."
    return f"Published here: {_many(projects, 'project')} with {_many(files, 'file')}."


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _install_lines(base_url: str) -> Iterator[Line]:
    simple = f"{base_url}simple/"
    trust = _untrusted_host(base_url)
    trusted = f" --trusted-host {trust}" if trust else ""
    yield Line("pip, once", f"pip install --index-url {simple}{trusted} PACKAGE")
    yield Line("pip, from now on", f"pip config set global.index-url {simple}")
    if trust:
        yield Line("pip, as this address has no TLS", f"pip config set global.trusted-host {trust}")
    yield Line("uv, once", f"uv pip install --default-index {simple} PACKAGE")
    yield Line("uv, in pyproject.toml", f'[[tool.uv.index]]\nurl = "{simple}"\ndefault = true')


def _publish_lines(base_url: str) -> Iterator[Line]:
    yield Line("twine", f"twine upload --repository-url {base_url}legacy/ dist/*")
    yield Line("uv", f"uv publish --publish-url {base_url}legacy/ dist/*")


def _untrusted_host(base_url: str) -> str | None:
    """The host that pip refuses without `--trusted-host`: plain HTTP from another machine."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host in ("localhost", "::1") or host.startswith("127."):
        return None
    return f"[{host}]" if ":" in host else host


def _cards(lines: Iterator[Line]) -> Iterator[str]:
    for line in lines:
        yield f'<div class="card"><p>{escape(line.what)}</p><pre>{escape(line.text)}</pre></div>'
