"""The same lists by the real dumb-pypi 1.15 and by caseus, compared page by page.

What differs on purpose stands under "Differences", each with what both make of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from caseus.export.filenames import guess
from support.exported import (
    Exported,
    Line,
    dumb_pypi,
    export,
    hrefs,
    lines_of,
    links,
    many_lines,
    parse,
    requirement,
    rows,
    text_of,
)

VECTORS: Sequence[tuple[str, str, str | None]] = [
    ("dumb_init-1.2.0-py2.py3-none-manylinux1_x86_64.whl", "dumb-init", "1.2.0"),
    ("ocflib-2016.12.10.1.48-py2.py3-none-any.whl", "ocflib", "2016.12.10.1.48"),
    ("aspy.yaml-0.2.2-py2.py3-none-any.whl", "aspy-yaml", "0.2.2"),
    ("numpy-1.11.1rc1-cp27-cp27m-macosx_10_6_intel.macosx_10_9_intel.macosx_10_10_x86_64.whl", "numpy", "1.11.1rc1"),
    ("aspy.yaml.zip", "aspy-yaml", None),
    ("aspy.yaml-0.2.1.tar.gz", "aspy-yaml", "0.2.1"),
    ("numpy-1.11.0rc1.tar.gz", "numpy", "1.11.0rc1"),
    ("pandas-0.2beta.tar.gz", "pandas", "0.2beta"),
    ("scikit-learn-0.15.1.tar.gz", "scikit-learn", "0.15.1"),
    ("ocflib-2015.11.23.20.2.tar.gz", "ocflib", "2015.11.23.20.2"),
    ("package-123-1.3.7+build.11.e0f985a.zip", "package-123", "1.3.7+build.11.e0f985a"),
    ("flup-123-1.0.3.dev-20110405.tar.gz", "flup-123", "1.0.3.dev-20110405"),
    ("foo-1.0.tar.bz2", "foo", "1.0"),
    ("foo-1.1.tar", "foo", "1.1"),
    ("foo-1.2.egg", "foo", "1.2"),
]
"""dumb-pypi's own, of which both tell the same: filename, project, version."""

REFUSED = ["lol", "lol-sup", "-20160920.193125.zip", "playlyfe-0.1.1-2.7.6-none-any.whl", "/blah-2.tar.gz", "a b.zip"]
"""Both refuse these."""


def both(folder: Path, lines: Sequence[Line | str], *flags: str) -> tuple[Exported, Exported]:
    theirs, ours = dumb_pypi(folder, lines, *flags), export(folder, lines, *flags)
    assert (theirs.code, ours.code) == (0, 0), ours.err
    return theirs, ours


def plus(value: str) -> str:
    """Difference: a + in a link is encoded (see below)."""
    path, sign, fragment = value.partition("#")
    return path.replace("+", "%2B") + sign + fragment


def files(page: bytes) -> list[tuple[dict[str, str | None], str, str]]:
    """What a page of a project says of each file, without what only caseus says."""
    found = []
    for link in links(page, "li a"):
        attributes = {key: value for key, value in link.attributes.items() if key != "data-dist-info-metadata"}
        attributes["href"] = plus(attributes["href"] or "")
        found.append((attributes, link.text, link.after))
    return found


def api(page: bytes) -> Any:
    """The JSON, with links encoded, as text: so that the order of keys counts too."""

    def encoded(value: dict[str, Any]) -> dict[str, Any]:
        return value | ({"url": plus(value["url"])} if "url" in value else {})

    return json.dumps(json.loads(page, object_hook=encoded))


def assert_same(theirs: Mapping[str, bytes], ours: Mapping[str, bytes]) -> None:
    """Every page of two trees."""
    assert set(theirs) == set(ours)
    for path, page in theirs.items():
        if path == "packages.json":
            assert_same_packages(page, ours[path])
        elif path.endswith("json"):
            assert api(page) == api(ours[path]), path
        elif path == "index.html":
            assert_same_home(page, ours[path])
        elif path.startswith("changelog/"):
            assert_same_changelog(page, ours[path])
        elif path == "simple/index.html":
            assert [(link.attributes, link.text) for link in links(page)] == [
                (link.attributes, link.text) for link in links(ours[path])
            ]
        else:
            assert files(page) == files(ours[path]), path
            assert requirement(page) == requirement(ours[path]), path
            assert text_of(parse(page).css_first("h1")) == text_of(parse(ours[path]).css_first("h1"))


def assert_same_packages(theirs: bytes, ours: bytes) -> None:
    """Lines with all keys in their order, by project as the page at the top has them.

    dumb-pypi takes the projects as they first come in the list, which tells nothing.
    """
    told = sorted(lines_of(theirs), key=lambda line: guess(line["filename"])[0])
    assert [list(line.items()) for line in told] == [list(line.items()) for line in lines_of(ours)]


