"""Debian's Chromium, driven by Playwright, and all that a page did in it.

No page reaches another address than 127.0.0.1: every other name is unknown to this browser.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Page,
    Request,
    Response,
    sync_playwright,
)

CHROMIUM = Path("/usr/bin/chromium")
PHONE = {"viewport": {"width": 400, "height": 700}, "is_mobile": True, "has_touch": True}
HACK = "window.hacked=1"
"""What hostile text tries to run; a window tells of it."""

_FLAGS = (
    "--no-sandbox",  # for root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)
_LIMIT = 30_000  # milliseconds, of a busy machine
_NOT_LOADED = "Failed to load resource: "
"""How the console tells that an answer was an error, which a test sees by the answer itself."""

# Runs in each page before anything of its own, whatever its policy says.
_WATCH = """
addEventListener("securitypolicyviolation", e => tellTest(`violated ${e.effectiveDirective}: ${e.blockedURI}`), true);
Object.defineProperty(window, "hacked", { set: value => tellTest(`ran: ${value}`) });
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser. While it runs, the thread counts as one with a running event loop: no `asyncio.run()` meanwhile."""
    assert CHROMIUM.exists(), f"{CHROMIUM} is missing: run `make test-deps`, or apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS, timeout=4 * _LIMIT)
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """A person's browser window, with cookies and a cache of its own. `options`: Playwright's of a new context.

    `asked`: URLs of all requests; `told`: errors and warnings of the console, what failed, violated the page's policy
    or ran, and every dialog.
    """

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.asked: list[str] = []
        self.loaded: list[str] = []
        self.told: list[str] = []
        self._context: BrowserContext = browser.new_context(**options)
        self._context.set_default_timeout(_LIMIT)
        self._context.expose_binding("tellTest", lambda _, text: self.told.append(text))
        self._context.add_init_script(_WATCH)
        self._context.on("request", self._on_request)
        self._context.on("console", self._on_console)
        self._context.on("weberror", lambda error: self.told.append(f"failed: {error.error}"))
        self._context.on("dialog", self._on_dialog)
        self.page: Page = self._context.new_page()

    def go(self, url: str) -> Response:
        """The answer to who opens the URL; its page has loaded."""
        answer = self.page.goto(url)
        assert answer is not None
        return answer

    def judge(self) -> None:
        """Every request was for a page or file of one server on this machine, and there was nothing to tell."""
        self.page.evaluate("0")  # what the page tells comes before the answer
        assert self.told == []
        assert self.loaded == []
        assert {urlsplit(url).hostname for url in self.asked} <= {"127.0.0.1"}
        assert len({urlsplit(url).netloc for url in self.asked}) <= 1

    def close(self) -> None:
        self._context.close()

    def _on_request(self, request: Request) -> None:
        self.asked.append(request.url)
        if not request.is_navigation_request():
            self.loaded.append(request.url)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(_NOT_LOADED):
            self.told.append(f"{message.type}: {message.text}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.told.append(f"asked by {dialog.type}: {dialog.message}")
        dialog.dismiss()


def tags(page: Page) -> set[str]:
    """Names of all elements."""
    found: list[str] = page.evaluate("[...document.querySelectorAll('*')].map(each => each.localName)")
    return set(found)


def attributes(page: Page, css: str = "*") -> set[str]:
    """Names of all attributes."""
    script = "css => [...document.querySelectorAll(css)].flatMap(each => each.getAttributeNames())"
    found: list[str] = page.evaluate(script, css)
    return set(found)


def schemes(page: Page) -> set[str]:
    """Of all links, as the browser reads them."""
    found: list[str] = page.evaluate("[...document.querySelectorAll('a[href]')].map(each => each.protocol)")
    return set(found)


def fits(page: Page) -> None:
    """As wide as the screen, and no wider: nobody scrolls sideways, and text has its size."""
    width, screen = page.evaluate("[document.documentElement.scrollWidth, screen.width]")
    assert (page.evaluate("innerWidth"), width) == (screen, screen), page.url


def is_accessible(page: Page) -> None:
    """A language, a title, one heading of the first level, and a name for whatever can be used."""
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title()
    assert page.get_by_role("heading", level=1).count() == 1, page.url
    for control in page.locator("input, button, select, textarea").all():
        labelled = control.evaluate("each => each.labels.length > 0 || !!each.getAttribute('aria-label')")
        assert labelled, control.evaluate("each => each.outerHTML")
    for link in page.locator("a[href]").all():
        assert link.inner_text().strip(), link.get_attribute("href")
