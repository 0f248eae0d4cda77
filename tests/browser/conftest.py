"""Fixtures for tests in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from support.browser import Window, chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for the tests of a module, and gone after them: other tests run event loops of their own."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_window(browser: Browser) -> Iterator[Callable[..., Window]]:
    """Opens windows, by Playwright's options of a context; what their pages did is judged after the test."""
    windows: list[Window] = []

    def open_one(**options: Any) -> Window:
        windows.append(Window(browser, **options))
        return windows[-1]

    yield open_one
    try:
        for window in windows:
            window.judge()
    finally:
        for window in windows:
            window.close()


@pytest.fixture
def window(open_window: Callable[..., Window]) -> Window:
    """A window as wide as a laptop's."""
    return open_window()
