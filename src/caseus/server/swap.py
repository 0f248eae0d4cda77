"""An application that can be replaced while it answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from caseus.web import App

if TYPE_CHECKING:
    from caseus.site import Site


class Swap:
    """New requests go to the newest application; those under way are finished by the one they began with.

    Used by one event loop. An application that was replaced and has nothing left to do is closed, with its site.
    """

    def __init__(self, app: App, site: Site) -> None:
        self.app, self.site = app, site
        self._old: set[Site] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.app(scope, receive, send)

    def replace(self, app: App, site: Site) -> None:
        """To be called in the loop's thread."""
        old, retired = self.app, self.site
        self.app, self.site = app, site
        self._old.add(retired)
        old.when_idle(lambda: self._let_go(old, retired))

    async def end(self) -> None:
        """When no request will come any more."""
        await self.app.close()

    def close(self) -> None:
        """When the loop has ended: close the site, and those that had something left to do."""
        for site in self._old:
            site.retire()
        self.site.close()

    def _let_go(self, app: App, site: Site) -> None:
        self._old.remove(site)
        task = asyncio.get_running_loop().create_task(app.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        _in_background(site.retire)  # waits for what is being fetched

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.end()
        await send({"type": "lifespan.shutdown.complete"})


def _in_background(act: Callable[[], None]) -> None:
    threading.Thread(target=act, name="caseus-retire", daemon=True).start()
