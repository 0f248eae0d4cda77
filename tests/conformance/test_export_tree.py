"""An exported tree over time: what is written, kept and deleted, in which order, and by whom."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit

import pytest
import zstandard

from caseus.errors import Busy, Invalid, NotFound
from caseus.export import Options, PackageList, Report, changelog, export
from caseus.storage.memory import MemoryStorage
from support.exported import (
    STATE,
    dumb_pypi,
    export_by,
    hrefs,
    lines_of,
    links,
    many_lines,
    read_tree,
    times,
    write_list,
)
from support.exported import export as export_command
from support.server import COMMAND, clean_environment

Lines = list[dict[str, Any]]
URL = "../../pool/"
NOON = 1_700_000_000.0


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Report]:
    """Exports lines into tmp_path/tree, in this process."""

    def call(lines: Lines, *, clock: float = NOON, previous: Lines | None = None, **options: Any) -> Report:
        ways = {key: options.pop(key) for key in ("atomic", "jobs", "skip_invalid") if key in options}
        told = Options(**{"packages_url": URL, **options})
        before = PackageList(write_list(tmp_path / "previous", previous)) if previous is not None else None
        source = PackageList(write_list(tmp_path / "list", lines))
        return export(source, tmp_path / "tree", told, previous=before, clock=lambda: clock, **ways)

    return call


def until_done(act: Callable[[], Report]) -> Report:
    """Again while another export has the folder: helpers of one that was killed end a moment later."""
    for _ in range(1000):
        try:
            return act()
        except Busy:
            threading.Event().wait(0.02)
    raise AssertionError("somebody still has the folder")


def changes(tree: Path, before: dict[str, int]) -> int:
    """How many files are new or newer, while somebody writes and deletes."""
    try:
        return len(times(tree).items() - before.items())
    except FileNotFoundError:
        return changes(tree, before)


def without(lines: Lines, start: str) -> Lines:
    return [line for line in lines if not line["filename"].startswith(start)]


# What is kept


def test_nothing_is_written_when_nothing_changed(run: Callable[..., Report], tmp_path: Path) -> None:
    lines = many_lines(200)
    assert run(lines).written == len(times(tmp_path / "tree")) - 1
    before = times(tmp_path / "tree")
    assert run(lines, clock=NOON + 3600)[2:5] == (0, 0, 0)
    random.Random(0).shuffle(lines)
    assert run(lines, clock=NOON + 7200)[2:5] == (0, 0, 0)
    assert times(tmp_path / "tree") == before


def test_only_what_changed_is_written(run: Callable[..., Report], tmp_path: Path) -> None:
    lines: Lines = [{"filename": f"{name}-{number}.0.zip"} for name in ("bar", "foo") for number in (1, 2)]
    run(lines)
    before = times(tmp_path / "tree")
    lines[2]["yanked_reason"] = "broken"
    report = run(lines, clock=NOON + 3600)
    after = times(tmp_path / "tree")
    changed = {path for path in after if after[path] != before.get(path)} - {STATE}
    assert changed == {"simple/foo/index.html", "pypi/foo/json", "pypi/foo/1.0/json", "packages.json"}
    assert (report.written, report.deleted) == (4, 0)
    assert b"2023-11-14 23:13:20" in (tmp_path / "tree/simple/foo/index.html").read_bytes()
    assert b"2023-11-14 22:13:20" in (tmp_path / "tree/simple/bar/index.html").read_bytes()


def test_the_tree_is_that_of_a_first_run(run: Callable[..., Report], tmp_path: Path) -> None:
    """Whatever changed: files, facts, projects, versions, timestamps that tie."""
    chance = random.Random(5)
    pool = many_lines(300, seed=6)
    for number in range(8):
        lines = [dict(line) for line in chance.sample(pool, 200)]
        for line in chance.sample(lines, 20):
            line["upload_timestamp"] = 1_600_000_000
        run(lines, timestamp=False)
        tree = read_tree(tmp_path / "tree")
        fresh = tmp_path / f"fresh-{number}"
        export(PackageList(tmp_path / "list"), fresh, Options(packages_url=URL, timestamp=False))
        assert read_tree(fresh) == tree


def test_pages_of_the_changelog_that_did_not_change_are_left(
    run: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Little changes: one file's facts, one file more, one less, two that change places, the title."""
    monkeypatch.setattr(changelog, "PAGE_ENTRIES", 10)
    chance = random.Random(7)
    lines = many_lines(105, seed=8)
    extra = many_lines(140, seed=8)[105:]
    options: dict[str, Any] = {"timestamp": False, "compress": ("gz",)}
    counts = []
    for number in range(12):
        before = [dict(line) for line in lines]
        line = chance.choice(lines)
        match number % 4:
            case 0:
                line["uploaded_by"] = f"somebody {number}"
            case 1:
                lines.append(extra.pop())
            case 2:
                lines.remove(line)
            case 3:
                line["upload_timestamp"] = chance.randrange(10**9, 2 * 10**9)
        title = "My Private PyPI" if number < 10 else "Another title"
        report = run(lines, previous=before if number else None, title=title, **options)
        counts.append(report.written)
        fresh = tmp_path / f"fresh-{number}"
        export(PackageList(tmp_path / "list"), fresh, Options(packages_url=URL, title=title, **options))
        assert read_tree(fresh) == read_tree(tmp_path / "tree")
    assert counts[4] <= 2 * 5 + 1  # one page of the changelog, three of the project, and the lists


