"""The index that an upstream is, seen through our cache."""

from __future__ import annotations

from caseus.proxy.index import Proxy

__all__ = ["Proxy"]
