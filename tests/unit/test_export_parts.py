"""Parts of the static export: what filenames tell, the order of releases, helpers, feeds."""

from __future__ import annotations

import io
import os
import select
import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

from caseus.errors import Invalid, Unavailable
from caseus.export import Options, PackageList, export, workers
from caseus.export.entries import Entry, decode_json
from caseus.export.filenames import guess
from caseus.export.moments import moment
from caseus.export.releases import Release, by_version, latest, natural, ordered
from caseus.export.scan import shares
from caseus.export.spool import Spool
from support.exported import write_list

NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._]{0,8}[A-Za-z0-9])?", fullmatch=True)
IN_WHEELS = NAMES.filter(lambda name: "__" not in name)
"""packaging refuses the others there."""
VERSIONS = st.from_regex(r"[0-9]{1,2}(\.[0-9]{1,2}){1,3}((a|b|rc)[0-9])?(\.post[0-9])?(\.dev[0-9])?", fullmatch=True)
PLAIN = st.from_regex(r"[0-2](\.[0-2]){0,3}", fullmatch=True)


# Filenames


@given(
    IN_WHEELS, VERSIONS, st.sampled_from(["py3-none-any", "1a-cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64"])
)
def test_wheels_are_read_as_packaging_reads_them(name: str, version: str, rest: str) -> None:
    filename = f"{name}-{version}-{rest}.whl"
    project, told = guess(filename)
    expected, parsed, *_ = parse_wheel_filename(filename)
    assert (project, Version(told or "")) == (expected, parsed)


@given(NAMES, VERSIONS, st.sampled_from([".tar.gz", ".zip"]))
def test_sdists_are_read_as_packaging_reads_them(name: str, version: str, ending: str) -> None:
    project, told = guess(f"{name}-{version}{ending}")
    expected, parsed = parse_sdist_filename(f"{name}-{version}{ending}")
    assert (project, Version(told or "")) == (expected, parsed)


@given(st.text(alphabet="abZ019._-+!~", min_size=1, max_size=40))
def test_any_name_is_a_project_or_invalid(filename: str) -> None:
    try:
        project, version = guess(filename)
    except Invalid:
        return
    assert project.strip("-") and project == project.lower() and not {"_", "."} & set(project)
    assert version != ""


@pytest.mark.parametrize(
    ("filename", "project", "version"),
    [
        ("Foo.Bar-1.0.tgz", "foo-bar", "1.0"),
        ("foo_bar-1.0.tar.zst", "foo-bar", "1.0"),
        ("foo-1.0.tar.Z", "foo", "1.0"),
        ("foo-1.0.win32-py3.1.exe", "foo", "1.0.win32-py3.1"),
        ("foo-bar-2.tar.gz", "foo-bar", "2"),
        ("foo-bar-baz.tar.gz", "foo-bar-baz", None),
        ("foo-1.0-1.src.rpm", "foo", "1.0-1.src"),
        ("foo-1.0+local-py3-none-any.whl", "foo", "1.0+local"),
        ("foo-1.0-cp39.cp310-abi3.cp39-any.whl", "foo", "1.0"),
    ],
)
def test_what_a_name_tells(filename: str, project: str, version: str | None) -> None:
    assert guess(filename) == (project, version)


@pytest.mark.parametrize("filename", ["foo-.zip", "-1.0.zip", "foo", "foo-1.0-none-any.whl", "foo-x-py3-none-any.whl"])
def test_what_tells_no_project(filename: str) -> None:
    with pytest.raises(Invalid):
        guess(filename)


# Releases


def releases(*filenames: str, yanked: str = "") -> list[Release]:
    found = []
    for filename in filenames:
        _, version = guess(filename)
        found.append(Release(version, Entry(filename=filename), filename, yanked=filename in yanked.split()))
    return ordered(found)


@given(st.lists(PLAIN, min_size=2, max_size=5, unique=True), st.sampled_from(["", "rc1", ".post1"]))
def test_versions_that_are_numbers_are_ordered_as_packaging_orders_them(versions: list[str], ending: str) -> None:
    versions[0] += ending  # with one that has more than numbers, all are compared by packaging
    found = ordered(Release(version, Entry(filename=f"acme-{version}.zip"), "") for version in versions)
    told = [(Version(release.version or ""), natural(release.entry.filename)) for release in found]
    assert told == sorted(told)
    finals = [version for version, _ in told if not version.is_prerelease]
    assert Version(latest(by_version(found)) or "") == finals[-1]