def test_one_process_writes_what_many_write(run: Callable[..., Report], tmp_path: Path) -> None:
    lines = many_lines(2500)
    run(lines, jobs=1)
    one = read_tree(tmp_path / "tree")
    shutil.rmtree(tmp_path / "tree")
    run(lines, jobs=5)
    assert read_tree(tmp_path / "tree") == one


def test_many_processes_change_a_tree_as_one_does(run: Callable[..., Report], tmp_path: Path) -> None:
    """Each copies what it needs of the list that was there."""
    lines: Lines = [{"filename": f"foo{number % 700}-{number}.0.zip", "size": number} for number in range(4000)]
    run(lines, jobs=4, release_json=False)
    for number in range(0, 4000, 333):
        lines[number]["yanked_reason"] = "broken"
    report = run(lines, jobs=4, release_json=False, clock=NOON + 60)
    assert report.written == 2 * 13 + 2
    tree = read_tree(tmp_path / "tree")
    shutil.rmtree(tmp_path / "tree")
    run(lines, jobs=1, release_json=False, clock=NOON + 60)
    assert read_tree(tmp_path / "tree")["packages.json"] == tree["packages.json"]


def test_a_lost_state_rewrites_nothing(run: Callable[..., Report], tmp_path: Path) -> None:
    lines = many_lines(100)
    run(lines)
    before = times(tmp_path / "tree")
    (tmp_path / "tree" / STATE).unlink()
    report = run(lines, clock=NOON + 3600)
    assert (report.written, report.kept) == (0, len(before) - 1)
    assert {path: time for path, time in times(tmp_path / "tree").items() if path != STATE} == {
        path: time for path, time in before.items() if path != STATE
    }


def test_a_state_that_is_damaged_or_of_another_version_is_none(run: Callable[..., Report], tmp_path: Path) -> None:
    lines = many_lines(50)
    run(lines)
    for data in (b"", b"\xff\x00", b"\x81\xa6format\x07"):
        (tmp_path / "tree" / STATE).write_bytes(data)
        report = run(lines)
        assert report.written == 0 and report.kept


def test_other_options_write_what_depends_on_them(run: Callable[..., Report], tmp_path: Path) -> None:
    lines = many_lines(50)
    run(lines)
    before = times(tmp_path / "tree")
    run(lines, title="Another")
    after = times(tmp_path / "tree")
    changed = {path for path in after if after[path] != before[path]} - {STATE}
    assert changed == {"index.html", "changelog/page1.html"}
    assert run(lines, title="Another", packages_url="https://pkgs.example.com/pool").written > 50