def assert_same_home(theirs: bytes, ours: bytes) -> None:
    def told(page: bytes) -> list[tuple[Any, ...]]:
        found = links(page, "a.package")
        return [(link.attributes["href"], link.attributes["data-name"], link.attributes["class"]) for link in found]

    assert told(theirs) == told(ours)
    texts = [link.text.replace("(latest version: None)", "").strip() for link in links(theirs, "a.package")]
    assert texts == [link.text for link in links(ours, "a.package")]
    for page in (theirs, ours):
        search = parse(page).css_first("input#search")
        assert search is not None
        assert (search.attributes["placeholder"], "autofocus" in search.attributes) == ("Filter", True)
        assert text_of(parse(page).css_first("title")) == text_of(parse(theirs).css_first("title"))


def assert_same_changelog(theirs: bytes, ours: bytes) -> None:
    unknown = [(plus(href), name, time, "" if by == "None" else by) for href, name, time, by in rows(theirs)]
    assert unknown == rows(ours)
    pages = [
        [(link.attributes.get("href"), link.text) for link in links(page, ".pagination a")] for page in (theirs, ours)
    ]
    assert pages[0] == pages[1]
    assert [text_of(node) for node in parse(theirs).css(".pagination")] == [
        text_of(node) for node in parse(ours).css(".pagination")
    ]


# The same


def test_many_files(tmp_path: Path) -> None:
    """All projects' newest releases are final and not yanked here: what is else, is below."""
    lines = [line for line in many_lines(600) if "rc" not in line["filename"] and "dev" not in line["filename"]]
    assert len(lines) > 300
    theirs, ours = both(tmp_path, lines)
    assert_same(theirs.tree, ours.tree)


def test_yanked_files(tmp_path: Path) -> None:
    lines = many_lines(200, seed=2)
    highest = [{"filename": f"{line['filename'].split('-')[0].lower()}-99.0.tar.gz"} for line in lines]
    for number, line in enumerate(lines):
        if number % 3 == 0:
            line["yanked_reason"] = "it's <broken>"
    unique = {line["filename"]: line for line in [*lines, *highest]}
    theirs, ours = both(tmp_path, list(unique.values()))
    assert b"data-yanked" in b"".join(ours.tree.values())
    assert_same(theirs.tree, ours.tree)


def test_known_filenames(tmp_path: Path) -> None:
    theirs, ours = both(tmp_path, [filename for filename, _, _ in VECTORS])
    assert_same(theirs.tree, ours.tree)
    for filename, project, version in VECTORS:
        told = json.loads(ours.tree[f"pypi/{project}/json"])
        there = [name for name, listed in told["releases"].items() for file in listed if file["filename"] == filename]
        assert there == ([version] if version is not None else [])


def test_core_metadata(tmp_path: Path) -> None:
    lines = [
        {"filename": "foo-1.0-py3-none-any.whl", "core_metadata": "true"},
        {"filename": "foo-2.0-py3-none-any.whl", "core_metadata": f"sha256={'ab' * 32}"},
        {"filename": "foo-2.0.tar.gz", "core_metadata": ""},
    ]
    theirs, ours = both(tmp_path, lines)
    assert_same(theirs.tree, ours.tree)


@pytest.mark.parametrize(
    "flags",
    [
        ["--no-per-release-json"],
        ["--title", "Our <own> index", "--logo", "https://pkgs.example.com/logo.png", "--logo-width", "40"],
        ["--no-generate-timestamp"],
    ],
    ids=lambda flags: flags[0],
)
def test_flags(tmp_path: Path, flags: list[str]) -> None:
    theirs, ours = both(tmp_path, many_lines(40, seed=3)[:20], *flags)
    lists = ("simple/index.html", "index.html", "packages.json")
    assert set(theirs.tree) == set(ours.tree)
    for tree in (theirs.tree, ours.tree):
        assert (b"Generated on" in tree["simple/index.html"]) == ("--no-generate-timestamp" not in flags)
        if "--logo" in flags:
            assert b"https://pkgs.example.com/logo.png" in tree["index.html"] and b"40px" in tree["index.html"]
            assert text_of(parse(tree["index.html"]).css_first("h1")) == "Our <own> index"
    assert all(path in ours.tree for path in lists)


def test_absolute_packages_url(tmp_path: Path) -> None:
    url = "https://files.example.com/pool"
    theirs = dumb_pypi(tmp_path, ["foo-1.0.tar.gz"], "--packages-url", url)
    ours = export(tmp_path, ["foo-1.0.tar.gz"], url=url)
    assert hrefs(ours.tree["simple/foo/index.html"]) == [f"{url}/foo-1.0.tar.gz"]
    assert_same(theirs.tree, ours.tree)


