"""Pages as bytes, by pure functions: the server and the static export give the same ones.

Links are relative (`FILE#sha256=…`), so a page is the same under any host and prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from caseus.render.home import HOME_POLICY, home_html
    from caseus.render.page import HTML, JSON, PLAIN_HTML, ContentType, ListForm, Page, make_page
    from caseus.render.signatures import signatures_html, signatures_text
    from caseus.render.simple_html import HTML_LIST, HTML_PROJECT, list_html, project_html
    from caseus.render.simple_json import JSON_LIST, JSON_PROJECT, list_json, project_json

__all__ = [
    "HOME_POLICY",
    "HTML",
    "HTML_LIST",
    "HTML_PROJECT",
    "JSON",
    "JSON_LIST",
    "JSON_PROJECT",
    "PLAIN_HTML",
    "ContentType",
    "ListForm",
    "Page",
    "home_html",
    "list_html",
    "list_json",
    "make_page",
    "project_html",
    "project_json",
    "signatures_html",
    "signatures_text",
]

_MODULES = ("page", "simple_html", "simple_json", "home", "signatures")


def __getattr__(name: str) -> object:
    """Loaded at the first use: an export of a list needs `links` only, and is done in the time that the rest takes."""
    if name in __all__:
        from importlib import import_module

        for module in _MODULES:
            found: object = getattr(import_module(f"{__name__}.{module}"), name, None)
            if found is not None:
                globals()[name] = found
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