# What is deleted


def test_removed_projects_and_versions_are_deleted(run: Callable[..., Report], tmp_path: Path) -> None:
    lines: Lines = [{"filename": f"{name}-{number}.0.zip"} for name in ("bar", "foo") for number in (1, 2)]
    run(lines, rss=True, base_url="https://pkgs.example.com/", simple_json=True)
    report = run(lines[2:3], rss=True, base_url="https://pkgs.example.com/", simple_json=True)
    tree = read_tree(tmp_path / "tree")
    assert not [path for path in tree if "bar" in path or "2.0" in path]
    assert report.deleted == 7
    assert sorted(path.name for path in (tmp_path / "tree" / "simple").iterdir()) == ["foo", "index.html", "index.json"]


def test_surplus_pages_of_the_changelog_are_deleted(run: Callable[..., Report], tmp_path: Path) -> None:
    lines: Lines = [{"filename": f"foo-{number}.zip"} for number in range(10_001)]
    run(lines, release_json=False)
    assert len(list((tmp_path / "tree/changelog").iterdir())) == 3
    run(lines[:5000], release_json=False)
    assert [path.name for path in (tmp_path / "tree/changelog").iterdir()] == ["page1.html"]


def test_a_list_that_was_empty(run: Callable[..., Report], tmp_path: Path) -> None:
    """The changelog has as many pages before and after it: one."""
    page = tmp_path / "tree/changelog/page1.html"
    for lines, told in (([], False), ([{"filename": "acme_app-1.0.tar.gz"}], True), ([], False)):
        run(lines)
        assert (b"acme_app-1.0.tar.gz" in page.read_bytes()) is told


def test_what_is_turned_off_is_deleted(run: Callable[..., Report], tmp_path: Path) -> None:
    lines = many_lines(20)
    run(lines, simple_json=True, not_found=True, robots=True, compress=("gz", "zst"), changelog=True)
    run(lines, changelog=False, release_json=False)
    plain = read_tree(tmp_path / "tree")
    shutil.rmtree(tmp_path / "tree")
    run(lines, changelog=False, release_json=False)
    assert set(plain) == set(read_tree(tmp_path / "tree"))


def test_nobody_elses_files_are_touched(run: Callable[..., Report], tmp_path: Path) -> None:
    run([{"filename": "foo-1.0.zip"}, {"filename": "bar-1.0.zip"}])
    own = ["simple/bar/bar-1.0.zip", "simple/bar/notes.txt", "pypi/bar/extra/data.txt", "pool/x", "favicon.ico"]
    for path in own:
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_text("mine")
    run([{"filename": "foo-1.0.zip"}])
    tree = read_tree(tmp_path / "tree")
    assert [path for path in tree if "bar" in path] == sorted(path for path in own if "bar" in path)
    assert all(tree[path] == b"mine" for path in own)


def test_a_tree_of_dumb_pypi_is_taken_over(tmp_path: Path) -> None:
    """What its packages.json tells and the list no longer does, is deleted."""
    lines = many_lines(80, seed=7)
    made = dumb_pypi(tmp_path, lines).tree
    (tmp_path / "dumb-pypi").rename(tmp_path / "tree")
    kept = without(lines, "x")
    ours = export_command(tmp_path, kept)
    assert len(kept) < len(lines) and ours.code == 0
    (tmp_path / "fresh").mkdir()
    assert set(ours.tree) == set(export_command(tmp_path / "fresh", kept).tree)
    assert set(made) - set(ours.tree)


# Lists of an earlier run


