"""The ASGI application: `create_app(site)`."""

from __future__ import annotations

from caseus.web.app import create_app

__all__ = ["create_app"]
