"""An application that can be replaced while it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from caseus.web import App

if TYPE_CHECKING:
    from caseus.site import Site


class _Tenure:
    """An application for as long as it is asked."""

    def __init__(self, app: App, site: Site) -> None:
        self.app, self.site = app, site
        self.running = 0


class Swap:
    """New requests go to the newest application; those under way are finished by the one they began with.

    Used by one event loop. An application that was replaced and has nothing left to do is closed, with its site.
    """

    def __init__(self, app: App, site: Site) -> None:
        self._tenure = _Tenure(app, site)
        self._old: set[_Tenure] = set()

    @property
    def site(self) -> Site:
        return self._tenure.site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        tenure = self._tenure
        tenure.running += 1
        try:
            await tenure.app(scope, receive, send)
        finally:
            tenure.running -= 1
            self._end_if_over(tenure)

    def replace(self, app: App, site: Site) -> None:
        """To be called in the loop's thread."""
        old, self._tenure = self._tenure, _Tenure(app, site)
        self._old.add(old)
        self._end_if_over(old)

    def end(self) -> None:
        """In the loop's thread, when no request will come any more."""
        self._tenure.app.close()

    def close(self) -> None:
        """When the loop has ended: close the site, and those that had something left to do."""
        for tenure in self._old:
            tenure.site.retire()
        self._tenure.site.close()

    def _end_if_over(self, tenure: _Tenure) -> None:
        if tenure in self._old and not tenure.running:
            self._old.remove(tenure)
            tenure.app.close()
            _in_background(tenure.site.retire)  # waits for what is being fetched

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.end()
        await send({"type": "lifespan.shutdown.complete"})


def _in_background(act: Callable[[], None]) -> None:
    threading.Thread(target=act, name="caseus-retire", daemon=True).start()