def test_partial_rebuild_into_another_folder(run: Callable[..., Report], tmp_path: Path) -> None:
    """As with dumb-pypi: pages of changed projects only, and all lists; nothing at all where nothing changed."""
    lines: Lines = [{"filename": f"{name}-1.0.zip"} for name in ("bar", "foo")]
    new = [*lines, {"filename": "foo-2.0.zip"}]
    assert run(lines, previous=lines).written == 0
    assert read_tree(tmp_path / "tree") == {}
    run(new, previous=lines)
    tree = read_tree(tmp_path / "tree")
    assert [path for path in tree if "bar" in path] == []
    assert {"simple/foo/index.html", "pypi/foo/2.0/json", "simple/index.html", "index.html"} <= set(tree)
    assert lines_of(tree["packages.json"]) == new
    # The tree knows what is in it: without the list the rest is written, with it nothing.
    assert run(new, previous=new).written == 0
    assert run(new).written == 3
    shutil.rmtree(tmp_path / "tree")
    whole = run(new)
    assert whole.written == len(read_tree(tmp_path / "tree"))


def test_partial_rebuild_compares_what_lines_mean(run: Callable[..., Report], tmp_path: Path) -> None:
    """Other spacing, keys in another order and nulls are no difference."""
    lines: Lines = [{"filename": "foo-1.0.zip", "uploaded_by": "ann"}]
    same: Lines = [{"requires_python": None, "uploaded_by": "ann", "filename": "foo-1.0.zip"}]
    assert run(same, previous=lines).written == 0


# Bad lines


def test_bad_lines_are_told_by_their_numbers(tmp_path: Path) -> None:
    text = "\n".join(
        [
            '{"filename": "foo-1.0.zip"}',
            "",
            "{",
            '{"filename": "foo-1.1.zip", "yanked_reson": "typo"}',
            '{"filename": "../foo-1.0.zip"}',
            '{"hash": "sha256=00"}',
            '{"filename": "foo-2.0.zip", "upload_timestamp": 1700000000000}',
            '{"filename": "foo-3.0.zip", "core_metadata": "maybe"}',
            '{"filename": 1}',
            '{"filename": "foo-4.0.zip"}',
            '{"filename": "foo-5.0.zip", "url": "java\\nscript:alert(1)"}',
        ]
    )
    (tmp_path / "list").write_bytes(text.encode() + b'\n{"filename": "\xff-1.zip"}')
    with pytest.raises(Invalid) as refused:
        export(PackageList(tmp_path / "list"), tmp_path / "tree", Options(packages_url=URL))
    faults = refused.value.report.faults  # type: ignore[attr-defined]
    assert [fault.line for fault in faults] == [3, 4, 5, 6, 7, 8, 9, 11, 12]
    assert "yanked_reson" in faults[1].reason and "no filename" in faults[3].reason
    assert read_tree(tmp_path / "tree") == {}
    options = Options(packages_url=URL)
    report = export(PackageList(tmp_path / "list"), tmp_path / "tree", options, skip_invalid=True)
    assert (report.files, report.bad) == (2, 9)


def test_bad_lines_of_an_unchanged_list_are_told_in_each_run(run: Callable[..., Report], tmp_path: Path) -> None:
    names = [*(f"foo-{number}.0.zip" for number in range(40)), "../foo-1.0.zip"]  # enough to be remembered in blocks
    lines = [{"filename": name} for name in names]
    first = run(lines, skip_invalid=True)
    pages = read_tree(tmp_path / "tree")
    again = run(lines, skip_invalid=True)
    assert (again.files, again.written, again.bad) == (40, 0, 1)
    assert again.faults == first.faults and again.faults[0].line == 41
    with pytest.raises(Invalid, match="1 of the list's lines can't be used"):
        run(lines)
    assert read_tree(tmp_path / "tree") == pages


def test_numbers_of_bad_lines_count_all_pieces_of_a_long_list(tmp_path: Path) -> None:
    names = [f"foo-{number}.0.zip" for number in range(60_000)]
    names[41_234] = "bad"
    write_list(tmp_path / "list", names)
    with pytest.raises(Invalid) as refused:
        export(PackageList(tmp_path / "list", plain=True), tmp_path / "tree", Options(packages_url=URL), jobs=2)
    assert [fault.line for fault in refused.value.report.faults] == [41_235]  # type: ignore[attr-defined]


# The order of writing