def test_pages_of_the_changelog(tmp_path: Path) -> None:
    lines = [
        {"filename": f"foo-{number}.0.tar.gz", "upload_timestamp": 1_600_000_000 + number % 97}
        for number in range(10_001)
    ]
    theirs, ours = both(tmp_path, lines, "--no-per-release-json")
    assert [path for path in ours.tree if path.startswith("changelog/")] == [
        f"changelog/page{number}.html" for number in (1, 2, 3)
    ]
    assert_same(theirs.tree, ours.tree)


def test_each_reads_the_others_packages_json(tmp_path: Path) -> None:
    lines = many_lines(100, seed=4)
    theirs, ours = both(tmp_path, lines)
    (tmp_path / "again").mkdir()
    crossed = export(tmp_path / "again", lines_of(theirs.tree["packages.json"]))
    assert crossed.tree["packages.json"] == ours.tree["packages.json"]
    back = dumb_pypi(tmp_path / "again", lines_of(ours.tree["packages.json"]))
    assert_same_packages(theirs.tree["packages.json"], crossed.tree["packages.json"])
    assert_same_packages(back.tree["packages.json"], ours.tree["packages.json"])


def test_what_both_refuse(tmp_path: Path) -> None:
    lines = [*REFUSED, "foo-1.0.tar.gz"]
    theirs = dumb_pypi(tmp_path, [line for line in lines if line.count(".")])
    ours = export(tmp_path, lines, "--skip-invalid")
    assert theirs.code == ours.code == 0
    assert "foo" in theirs.tree["simple/index.html"].decode()
    assert hrefs(ours.tree["simple/index.html"]) == ["foo/index.html"]
    assert [f"line {number}:" in ours.err for number in range(1, 8)] == [True] * 6 + [False]


# Differences


