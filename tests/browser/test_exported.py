"""Exported trees, served by a plain static server: there is no policy, so all depends on the pages themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from support.browser import HACK, PHONE, Window, attributes, fits, is_accessible, schemes, tags
from support.clients import write
from support.exported import Line, export_by, write_list
from support.packages import make_sdist, make_wheel
from support.static import by_python

WHEEL = make_wheel("acme-app", "1.0")
FILES = [
    WHEEL,
    make_sdist("acme-app", "0.9"),
    make_wheel("acme.app-tools", "2.0"),
    make_wheel("widgets", "2024.10.1", tag="cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"),
]
MARKUP = f"""</a></td>"'><script>{HACK}</script><img src=x onerror={HACK}><a href="javascript:{HACK}">x</a>&quot;<!--"""
PAGES = (
    "index.html",
    "simple/index.html",
    "simple/acme-app/index.html",
    "simple/widgets/index.html",
    "changelog/page1.html",
    "404.html",
    "caseus/index.html",
    "caseus/simple/index.html",
    "caseus/simple/acme-app/index.html",
    "caseus/changelog/page1.html",
)
Open = Callable[..., Window]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a tree in dumb-pypi's style; in caseus/, one in ours."""
    folder = tmp_path_factory.mktemp("exported")
    write(folder / "packages", *FILES)
    flags = (
        "--package-dir",
        str(folder / "packages"),
        "--with-files",
        "--not-found-page",
        "--title",
        "Acme's <packages>",
    )
    base = ("--base-url", "https://pkgs.example.com/")
    for tree, style in ((folder / "tree", "dumb-pypi"), (folder / "tree" / "caseus", "caseus")):
        made = export_by(tree, *flags, "--style", style, *base)
        assert made.code == 0, made.err
    with by_python(folder / "tree") as served:
        yield served


def are_shown(page: Page, names: list[str]) -> None:
    """These projects and no others can be seen in the list at the top."""
    expect(page.locator("a.package:visible strong")).to_have_text(names)
    assert page.locator("a.package").count() == 3


def focused_filter(page: Page) -> Locator:
    """Whoever opens the page may type at once."""
    found = page.get_by_label("Filter")
    expect(found).to_be_focused()
    return found


def test_filter(url: str, window: Window) -> None:
    window.go(url)
    filter_box = focused_filter(window.page)
    window.page.keyboard.type("app")
    are_shown(window.page, ["acme-app", "acme-app-tools"])
    tools = ["acme-app-tools"]
    for typed, left in {"ACME_App.Tools": tools, "tools acme": tools, "nothing such": [], "<b>": []}.items():
        filter_box.fill(typed)
        are_shown(window.page, left)
        filter_box.fill("")
        are_shown(window.page, ["acme-app", "acme-app-tools", "widgets"])


def test_what_was_typed_still_filters_after_going_back(url: str, window: Window) -> None:
    window.go(url)
    window.page.get_by_label("Filter").fill("widg")
    window.page.get_by_role("link", name="widgets").click()
    expect(window.page.get_by_role("heading", level=1)).to_have_text("widgets")
    window.page.go_back()
    expect(window.page.get_by_label("Filter")).to_have_value("widg")
    are_shown(window.page, ["widgets"])


@pytest.mark.parametrize("scripts", [True, False], ids=["scripts", "no scripts"])
def test_clicking_from_the_top_to_files(url: str, open_window: Open, scripts: bool) -> None:
    window = open_window(java_script_enabled=scripts)
    page = window.page
    window.go(url)
    expect(page).to_have_title("Acme's <packages>")
    are_shown(page, ["acme-app", "acme-app-tools", "widgets"])
    page.get_by_role("link", name="acme-app (latest version: 1.0)").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("acme-app")
    expect(page.get_by_label("Latest version:")).to_have_value("acme-app==1.0")
    assert download(page) == WHEEL[1]
    page.go_back()
    page.get_by_role("link", name="Changelog").click()
    expect(page.get_by_role("heading", level=2)).to_have_text("Package Changelog")
    assert page.get_by_role("row").count() == 1 + len(FILES)
    assert download(page) == WHEEL[1]


def download(page: Page) -> bytes:
    with page.expect_download() as found:
        page.get_by_role("link", name=WHEEL[0]).click()
    return found.value.path().read_bytes()


def test_the_requirement_is_selected_to_be_copied(url: str, window: Window) -> None:
    window.go(f"{url}simple/acme-app/")
    window.page.get_by_label("Latest version:").focus()
    assert window.page.evaluate("getSelection().toString()") == "acme-app==1.0"