class Watched(MemoryStorage):
    """A store that follows every link of what it holds after each change."""

    steps = 0

    def replace(self, key: str, source: BinaryIO, *, durable: bool = True) -> None:
        super().replace(key, source, durable=durable)
        self.check()

    def delete(self, key: str) -> None:
        super().delete(key)
        self.check()

    def check(self) -> None:
        self.steps += 1
        keys = set(self.keys())
        for key in keys:
            if key.endswith(".html"):
                with self.open(key) as page:
                    for href in hrefs(page.read(1 << 30)):
                        path = urlsplit(urljoin(f"https://host/{key}", href)).path[1:]
                        assert path in keys or path.startswith("pool/"), f"{key} leads to {path}"


def test_no_reader_meets_a_dead_link(tmp_path: Path) -> None:
    store = Watched()
    chance = random.Random(8)
    pool = many_lines(40, seed=9)
    for _ in range(5):
        lines = chance.sample(pool, 25)
        export(PackageList(write_list(tmp_path / "list", lines)), store, Options(packages_url=URL, simple_json=True))
    assert store.steps > 100
    assert sorted(line["filename"] for line in lines_of(b"".join(iter(store.open("packages.json").read, b"")))) == (
        sorted(line["filename"] for line in lines)
    )


# Whole trees at once


def test_atomic_exchanges_the_folder(run: Callable[..., Report], tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    lines: Lines = [{"filename": f"{name}-1.0.zip"} for name in ("bar", "foo")]
    run(lines, atomic=True)
    before, kept = tree.stat().st_ino, times(tree)
    held = os.open(tree, os.O_RDONLY)
    run(lines[1:], atomic=True, clock=NOON + 60)
    assert tree.stat().st_ino != before
    assert os.listdir(held) == []  # who held the old folder open sees that it is gone, and never a half of both
    os.close(held)
    assert not (tree / "simple/bar").exists()
    assert times(tree)["simple/foo/index.html"] == kept["simple/foo/index.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list", "tree"]
    same = tree.stat().st_ino
    run(lines[1:], atomic=True)
    assert tree.stat().st_ino == same


def test_atomic_readers_see_one_tree_or_the_other(tmp_path: Path) -> None:
    """A reader who reads two pages finds both of one run, as long as it holds the folder."""
    both = [["foo-1.0.zip", "bar-1.0.zip"], ["foo-2.0.zip", "bar-2.0.zip"]]
    export_command(tmp_path, both[0])
    done = threading.Event()
    seen: set[tuple[bool, bool]] = set()

    def read() -> None:
        while not done.is_set():
            try:
                folder = os.open(tmp_path / "tree", os.O_RDONLY)
            except FileNotFoundError:  # between the two steps there is none
                seen.add((False, False))
                continue
            try:
                found = []
                for name in ("foo", "bar"):
                    fd = os.open(f"simple/{name}/index.html", os.O_RDONLY, dir_fd=folder)
                    found.append(b"2.0.zip" in os.read(fd, 10_000))
                    os.close(fd)
                seen.add((found[0], found[1]))
            except FileNotFoundError:
                pass  # an old folder that is being deleted
            finally:
                os.close(folder)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 6):
        assert export_command(tmp_path, both[number % 2], "--atomic").code == 0
    done.set()
    reader.join()
    assert seen <= {(False, False), (True, True)}
    assert len(seen) == 2


@pytest.mark.parametrize("again", ["old", "new"])
@pytest.mark.parametrize("after", [0, 5, 40, 90])
def test_a_killed_run_is_made_good(tmp_path: Path, after: int, again: str) -> None:
    """Killed when it has changed so many files, and whichever list comes next: that one ends with the right tree."""
    options = Options(packages_url=URL, timestamp=False)
    lists = {"old": many_lines(500, seed=10)[:300], "new": many_lines(500, seed=11)}
    for name, lines in lists.items():
        export(PackageList(write_list(tmp_path / name, lines)), tmp_path / f"want-{name}", options)
    tree = tmp_path / "tree"
    export(PackageList(tmp_path / "old"), tree, options)
    before = times(tree)
    arguments = ["export", "--package-list-json", tmp_path / "new", "--output-dir", tree, "--packages-url", URL]
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--no-generate-timestamp"],
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    while process.poll() is None and changes(tree, before) <= after:
        pass
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until_done(lambda: export(PackageList(tmp_path / again), tree, options))
    left = {path: data for path, data in read_tree(tree).items() if not path.split("/")[-1].startswith(".")}
    assert left == read_tree(tmp_path / f"want-{again}")