def test_order() -> None:
    """By version, wheels first, numbers as numbers; what is no version comes first."""
    names = [
        "foo-old.zip", "foo.zip", "foo-1.0-py3-none-any.whl", "foo-1.0-py9-none-any.whl", "foo-1.0-py10-none-any.whl",
        "foo-1.0.zip", "foo-1.10.zip",
    ]  # fmt: skip
    assert [release.entry.filename for release in releases(*reversed(names))] == names


@pytest.mark.parametrize(
    ("filenames", "yanked", "expected"),
    [
        ("foo-1.0.zip foo-2.0rc1.zip", "", "1.0"),
        ("foo-1.0.zip foo-2.0.zip", "foo-2.0.zip", "1.0"),
        ("foo-2.0.zip foo-2.0.tgz foo-1.0.zip", "foo-2.0.zip", "2.0"),  # not all of its files are yanked
        ("foo-1.0rc1.zip foo-old.zip", "", "1.0rc1"),
        ("foo-old.zip", "", "old"),
        ("foo-1.0.zip", "foo-1.0.zip", "1.0"),
        ("foo.zip", "", None),
        ("foo-1.0.post1.zip foo-1.0.zip foo-1.1.dev1.zip", "", "1.0.post1"),
    ],
)
def test_latest(filenames: str, yanked: str, expected: str | None) -> None:
    assert latest(by_version(releases(*filenames.split(), yanked=yanked))) == expected


@given(st.integers(-(10**10), 10**11))
def test_moments(seconds: int) -> None:
    assert moment(seconds) == str(datetime.fromtimestamp(seconds, UTC))[:19]


# Lists in pieces


@given(st.lists(st.text(alphabet="ab\n", max_size=12)), st.integers(1, 30))
def test_pieces_end_where_lines_end(parts: list[str], size: int) -> None:
    data = "\n".join(parts).encode()
    spool = Spool(io.BytesIO(data))
    pieces = spool.pieces(size)
    assert b"".join(spool.read(*piece) for piece in pieces) == data
    assert all(spool.read(stop - 1, stop) == b"\n" for _, stop in pieces[:-1])


@pytest.mark.parametrize("data", [b"", b"foo-1.0.zip\nbar-1.0.zip\n", b"bar-1.0.zip\n"])
def test_a_list_that_changes_while_it_is_read_is_no_list(tmp_path: Path, data: bytes) -> None:
    path = write_list(tmp_path / "list", ["foo-1.0.zip"])

    class Changed(PackageList):
        def path(self, project: str, entry: Entry) -> None:
            path.write_bytes(data)
            os.utime(path, ns=(0, 0))

    options = Options(files=True)
    with pytest.raises(Unavailable, match="changed while it was read"):
        export(Changed(path, plain=True), tmp_path / "tree", options)
    assert os.listdir(tmp_path / "tree") == []
    export(PackageList(path, plain=True), tmp_path / "tree", Options(packages_url="x"))
    assert (tmp_path / "tree/packages.json").read_text().count("\n") == data.count(b"\n")


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 20))
def test_shares_are_everything_once(counts: list[int], parts: int) -> None:
    found = shares(counts, parts)
    assert [number for start, stop in found for number in range(start, stop)] == list(range(len(counts)))
    assert len(found) <= parts


def test_a_line_is_read_as_it_is_written() -> None:
    entry = decode_json(b'{"filename": "a-1.zip", "upload_timestamp": 1.5, "requires_dist": null}')
    assert (entry.filename, entry.uploaded, entry.requires_dist) == ("a-1.zip", 1.5, None)


# Helpers


def fails(number: int) -> int:
    if number == 7:
        raise Invalid("seven")
    return number