def only(folder: Path, *lines: Line | str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    theirs, ours = both(folder, lines)
    return theirs.tree, ours.tree


@pytest.mark.parametrize(
    ("filename", "theirs", "ours"),
    [
        ("foo-1.0.tgz", "1", "1.0"),
        ("foo-1.0.tbz2", "1", "1.0"),
        ("foo-1.0.tar.xz", None, "1.0"),
        ("foo-1.0.tar.Z", None, "1.0"),
    ],
)
def test_endings_that_dumb_pypi_cuts_wrongly(tmp_path: Path, filename: str, theirs: str | None, ours: str) -> None:
    """It cuts two parts of any ending, and a version that is none by PEP 440 then costs the file its place."""
    told = [json.loads(tree.get("pypi/foo/json", b'{"releases": {}}')) for tree in only(tmp_path, filename)]
    assert [list(each["releases"]) for each in told] == [[theirs] if theirs else [], [ours]]


@pytest.mark.parametrize(
    ("filename", "project", "version"),
    [
        ("mesos.cli-0.1.3-py2.7.egg", "mesos-cli", "0.1.3-py2.7"),
        ("somepackage-1.2.3.4.post5.post2-py3-none-any.whl", "somepackage", "1.2.3.4.post5.post2"),
        ("foo-bar.zip", "foo", "bar"),
        ("dumb-init-0.1.0.linux-x86_64.tar.gz", "dumb-init", "0.1.0.linux-x86_64"),
    ],
)
def test_versions_that_are_none_by_pep_440_are_kept(tmp_path: Path, filename: str, project: str, version: str) -> None:
    """With a `packaging` of today, dumb-pypi leaves these files out."""
    theirs, ours = only(tmp_path, filename)
    assert f"simple/{project}/index.html" not in theirs
    assert list(json.loads(ours[f"pypi/{project}/json"])["releases"]) == [version]
    assert f"pypi/{project}/{version}/json" in ours


@pytest.mark.parametrize(
    ("filename", "theirs", "ours"),
    [
        ("ocflib-3-4.tar.gz", "ocflib-3-4", "ocflib-3"),
        ("systemd-python-234.tar.gz", "systemd-python-234", "systemd-python"),
    ],
)
def test_versions_without_a_dot(tmp_path: Path, filename: str, theirs: str, ours: str) -> None:
    """As dumb-pypi's own next version does: else pip looks for the file under a name that has no page."""
    trees = only(tmp_path, filename)
    assert [hrefs(tree["simple/index.html"]) for tree in trees] == [[f"{theirs}/index.html"], [f"{ours}/index.html"]]


@pytest.mark.parametrize(
    ("lines", "theirs", "ours"),
    [
        ([{"filename": "foo-1.0.zip"}, {"filename": "foo-2.0rc1.zip"}], "2.0rc1", "1.0"),
        ([{"filename": "foo-1.0.zip"}, {"filename": "foo-2.0.zip", "yanked_reason": "bad"}], "2.0", "1.0"),
        ([{"filename": "foo-1.0a1.zip"}, {"filename": "foo-1.0a2.zip"}], "1.0a2", "1.0a2"),
        ([{"filename": "foo-1.0.zip", "yanked_reason": "bad"}, {"filename": "foo-0.9a1.zip"}], "1.0", "0.9a1"),
    ],
)
def test_the_latest_release_is_final_and_not_yanked(tmp_path: Path, lines: list[Line], theirs: str, ours: str) -> None:
    """dumb-pypi takes the highest version, prereleases and yanked ones too; pip would install the other."""
    for tree, version in zip(only(tmp_path, *lines), (theirs, ours), strict=True):
        told = json.loads(tree["pypi/foo/json"])
        assert told["info"]["version"] == version
        assert [file["filename"] for file in told["urls"]] == [f"foo-{version}.zip"]
        assert requirement(tree["simple/foo/index.html"]) == f"foo=={version}"
        assert f"(latest version: {version})" in tree["index.html"].decode()


def test_a_plus_in_a_link_is_encoded(tmp_path: Path) -> None:
    """S3 and others read a bare one as a space, and then have no such file."""
    theirs, ours = only(tmp_path, "foo-1.0+local.tar.gz")
    assert [hrefs(tree["simple/foo/index.html"]) for tree in (theirs, ours)] == [
        ["../../pool/foo-1.0+local.tar.gz"],
        ["../../pool/foo-1.0%2Blocal.tar.gz"],
    ]


def test_metadata_under_its_old_name_too(tmp_path: Path) -> None:
    """pip 22.2 to 23.2 look for that only (PEP 714)."""
    line = {"filename": "foo-1.0-py3-none-any.whl", "core_metadata": f"sha256={'ab' * 32}"}
    theirs, ours = (links(tree["simple/foo/index.html"])[0].attributes for tree in only(tmp_path, line))
    assert ours == theirs | {"data-dist-info-metadata": f"sha256={'ab' * 32}"}


def test_the_page_at_the_top(tmp_path: Path) -> None:
    """It leads to the changelog, and says nothing of a version where there is none."""
    theirs, ours = only(tmp_path, "aspy.yaml.zip")
    assert "latest version: None" in theirs["index.html"].decode()
    assert "latest version" not in ours["index.html"].decode()
    assert "changelog/page1.html" in hrefs(ours["index.html"])
    assert "changelog/page1.html" not in hrefs(theirs["index.html"])


def test_an_unknown_uploader_has_no_name(tmp_path: Path) -> None:
    theirs, ours = only(tmp_path, "foo-1.0.zip")
    assert [rows(tree["changelog/page1.html"])[0][3] for tree in (theirs, ours)] == ["None", ""]


def test_an_empty_list_has_a_changelog(tmp_path: Path) -> None:
    theirs, ours = only(tmp_path)
    assert set(ours) - set(theirs) == {"changelog/page1.html"}


def test_a_file_that_is_told_twice_is_listed_once(tmp_path: Path) -> None:
    """The later line holds, so a list can be appended to."""
    lines = [{"filename": "foo-1.0.zip", "uploaded_by": by} for by in ("ann", "bob")]
    theirs, ours = only(tmp_path, *lines)
    assert sorted(row[3] for row in rows(theirs["changelog/page1.html"])) == ["ann", "bob"]
    assert [row[3] for row in rows(ours["changelog/page1.html"])] == ["bob"]


def test_bad_lines_are_counted_and_nothing_is_written(tmp_path: Path) -> None:
    """dumb-pypi leaves them out and ends well, or dies of them with a traceback."""
    lines: list[Line] = [{"filename": "foo-1.0.zip"}, {"filename": "bad"}, {"filename": "a-1.zip", "hash": "0123"}]
    assert dumb_pypi(tmp_path, lines).code == 1
    ours = export(tmp_path, lines)
    assert (ours.code, ours.tree) == (1, {})
    assert "line 2: 'bad' has no ending" in ours.err and "line 3: hash '0123' is not algorithm=hex" in ours.err
    assert "caseus: error: 2 of the list's lines can't be used, so nothing was written" in ours.err
    skipped = export(tmp_path, lines, "--skip-invalid")
    assert skipped.code == 0 and hrefs(skipped.tree["simple/index.html"]) == ["foo/index.html"]
    assert "2 bad lines left out" in skipped.out