def test_a_killed_first_run_leaves_nothing(tmp_path: Path) -> None:
    """It is made aside; the next one begins anew."""
    lines = write_list(tmp_path / "list", many_lines(800, seed=12))
    arguments = ["export", "--package-list-json", lines, "--output-dir", tmp_path / "tree", "--packages-url", URL]
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)], env=clean_environment(), stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        while process.poll() is None and len(list((tmp_path / "tree").glob(".caseus-export.new/*/*"))) < 5:
            pass
        os.killpg(process.pid, signal.SIGKILL)
    assert [path.name for path in (tmp_path / "tree").iterdir()] == [".caseus-export.new"]
    options = Options(packages_url=URL)
    report = until_done(lambda: export(PackageList(lines), tmp_path / "tree", options))
    assert report.written == len(read_tree(tmp_path / "tree"))


def test_two_exports_to_one_folder(run: Callable[..., Report], tmp_path: Path) -> None:
    """A list that comes slowly keeps the folder."""
    os.mkfifo(tmp_path / "slow")
    arguments = ["export", "--package-list", tmp_path / "slow", "--output-dir", tmp_path / "tree"]
    run([{"filename": "foo-1.0.zip"}])
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments), "--packages-url", URL], env=clean_environment(), stdout=subprocess.DEVNULL
    ) as process:
        with (tmp_path / "slow").open("w") as slow:
            slow.write("bar-1.0.zip\n")
        assert process.wait() == 0
    assert hrefs((tmp_path / "tree/simple/index.html").read_bytes()) == ["bar/index.html"]
    folder = os.open(tmp_path / "tree", os.O_RDONLY)
    try:
        import fcntl

        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(Busy, match="another export writes to"):
            run([{"filename": "foo-1.0.zip"}])
    finally:
        os.close(folder)


# Forms, inputs, faults


def test_compressed_forms_are_of_their_pages(run: Callable[..., Report], tmp_path: Path) -> None:
    lines = many_lines(30)
    for changed in (lines, without(lines, "x")):
        run(changed, compress=("gz", "zst"))
        tree = read_tree(tmp_path / "tree")
        pages = {path for path in tree if not path.endswith((".gz", ".zst", "packages.json"))}
        assert {f"{path}.gz" for path in pages} | {f"{path}.zst" for path in pages} <= set(tree)
        for path in pages:
            assert gzip.decompress(tree[f"{path}.gz"]) == tree[path]
            assert zstandard.ZstdDecompressor().decompress(tree[f"{path}.zst"]) == tree[path]
    before = times(tmp_path / "tree")
    (tmp_path / "tree" / STATE).unlink()
    run(without(lines, "x"), compress=("gz", "zst"), clock=NOON + 60)
    assert {path: time for path, time in times(tmp_path / "tree").items() if path != STATE} == {
        path: time for path, time in before.items() if path != STATE
    }


def test_standard_input(tmp_path: Path) -> None:
    made = export_by(tmp_path / "tree", "--package-list", "-", "--packages-url", URL, input="foo-1.0.zip\n")
    assert made.code == 0 and hrefs(made.tree["simple/index.html"]) == ["foo/index.html"]
    same = export_by(tmp_path / "tree", "--package-list", "-", "--packages-url", URL, "--json", input="foo-1.0.zip\n\n")
    assert json.loads(same.out) == {
        "files": 1, "projects": 1, "written": 0, "kept": 0, "deleted": 0, "bad": 0, "faults": [],
    }  # fmt: skip


