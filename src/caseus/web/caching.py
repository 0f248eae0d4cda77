"""What clients and shared caches may keep (DESIGN "Caching")."""

from __future__ import annotations

import math

from caseus.model import Validity

FRESH_AT_MOST = 600
"""Seconds that a proxied page may be kept."""

FOREVER = "max-age=365000000, immutable"
"""For files: a filename, once answered, never serves other bytes."""


def page_headers(*, hosted: bool, validity: Validity, now: float, private: bool) -> tuple[list[tuple[str, str]], float]:
    """Cache-Control and its companions of a page, and until when (Unix seconds) they stay the same.

    Of a project published here `no-cache`: a release is visible to the next install. Of a proxied one what is left of
    its freshness, and `no-cache` where only another request ends that; of an older answer, given because the upstream
    failed, nothing, and it is marked.
    """
    headers: list[tuple[str, str]] = []
    same_until = math.inf
    if validity.stale:
        control = "max-age=0"
        headers.append(("X-Caseus-Stale", "1"))
        if validity.fetched is not None:
            age = max(0, int(now - validity.fetched))
            headers.append(("Age", str(age)))
            same_until = validity.fetched + age + 1
    elif hosted or validity.until is None:
        control = "no-cache"
    else:
        left = max(0, int(min(FRESH_AT_MOST, validity.until - now)))
        control = f"max-age={left}"
        same_until = validity.until - left
    return [("Cache-Control", scoped(control, private=private)), *headers], same_until


def scoped(control: str, *, private: bool) -> str:
    """The Cache-Control with `private, ` where not everybody may read."""
    return f"private, {control}" if private else control


def vary(*names: str, private: bool) -> list[tuple[str, str]]:
    """The Vary header; where not everybody may read, answers differ by who asks."""
    varying = [*names, "Authorization"] if private else list(names)
    return [("Vary", ", ".join(varying))] if varying else []
