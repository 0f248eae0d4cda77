"""The ASGI application: `create_app(site)`."""

from __future__ import annotations

from caseus.web.app import App, create_app
from caseus.web.metrics import Metrics

__all__ = ["App", "Metrics", "create_app"]