def test_lines_end_as_they_like(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"foo-1.0.zip\r\n  bar-1.0.zip  \n\n\nbaz-1.0.zip")
    export(PackageList(tmp_path / "list", plain=True), tmp_path / "tree", Options(packages_url=URL))
    tree = read_tree(tmp_path / "tree")
    assert hrefs(tree["simple/index.html"]) == [f"{name}/index.html" for name in ("bar", "baz", "foo")]


def test_status_and_what_only_caseus_tells(run: Callable[..., Report], tmp_path: Path) -> None:
    run(
        [
            {"filename": "foo-1.0.zip", "gpg_sig": True, "provenance": "https://pkgs.example.com/p", "size": 7},
            {"filename": "foo-2.0.zip", "yanked": True},
            {"filename": "foo-3.0.zip", "yanked_reason": ""},
            {"filename": "foo-4.0.zip", "yanked_reason": "", "upload_time": 1.5},
            {"project": "Foo", "status": "deprecated", "status_reason": "use <bar>"},
            {"filename": "bad-1.0.zip"},
            {"project": "bad", "status": "quarantined"},
            {"filename": "gone-1.0.zip", "hash": "sha256=00", "deleted": 1.0},
            {"project": "reserved"},
        ],
        simple_json=True,
    )
    tree = read_tree(tmp_path / "tree")
    page = json.loads(tree["simple/foo/index.json"])
    assert page["project-status"] == {"status": "deprecated", "reason": "use <bar>"}
    assert [file["yanked"] for file in page["files"]] == [False, True, False, True]
    assert {"gpg-sig": True, "provenance": "https://pkgs.example.com/p", "size": 7}.items() <= page["files"][0].items()
    html = tree["simple/foo/index.html"]
    assert b'content="deprecated"' in html and b'content="use &lt;bar&gt;"' in html
    attributes = {link.text: link.attributes for link in links(html)}
    assert attributes["foo-1.0.zip"]["data-gpg-sig"] == "true"
    assert ["data-yanked" in attributes[f"foo-{number}.0.zip"] for number in (1, 2, 3, 4)] == [False, True, False, True]
    # PEP 792 offers no file of a quarantined project; a name that is known has a page, and is listed with files only.
    assert hrefs(tree["simple/bad/index.html"]) == hrefs(tree["simple/gone/index.html"]) == []
    assert hrefs(tree["simple/index.html"]) == ["bad/index.html", "foo/index.html"]
    assert "simple/reserved/index.html" in tree
    again = tmp_path / "again"
    export(PackageList(tmp_path / "tree/packages.json"), again, Options(packages_url=URL, simple_json=True))
    assert read_tree(again)["packages.json"] == tree["packages.json"]


def test_what_is_told_twice_of_a_project(run: Callable[..., Report], tmp_path: Path) -> None:
    """The later line holds, also where nothing but their order changed."""
    lines: Lines = [{"filename": "foo-1.0.zip"}, {"project": "foo", "status": "archived"}, {"project": "foo"}]
    lines[2] |= {"status": "deprecated", "status_reason": "use bar"}
    page = tmp_path / "tree/simple/foo/index.html"
    run(lines)
    assert b'"deprecated"' in page.read_bytes()
    run([lines[0], lines[2], lines[1], {"filename": "bar-1.0.zip"}])
    assert b'"archived"' in page.read_bytes() and b"use bar" not in page.read_bytes()


def test_versions_that_are_equal_are_listed_in_one_order(tmp_path: Path) -> None:
    """Whatever Python's hashes are in this process."""
    spelled = ["1", "1.0", "1.0.0", "1.0.0.0", "v1"]
    lines = [{"filename": f"foo-{version}.zip", "version": version} for version in spelled]
    listed = str(write_list(tmp_path / "list", lines))
    command = [*COMMAND, "export", "--package-list-json", listed, "--packages-url", URL, "--simple-json"]
    for seed in ("1", "2", "3"):
        environ = clean_environment({"PYTHONHASHSEED": seed})
        subprocess.run([*command, "--output-dir", str(tmp_path / seed)], check=True, env=environ, capture_output=True)
        page = json.loads((tmp_path / seed / "simple/foo/index.json").read_bytes())
        assert page["versions"] == spelled


