"""The ASGI application: `create_app(site)`."""

from __future__ import annotations

from caseus.web.app import App, create_app

__all__ = ["App", "create_app"]
