"""What clients and shared caches may keep (DESIGN "Caching")."""

from __future__ import annotations

from caseus.model import Validity

FRESH_AT_MOST = 600
"""Seconds that a proxied page may be kept."""

FOREVER = "max-age=365000000, immutable"
"""For files: a filename, once answered, never serves other bytes."""


def page_headers(*, hosted: bool, validity: Validity, now: float, private: bool) -> list[tuple[str, str]]:
    """Cache-Control and its companions of a page.

    Of a project published here `no-cache`: a release is visible to the next install. Of a proxied one what is left of
    its freshness, and `no-cache` where only another request ends that; of an older answer, given because the upstream
    failed, nothing, and it is marked.
    """
    headers: list[tuple[str, str]] = []
    if validity.stale:
        control = "max-age=0"
        headers.append(("X-Caseus-Stale", "1"))
        if validity.fetched is not None:
            headers.append(("Age", str(max(0, int(now - validity.fetched)))))
    elif hosted or validity.until is None:
        control = "no-cache"
    else:
        control = f"max-age={max(0, int(min(FRESH_AT_MOST, validity.until - now)))}"
    return [("Cache-Control", scoped(control, private=private)), *headers]


def scoped(control: str, *, private: bool) -> str:
    """The Cache-Control with `private, ` where not everybody may read."""
    return f"private, {control}" if private else control


def vary(*names: str, private: bool) -> list[tuple[str, str]]:
    """The Vary header; where not everybody may read, answers differ by who asks."""
    varying = [*names, "Authorization"] if private else list(names)
    return [("Vary", ", ".join(varying))] if varying else []
