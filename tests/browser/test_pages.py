"""The pages of a running server, as people see and use them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import product
from typing import Literal

import pytest
from playwright.sync_api import Error, Page, expect

from support.browser import HACK, PHONE, Window, fits, is_accessible, tags
from support.clients import upload
from support.packages import make_sdist, make_wheel
from support.server import CaseusServer
from support.upstream import FakeUpstream, Options

WHEEL = make_wheel("acme-app", "1.0")
FILES = [
    WHEEL,
    make_sdist("acme-app", "1.0"),
    make_wheel("acme-widgets", "2024.10.1", tag="cp311-cp311-manylinux_2_17_x86_64"),
    *(make_wheel(f"lib-{number}", "1.0") for number in range(40)),
]
PAGES = ("", "simple/", "simple/acme-app/", "simple/acme-widgets/", "gpgupdate/up-lib/")
Open = Callable[..., Window]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of an index that everybody may read."""
    root = tmp_path_factory.mktemp("pages") / "root"
    signed = (*make_wheel("up-lib", "1.0"), Options(signature=b"-----BEGIN PGP SIGNATURE-----"))
    with FakeUpstream({"up-lib": [signed]}) as upstream, CaseusServer(root, upstream=upstream.url) as server:
        for file in FILES:
            assert upload(server.url, *file, login=server.admin).status == 200
        yield server.url


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CaseusServer]:
    """An index that only its users may read."""
    with CaseusServer(tmp_path_factory.mktemp("closed") / "root", flags=("--read", "users")) as server:
        assert upload(server.url, *WHEEL, login=server.admin).status == 200
        yield server


def find_the_wheel(page: Page) -> bytes:
    """By clicking, from the page at the top; what is downloaded then."""
    expect(page).to_have_title("Package index")
    page.get_by_role("link", name="Browse all projects").click()
    expect(page).to_have_title("Simple index")
    page.get_by_role("link", name="acme-app", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Links for acme-app")
    with page.expect_download() as download:
        page.get_by_role("link", name=WHEEL[0]).click()
    assert download.value.suggested_filename == WHEEL[0]
    return download.value.path().read_bytes()


def test_clicking_from_the_top_to_a_file(url: str, window: Window) -> None:
    window.go(url)
    assert find_the_wheel(window.page) == WHEEL[1]
    for command in (f"pip install --index-url {url}simple/", f"twine upload --repository-url {url}legacy/"):
        window.go(url)
        expect(window.page.locator("pre").filter(has_text=command).first).to_be_visible()


def test_on_a_phone(url: str, open_window: Open) -> None:
    window = open_window(**PHONE)
    for path in PAGES:
        assert window.go(url + path).status == 200
        fits(window.page)
        is_accessible(window.page)


def test_as_light_or_dark_as_the_system(url: str, window: Window) -> None:
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for path, scheme in product(PAGES, schemes):
        window.page.emulate_media(color_scheme=scheme)
        window.go(url + path)
        heading = window.page.get_by_role("heading", level=1)
        ink = brightness(heading.evaluate("each => getComputedStyle(each).color"))
        assert (ink > 128) == (scheme == "dark"), path
        paper = window.page.evaluate("getComputedStyle(document.body).backgroundColor")
        if paper != "rgba(0, 0, 0, 0)":  # else the browser's own, which goes with the ink
            assert abs(brightness(paper) - ink) > 128


def brightness(colour: str) -> float:
    """0 to 255."""
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return (red + green + blue) / 3


def test_the_keyboard_leads_to_a_file(url: str, window: Window) -> None:
    window.go(f"{url}simple/acme-app/")
    window.page.keyboard.press("Tab")
    expect(window.page.get_by_role("link", name=WHEEL[0])).to_be_focused()
    with window.page.expect_download() as download:
        window.page.keyboard.press("Enter")
    assert download.value.suggested_filename == WHEEL[0]


def test_errors_are_text(url: str, window: Window) -> None:
    """JSON that the browser shows as it is: nothing of what was asked for becomes a part of a page."""
    for path in ("nope", "simple/nope/", f"simple/acme-app/<img src=x onerror={HACK}>", "%3Csvg%3E/"):
        answer = window.go(url + path)
        assert answer.status in (400, 404)
        assert not {"img", "svg", "script"} & tags(window.page)
        assert json.loads(window.page.locator("pre").inner_text())["status"] == answer.status


# An index that needs a login


def test_the_browser_asks_for_the_password(closed: CaseusServer, open_window: Open) -> None:
    user, password = closed.admin
    window = open_window(http_credentials={"username": user, "password": password, "origin": closed.url.rstrip("/")})
    assert window.go(closed.url).status == 200
    assert find_the_wheel(window.page) == WHEEL[1]


def test_nobody_gets_in_without_a_password(closed: CaseusServer, open_window: Open) -> None:
    """Where nobody can be asked for one, Chromium shows an error of its own."""
    for path in ("", "simple/", "simple/acme-app/"):
        window = open_window()
        with pytest.raises(Error, match="ERR_INVALID_AUTH_CREDENTIALS"):
            window.go(closed.url + path)
        window.page.wait_for_url("chrome-error://chromewebdata/")
        assert window.asked[0] == closed.url + path


def test_nobody_gets_in_by_a_wrong_password(closed: CaseusServer, open_window: Open) -> None:
    window = open_window(http_credentials={"username": closed.admin[0], "password": "not it"})
    for path in ("", "simple/", "simple/acme-app/"):
        answer = window.go(closed.url + path)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Basic ")
        assert "acme" not in window.page.content()