def test_odd_versions_are_no_trap(run: Callable[..., Report], tmp_path: Path) -> None:
    """A version that is called as our own files are; one that differs in spelling only."""
    names = ["foo-json.zip", "foo-1.0.zip", "foo-1.0.0.zip", "foo-1.zip", "foo-.hidden.zip", "foo-01.0.zip"]
    told = ["", "..", "a/b", "1\0"]
    run(
        [{"filename": name} for name in names]
        + [{"filename": f"foo-{n}.zip", "version": v} for n, v in enumerate(told, 7)]
    )
    tree = read_tree(tmp_path / "tree")
    releases = {"json", "1.0", "1.0.0", "1", ".hidden", "01.0", *told}
    assert set(json.loads(tree["pypi/foo/json"])["releases"]) == releases
    assert {path for path in tree if path.startswith("pypi/")} == {
        "pypi/foo/json", *(f"pypi/foo/{version}/json" for version in ("1.0", "1.0.0", "1", ".hidden", "01.0")),
    }  # fmt: skip


def test_hostile_lists_break_no_page(run: Callable[..., Report], tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>\u0000\u0085'
    run(
        [
            {
                "filename": "foo-1.0.zip",
                "version": evil,
                "uploaded_by": evil,
                "yanked_reason": evil,
                "requires_python": evil,
                "requires_dist": [evil],
                "upload_timestamp": 1,
            }
        ],
        simple_json=True,
        title=evil,
        logo='https://pkgs.example.com/a");body{color:red}</style>.png',
        logo_width=9,
    )
    for path, page in read_tree(tmp_path / "tree").items():
        if path.endswith(".html"):
            assert b"<script>alert" not in page and b"</style>.png" not in page
            page.decode()
        else:
            assert all(json.loads(line) for line in page.decode().strip().split("\n"))


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        ([], 2, "one of the arguments --package-list"),
        (["--package-list", "nope"], 2, "give --packages-url"),
        (["--package-list", "nope", "--packages-url", "x"], 1, "there is no list nope"),
        (["--package-list", "nope", "--package-list-json", "nope"], 2, "not allowed with"),
        (["--package-list", ".", "--packages-url", "x"], 2, "can't read the list"),
        (["--package-list", "/dev/null", "--packages-url", "a b"], 1, "is no URL"),
        (["--package-list", "/dev/null", "--packages-url", "x", "--rss"], 1, "give the URL of the tree"),
        (["--package-list", "/dev/null", "--packages-url", "x", "--base-url", "pkgs"], 1, "is not whole"),
        (["--package-list", "/dev/null", "--packages-url", "x", "--jobs", "0"], 2, "give 1 to 256"),
        (["--package-list", "/dev/null", "--packages-url", "x", "--with-files"], 2, "a list has no files"),
        (["--package-list", "-", "--previous-package-list", "-", "--packages-url", "x"], 2, "one list only"),
        (["--package-list", "/dev/null", "--packages-url", "x", "--nope"], 2, "unrecognized arguments"),
        (["--package-dir", "/nope"], 2, "give --packages-url where DIR is served, or --with-files"),
        (["--package-dir", "/nope", "--with-files"], 1, "there is no folder /nope"),
        (["--index", "other"], 1, "no index 'other'"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path: Path, flags: list[str], code: int, words: str) -> None:
    made = export_by(tmp_path / "tree", *flags)
    assert made.code == code
    assert words in made.err and made.err.startswith("caseus: error: ") and made.err.count("\n") == 1


def test_a_tree_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = export_by(tmp_path / "file", "--package-list", "/dev/null", "--packages-url", "x")
    assert made.code == 2 and "can't write to" in made.err
    with pytest.raises(NotFound):
        export(PackageList(tmp_path / "nope"), tmp_path / "tree", Options(packages_url=URL))