def test_the_keyboard_leads_to_a_project(url: str, window: Window) -> None:
    window.go(url)
    focused_filter(window.page)
    for link in ("Changelog", "acme-app (latest version: 1.0)"):
        window.page.keyboard.press("Tab")
        expect(window.page.get_by_role("link", name=link)).to_be_focused()
    window.page.keyboard.press("Enter")
    expect(window.page.get_by_role("heading", level=1)).to_have_text("acme-app")


def test_on_a_phone(url: str, open_window: Open) -> None:
    window = open_window(**PHONE)
    for path in PAGES:
        window.go(url + path)
        fits(window.page)
        is_accessible(window.page)


# Hostile lists


LINE = {
    "uploaded_by": MARKUP,
    "yanked_reason": MARKUP,
    "requires_python": MARKUP,
    "requires_dist": [MARKUP],
    "upload_timestamp": 1_700_000_000,
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a tree of a list that a stranger wrote."""
    folder = tmp_path_factory.mktemp("hostile")
    lines: list[Line | str] = [
        {"filename": "evil-1.0.tar.gz", **LINE},
        {"filename": "evil-2.0.tar.gz", "version": MARKUP, **LINE},
        {"filename": "evil-3.0.tar.gz", "url": f'https://pkgs.example.com/"><script>{HACK}</script>', **LINE},
        {"filename": "evil-4.0.tar.gz", "provenance": f'https://pkgs.example.com/"><script>{HACK}</script>', **LINE},
        {"filename": "evil-5.0.tar.gz", "provenance": f"javascript:{HACK}", **LINE},
        {"project": "evil", "status": "deprecated", "status_reason": MARKUP},
        {"filename": "bad-1.0.tar.gz", "url": f"javascript:{HACK}"},
        {"filename": "bad-2.0.tar.gz", "url": f" \tjava\nscript:{HACK}"},
        {"filename": "bad-3.0.tar.gz", "url": f"data:text/html,<script>{HACK}</script>"},
        {"filename": f"bad-4.0{MARKUP}.tar.gz"},
        {"filename": "bad-5.0.tar.gz", "project": MARKUP},
        {"filename": "bad-6.0.tar.gz", "hash": f'sha256="{MARKUP}'},
        {"filename": "bad-7.0.tar.gz", "core_metadata": f'sha256="{MARKUP}'},
    ]
    path = write_list(folder / "list", lines)
    flags = ("--package-list-json", str(path), "--packages-url", "../../pool/", "--skip-invalid", "--title", MARKUP)
    for tree, style in ((folder / "tree", "dumb-pypi"), (folder / "tree" / "caseus", "caseus")):
        made = export_by(tree, *flags, "--not-found-page", "--style", style)
        assert made.code == 0 and "7 bad lines left out" in made.out, made.err
    with by_python(folder / "tree") as served:
        yield served


def test_a_hostile_list_makes_text(hostile: str, window: Window) -> None:
    """No element, no attribute and no link of another kind than on any page; nothing runs, also when it is clicked."""
    for path in ("", "simple/", "simple/evil/", "changelog/page1.html", "404.html", "caseus/", "caseus/simple/evil/"):
        window.go(hostile + path)
        page = window.page
        own = page.locator("body script")
        assert tags(page) <= {
            "html", "head", "meta", "title", "style", "body", "header", "main", "div", "h1", "h2", "p", "strong", "ul",
            "li", "a", "br", "table", "tbody", "tr", "th", "td", "label", "input", "script",
        }  # fmt: skip
        assert own.count() <= 1 and HACK not in "".join(own.all_text_contents())
        handlers = {name for name in attributes(page) if name.startswith("on")}
        assert not handlers
        assert schemes(page) <= {"http:", "https:"}
        if path.endswith("simple/evil/"):
            assert page.get_by_role("link").count() == 5
            assert page.locator("[data-yanked]").first.get_attribute("data-yanked") == MARKUP
            assert page.locator("meta[name='pypi:project-status-reason']").get_attribute("content") == MARKUP
        if path == "simple/evil/":
            assert (
                page.get_by_role("listitem").filter(has_text=f"({MARKUP}, 2023-11-14 22:13:20, {MARKUP})").count() == 1
            )
        if path == "":
            focused_filter(page).fill("evil")
            expect(page.locator("a.package:visible strong")).to_have_text(["evil"])
