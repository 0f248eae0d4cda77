"""Another index that is asked for what is not ours: pages (PEP 691 JSON, PEP 503 HTML), files, ranges."""

from __future__ import annotations

from caseus.upstream.circuit import LeftAlone, Unreachable
from caseus.upstream.client import NotModified, Timeouts, Upstream
from caseus.upstream.contact import NotContacted
from caseus.upstream.pages import Page
from caseus.upstream.response import Response, Unauthorized
from caseus.upstream.urls import Origin, linked_origins, resolve_upstream, upstream_name

__all__ = [
    "LeftAlone",
    "NotContacted",
    "NotModified",
    "Origin",
    "Page",
    "Response",
    "Timeouts",
    "Unauthorized",
    "Unreachable",
    "Upstream",
    "linked_origins",
    "resolve_upstream",
    "upstream_name",
]