def test_helpers_give_what_one_would() -> None:
    assert workers.run(4, range(100), lambda number: number * 2) == [number * 2 for number in range(100)]
    assert workers.run(4, [], fails) == []
    with workers.settled():
        workers.run(4, range(100), str)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_an_error_of_a_helper_is_the_callers() -> None:
    here = os.getpid()

    def work(number: int) -> int:
        if os.getpid() != here and number > 3:
            raise Invalid("in a helper")
        threading.Event().wait(0.001)
        return number

    with pytest.raises(Invalid, match="in a helper"):
        workers.run(3, range(500), work)
    with pytest.raises(Invalid, match="seven"):
        workers.run(1, range(10), fails)


def test_an_error_of_a_helper_keeps_what_it_carries() -> None:
    here = os.getpid()

    def work(number: int) -> int:
        if os.getpid() != here:
            raise Unavailable("no space left", kind="full", retry_after=3)
        threading.Event().wait(0.005)
        return number

    with pytest.raises(Unavailable, match="no space left") as told:
        workers.run(2, range(100), work)
    assert (told.value.kind, told.value.retry_after) == ("full", 3)


def test_helpers_are_numbered() -> None:
    found = workers.run(3, range(60), lambda _: (threading.Event().wait(0.002), workers.number())[1])
    assert set(found) == {0, 1, 2} and workers.number() == 0


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_is_done_meanwhile_is_done_here_once(jobs: int) -> None:
    done: list[int] = []
    found = workers.run(jobs, range(50), str, lambda: done.append(os.getpid()))
    assert (found, done) == ([str(number) for number in range(50)], [os.getpid()])


def test_helpers_work_meanwhile() -> None:
    receiver, sender = os.pipe()
    waited: list[object] = []

    def work(number: int) -> int:
        os.write(sender, b"x")
        return workers.number()

    try:
        found = workers.run(2, range(50), work, lambda: waited.append(select.select([receiver], [], [], 30)[0]))
    finally:
        os.close(receiver)
        os.close(sender)
    assert waited == [[receiver]] and 1 in found


def test_a_helper_that_is_killed_is_told() -> None:
    here = os.getpid()

    def work(number: int) -> int:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        threading.Event().wait(0.005)
        return number

    with pytest.raises(Unavailable, match="a helper process was killed"):
        workers.run(2, range(100), work)


def test_no_helpers_where_threads_run() -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    try:
        assert workers.most_jobs() == 1
    finally:
        gate.set()
        thread.join()


# Feeds


@pytest.fixture
def feeds(tmp_path: Path) -> Callable[[str], ElementTree.Element]:
    lines = [
        {"filename": f"foo-{number}.0{ending}", "upload_timestamp": 1_600_000_000 + number}
        for number in range(50)
        for ending in (".tar.gz", "-py3-none-any.whl")
    ]
    lines.append({"filename": "bar-1.0.zip", "upload_timestamp": 1_700_000_000})
    lines.append({"filename": "old-1.0.zip"})
    options = Options(packages_url="x", rss=True, base_url="https://pkgs.example.com/python/", title="Our <own>")
    export(PackageList(write_list(tmp_path / "list", lines)), tmp_path / "tree", options)
    return lambda path: ElementTree.fromstring((tmp_path / "tree/rss" / path).read_bytes())


def titles(feed: ElementTree.Element) -> list[str | None]:
    return [item.findtext("title") for item in feed.iter("item")]


def test_feed_of_updates(feeds: Callable[[str], ElementTree.Element]) -> None:
    feed = feeds("updates.xml")
    assert titles(feed) == ["bar 1.0", *(f"foo {number}.0" for number in range(49, 10, -1))]
    item = next(feed.iter("item"))
    assert item.findtext("link") == "https://pkgs.example.com/python/simple/bar/"
    assert item.findtext("pubDate") == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert feed.findtext("channel/title") == "Our <own>: latest updates"
    assert len({guid.text for guid in feed.iter("guid")}) == 40


def test_feed_of_new_projects(feeds: Callable[[str], ElementTree.Element]) -> None:
    assert titles(feeds("packages.xml")) == ["bar added", "foo added"]


def test_feed_of_a_project(feeds: Callable[[str], ElementTree.Element]) -> None:
    assert titles(feeds("project/foo/releases.xml"))[:2] == ["foo 49.0", "foo 48.0"]
    assert titles(feeds("project/old/releases.xml")) == ["old 1.0"]
