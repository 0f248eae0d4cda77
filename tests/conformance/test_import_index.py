"""Taking over another index: what it lists is here afterwards, as it was there; round after round."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from caseus.catalog import UpstreamPage
from caseus.errors import Invalid, NotFound, Unavailable
from caseus.importers.index import IndexImport
from caseus.importers.report import Outcome
from caseus.importers.source import Stopped
from caseus.model import File
from caseus.names import normalize
from caseus.upstream.urls import origin_of
from support.forms import form_for
from support.importing import SIGNATURE, Heard, Target, outcomes, round_of
from support.packages import make_sdist, make_wheel, metadata, sha256
from support.upstream import FakeUpstream, Fault, Listed, Options

TAKEN, THERE = (Outcome.TAKEN, ""), (Outcome.THERE, "")
ACME = normalize("acme")
WHEEL = make_wheel("acme", "1.0", requires_python=">=3.9")
SDIST = make_sdist("acme", "1.0", requires_python=">=3.8")
NEXT = make_wheel("acme", "2.0")
TOOLS = make_wheel("acme-tools", "0.1")
OTHER = make_wheel("other", "3.0")


@pytest.fixture
def source() -> Iterator[FakeUpstream]:
    projects: dict[str, list[Listed]] = {
        "acme": [
            (*WHEEL, Options(upload_time="2021-03-04T05:06:07.123456Z", requires_python=">=3.9", signature=SIGNATURE)),
            (*SDIST, Options(requires_python=">=3.8", yanked="too old")),
        ],
        "acme-tools": [(*TOOLS, Options(yanked=True))],
        "other": [OTHER],
    }
    with FakeUpstream(projects) as upstream:
        yield upstream


@pytest.fixture
def target(tmp_path: Path, source: FakeUpstream) -> Iterator[Target]:
    target = Target(tmp_path / "root", source.url)
    yield target
    target.close()


def hosted(target: Target, project: str = "acme") -> dict[str, File]:
    return {file.filename: file for file in target.local.project(normalize(project)).files}


def downloads(source: FakeUpstream) -> list[str]:
    return sorted(request.path.rpartition("/")[2] for request in source.requests if request.path.startswith("/files/"))


# One round


@pytest.mark.parametrize("style", ["json", "html"])
@pytest.mark.parametrize("jobs", [1, 4])
def test_all_is_here_as_it_was_there(source: FakeUpstream, target: Target, style: str, jobs: int) -> None:
    source.style = "json" if style == "json" else "html"
    heard = Heard()
    done = target.take(jobs=jobs, heard=heard)
    assert done == dict.fromkeys([WHEEL[0], SDIST[0], TOOLS[0], OTHER[0]], TAKEN)
    assert heard.files == len(heard.results) == 4
    files = hosted(target)
    assert files[WHEEL[0]].upload_time == datetime(2021, 3, 4, 5, 6, 7, 123456, UTC)
    assert files[SDIST[0]].upload_time == parsedate_to_datetime("Mon, 01 Jan 2024 00:00:00 GMT")
    assert (files[WHEEL[0]].requires_python, files[SDIST[0]].requires_python) == (">=3.9", ">=3.8")
    assert (files[WHEEL[0]].yanked, files[SDIST[0]].yanked) == (False, "too old")
    assert hosted(target, "acme-tools")[TOOLS[0]].yanked is True
    assert target.read("acme", WHEEL[0]) == WHEEL[1] and target.read("acme", SDIST[0]) == SDIST[1]
    assert target.read("acme", f"{WHEEL[0]}.metadata") == metadata("acme", "1.0", requires_python=">=3.9")
    row = target.catalog.find_file("files/main", WHEEL[0])
    assert row is not None and row.uploader == f"import:{source.origin.removeprefix('http://')}"
    assert target.catalog.check_journal() == []


def test_signatures_come_along_where_they_are_advertised(source: FakeUpstream, target: Target) -> None:
    unsigned, broken = make_wheel("acme", "3.0"), make_wheel("acme", "4.0")
    source.projects["acme"] = [
        (*WHEEL, Options(signature=SIGNATURE, gpg_sig=True)),
        (*SDIST, Options(signature=SIGNATURE)),
        (*unsigned, Options(gpg_sig=True)),
        (*broken, Options(signature=b"<html>", gpg_sig=True)),
    ]
    done = target.take("acme")
    assert target.read("acme", f"{WHEEL[0]}.asc") == SIGNATURE
    assert [name for name, file in hosted(target).items() if file.gpg_sig] == [WHEEL[0]]
    for wheel in (unsigned, broken):
        assert done[wheel[0]] == (
            Outcome.TAKEN,
            "the signature that is advertised there is absent or none: taken without it",
        )


def test_a_second_run_downloads_nothing(source: FakeUpstream, target: Target) -> None:
    target.take()
    before = hosted(target)
    source.forget()
    assert set(target.take().values()) == {THERE}
    assert downloads(source) == []
    assert hosted(target) == before


def test_what_was_uploaded_here_already_stays(source: FakeUpstream, target: Target) -> None:
    """The same bytes are there already; other bytes under the same name are a conflict, and nothing is overwritten."""
    theirs = make_wheel("acme", "1.0", content=b"# built elsewhere\n")
    target.take("acme")
    source.projects["acme"] = [(*theirs, Options()), SDIST, NEXT]
    done = target.take("acme")
    assert done[WHEEL[0]] == (Outcome.CONFLICT, "other bytes have this name here: nothing was overwritten")
    assert done[NEXT[0]] == TAKEN
    assert target.read("acme", WHEEL[0]) == WHEEL[1]
    # Also where the page doesn't tell, and only the bytes can.
    source.projects["acme"] = [(*theirs, Options(hashes=False, size=False)), (*SDIST, Options(hashes=False))]
    done = target.take("acme")
    assert (done[WHEEL[0]][0], done[SDIST[0]][0]) == (Outcome.CONFLICT, Outcome.THERE)
    assert target.read("acme", WHEEL[0]) == WHEEL[1]


def test_a_name_that_was_deleted_here_stays_deleted(source: FakeUpstream, target: Target) -> None:
    target.take("acme")
    target.publisher.delete(target.publisher.select(WHEEL[0]), "had a key in it", "cli:somebody")
    source.forget()
    done = target.take("acme")
    assert done[WHEEL[0]] == (Outcome.SKIPPED, "it was deleted here, and a name is used once")
    assert target.files("acme") == [SDIST[0]] and downloads(source) == []


# Digests


def algorithms(data: bytes) -> dict[str, str]:
    return {
        name: hashlib.new(name, data).hexdigest()
        for name in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b")
    }


@pytest.mark.parametrize("algorithm", algorithms(b""))
def test_every_digest_that_is_told_is_checked(source: FakeUpstream, target: Target, algorithm: str) -> None:
    right = algorithms(WHEEL[1])
    wrong = right | {algorithm: right[algorithm][::-1]}
    source.projects["acme"] = [(*WHEEL, Options(hashes=wrong)), (*SDIST, Options(hashes=algorithms(SDIST[1])))]
    done = target.take("acme")
    assert done[WHEEL[0]] == (Outcome.DAMAGED, f"it has not the {algorithm} that the page tells")
    assert done[SDIST[0]] == TAKEN
    assert target.files("acme") == [SDIST[0]]
    assert not list((target.catalog.root / ".incoming").iterdir())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("other"), "it has not the sha256 that the page tells"),
        (Fault("html"), "it is an HTML page (a login or error page?)"),
        (Fault("raw", body=b"short"), f"it has 5 bytes instead of {len(WHEEL[1])}"),
    ],
    ids=["other", "html", "short"],
)
def test_what_is_not_the_file_is_damaged(source: FakeUpstream, target: Target, fault: Fault, reason: str) -> None:
    source.fail(fault, source.file_path("acme", WHEEL[0]))
    assert target.take("acme")[WHEEL[0]] == (Outcome.DAMAGED, reason)
    source.heal()
    assert target.take("acme") == {WHEEL[0]: TAKEN, SDIST[0]: THERE}


def test_a_source_without_digests_is_asked_for_each_file_once(source: FakeUpstream, target: Target) -> None:
    source.projects["acme"] = [(*WHEEL, Options(hashes=False, size=False))]
    run = target.importer("acme")
    assert outcomes(round_of(run)) == {WHEEL[0]: TAKEN}
    source.projects["acme"] = [(*WHEEL, Options(hashes=False, size=False, yanked="bad"))]  # another page
    source.forget()
    assert outcomes(round_of(run)) == {WHEEL[0]: (Outcome.YANKED, "bad")}
    assert downloads(source) == []
    # Another process has to look at the bytes, and finds that they are the same.
    assert target.take("acme") == {WHEEL[0]: THERE}
    assert downloads(source) == [WHEEL[0]]


def test_neither_digest_nor_length_is_refused(source: FakeUpstream, target: Target) -> None:
    source.projects["acme"] = [(*WHEEL, Options(hashes=False, size=False, length=False))]
    assert target.take("acme")[WHEEL[0]] == (Outcome.DAMAGED, "it has neither a digest nor a length to know it by")


def test_too_large_a_file_is_left_out(source: FakeUpstream, tmp_path: Path) -> None:
    small = Target(tmp_path / "small", source.url, max_file_bytes=100)
    try:
        assert small.take("acme")[WHEEL[0]] == (
            Outcome.SKIPPED,
            "it is larger than the limit of 100 bytes: raise max_file_bytes to take it",
        )
    finally:
        small.close()


# Odd packages


def sdist_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, data in members.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in members.items():
            archive.writestr(path, data)
    return buffer.getvalue()


def test_odd_old_files_are_taken_with_a_remark(source: FakeUpstream, target: Target) -> None:
    bare = sdist_of({"acme-0.1/setup.py": b"from setuptools import setup\nsetup()\n"})
    loose = zip_of({"setup.py": b"", "src/acme.py": b""})
    odd = metadata("Acme Tools!", "0.3", requires_python="3.x please", extra="Metadata-Version: 2.1\n")
    latin = make_wheel(
        "acme", "0.4", metadata_bytes=b"Metadata-Version: 2.1\nName: acme\nVersion: 0.4\nAuthor: J\xf6rg\n"
    )
    renamed = make_wheel("acme", "0.5")[1]
    source.projects["acme"] = [
        ("acme-0.1.tar.gz", bare, Options(requires_python=">=2.6")),
        ("acme-0.2.zip", loose),
        (
            make_wheel("acme", "0.3")[0],
            make_wheel("acme", "0.3", metadata_bytes=odd)[1],
            Options(requires_python="3.x"),
        ),
        latin,
        ("acme-0.6-py3-none-any.whl", renamed),
        ("acme-1.0-1.tar.gz", SDIST[1]),
    ]
    done = target.take("acme")
    assert {outcome for outcome, _ in done.values()} == {Outcome.TAKEN}
    assert done["acme-0.1.tar.gz"][1] == "the archive has no PKG-INFO in its top folder"
    assert "one folder at its top" in done["acme-0.2.zip"][1]
    assert "invalid Name" in done["acme-0.3-py3-none-any.whl"][1]
    assert "not UTF-8" in done["acme-0.4-py3-none-any.whl"][1]
    assert "is not that of acme 0.6" in done["acme-0.6-py3-none-any.whl"][1]
    assert done["acme-1.0-1.tar.gz"][1] == "PKG-INFO says Version '1.0', the filename says '1.0.post1'"
    files = hosted(target)
    assert files["acme-0.1.tar.gz"].requires_python == ">=2.6"  # the page's word, as the file has none
    assert files["acme-0.3-py3-none-any.whl"].requires_python is None  # what can't be parsed breaks clients
    assert files["acme-0.4-py3-none-any.whl"].core_metadata is False  # clients read it from the wheel
    assert target.local.project(ACME).versions == ("0.1", "0.2", "0.3", "0.4", "0.6", "1.0.post1")
    assert target.read("acme", "acme-1.0-1.tar.gz") == SDIST[1]


def test_what_cannot_be_published_here_is_told(source: FakeUpstream, target: Target) -> None:
    escaping = sdist_of({"acme-0.2/PKG-INFO": metadata("acme", "0.2"), "acme-0.2/../../evil.py": b""})
    source.projects["acme"] = [
        ("acme-0.1-py3.6.egg", b"egg"),
        ("acme-0.2.tar.gz", escaping),
        ("acme-0.3-py3-none-any.whl", b"no zip"),
        ("acme-latest.tar.gz", b""),
        ("acme-0.4-py3-none-any.whl", zip_of({"acme.py": b""})),
        NEXT,
    ]
    done = target.take("acme")
    reasons = {name: reason for name, (outcome, reason) in done.items() if outcome is Outcome.SKIPPED}
    assert len(reasons) == 5 and done[NEXT[0]] == TAKEN
    assert "unknown kind of file" in reasons["acme-0.1-py3.6.egg"]
    assert "'..' in its name" in reasons["acme-0.2.tar.gz"]
    assert "the archive is broken" in reasons["acme-0.3-py3-none-any.whl"]
    assert "invalid filename" in reasons["acme-latest.tar.gz"]
    assert "no .dist-info folder" in reasons["acme-0.4-py3-none-any.whl"]
    assert target.files("acme") == [NEXT[0]]


def test_a_time_in_the_future_is_now(source: FakeUpstream, target: Target) -> None:
    source.projects["acme"] = [(*WHEEL, Options(upload_time="2999-01-01T00:00:00Z"))]
    before = datetime.now(UTC)
    target.take("acme")
    uploaded = hosted(target)[WHEEL[0]].upload_time
    assert uploaded is not None and before <= uploaded <= datetime.now(UTC)


# Which projects


@pytest.mark.parametrize(
    ("chosen", "excluded", "taken"),
    [
        (["acme*"], [], ["acme", "acme-tools"]),
        (["Acme_*"], [], ["acme-tools"]),
        (["acme", "OTHER"], [], ["acme", "other"]),
        ([], ["acme*"], ["other"]),
        (["*"], ["acme", "other"], ["acme-tools"]),
    ],
)
def test_patterns_choose(
    source: FakeUpstream, target: Target, chosen: list[str], excluded: list[str], taken: list[str]
) -> None:
    target.take(*chosen, exclude=excluded)
    assert list(target.local.projects()) == taken


def test_names_in_full_need_no_list(source: FakeUpstream, target: Target) -> None:
    """There are indexes that have none."""
    source.fail(Fault("status", status=404), "/simple/")
    done = target.take("acme", "nobody")
    assert done[WHEEL[0]] == TAKEN
    assert done["nobody"] == (Outcome.FAILED, "the other index has no such project")
    with pytest.raises(NotFound, match="no list of projects"):
        target.take("acme*")


def test_a_listed_project_without_a_page_is_no_fault(source: FakeUpstream, target: Target) -> None:
    source.fail(Fault("status", status=404), "/simple/other/")
    done = target.take()
    assert done["other"] == (Outcome.SKIPPED, "listed there, but it has no page")
    assert done[WHEEL[0]] == TAKEN


def test_a_whole_mirror_is_refused(source: FakeUpstream, target: Target) -> None:
    source.projects |= {f"mirrored-{number}": [] for number in range(2001)}
    run = target.importer()
    names = run.names()
    with pytest.raises(Invalid, match="lists 2004 projects"):
        run.check(names, everything=False)
    run.check(names, everything=True)
    assert ["2004 projects are many" in warning for warning in run.report.warnings] == [True]
    chosen = target.importer("acme*")
    chosen.check(chosen.names(), everything=False)
    assert chosen.report.warnings == []
    with pytest.raises(NotFound, match="no project that is meant"):
        chosen.check([], everything=False)


def test_names_that_the_upstream_has_are_told(target: Target) -> None:
    """Known without asking it: private names are never sent there."""
    target.catalog.save_page("fetched/pypi", "other", UpstreamPage(files=(), versions=(), fetched=0, until=0))
    run = target.importer()
    run.check(run.names(), everything=False)
    assert run.report.warnings == [
        "these names were fetched from the upstream so far and are yours once they are imported: other"
    ]


# The other index fails


def test_what_fails_is_tried_again(source: FakeUpstream, target: Target) -> None:
    source.fail(Fault("status", status=503, times=1), "/simple/acme/")
    source.fail(Fault("cut", times=1), source.file_path("acme", WHEEL[0]))
    assert target.take("acme") == {WHEEL[0]: TAKEN, SDIST[0]: TAKEN}


def test_one_file_that_fails_costs_no_other(source: FakeUpstream, target: Target) -> None:
    source.fail(Fault("cut"), source.file_path("acme", WHEEL[0]))
    foreign = Options(url="http://127.0.0.1:1/acme-2.0-py3-none-any.whl")
    source.projects["acme"] = [*source.projects["acme"], (*NEXT, foreign)]
    run = target.importer("acme")
    done = outcomes(round_of(run))
    assert (done[WHEEL[0]][0], done[SDIST[0]]) == (Outcome.FAILED, TAKEN)
    assert "broke the connection off" in done[WHEEL[0]][1]
    assert done[NEXT[0]][0] is Outcome.FAILED and "neither its own origin" in done[NEXT[0]][1]
    assert run.report.bad == 2
    source.heal()
    # The page is the same, and has an ETag; what failed is tried again all the same.
    assert outcomes(round_of(run))[WHEEL[0]] == TAKEN


def test_where_downloads_may_be_redirected_to(source: FakeUpstream, target: Target) -> None:
    """As object stores behind an index want it; addresses are judged all the same."""
    elsewhere = origin_of(source.origin.replace("http:", "https:"))
    source.fail(Fault("redirect", url=f"https://{elsewhere.authority}/wheel"), source.file_path("acme", WHEEL[0]))
    assert "neither its own origin" in target.take("acme")[WHEEL[0]][1]
    reason = target.take("acme", files_from=frozenset({elsewhere}))[WHEEL[0]][1]
    assert "private or reserved address" in reason


def test_an_index_that_is_down_is_left_alone(source: FakeUpstream, target: Target) -> None:
    source.projects |= {f"more-{number}": [] for number in range(40)}
    run = target.importer()
    names = run.names()
    source.forget()
    source.fail(Fault("status", status=500))
    with pytest.raises(Unavailable, match="goes on from here"):
        run.take(names)
    assert len(source.requests) < 40
    source.heal()
    assert outcomes(round_of(run))[WHEEL[0]] == TAKEN
    assert run.report.bad == 0


def test_it_can_be_stopped(source: FakeUpstream, target: Target) -> None:
    run = target.importer()
    names = run.names()
    target.stop.set()
    with pytest.raises(Stopped):
        run.take(names)
    target.stop.clear()
    assert outcomes(round_of(run))[WHEEL[0]] == TAKEN


# Round after round


def retold(
    run: IndexImport, source: FakeUpstream, *files: tuple[str, bytes, Options]
) -> dict[str, tuple[Outcome, str]]:
    source.projects["acme"] = list(files)
    return outcomes(round_of(run))


def test_an_unchanged_page_costs_one_request(source: FakeUpstream, target: Target) -> None:
    run = round_of(target.importer("acme"))
    source.forget()
    round_of(run)
    assert [(request.path, "if-none-match" in request.headers) for request in source.requests] == [
        ("/simple/acme/", True)
    ]
    assert outcomes(run) == {WHEEL[0]: TAKEN, SDIST[0]: TAKEN}


def test_new_files_yanks_and_unyanks_are_followed(source: FakeUpstream, target: Target) -> None:
    run = round_of(target.importer("acme"))
    done = retold(run, source, (*WHEEL, Options(yanked="leaks")), (*SDIST, Options()), (*NEXT, Options()))
    assert done == {WHEEL[0]: (Outcome.YANKED, "leaks"), SDIST[0]: (Outcome.UNYANKED, ""), NEXT[0]: TAKEN}
    assert {name: file.yanked for name, file in hosted(target).items()} == {
        WHEEL[0]: "leaks", SDIST[0]: False, NEXT[0]: False,
    }  # fmt: skip
    retold(run, source, (*WHEEL, Options(yanked="leaks memory")), (*SDIST, Options(yanked=True)), (*NEXT, Options()))
    assert {name: file.yanked for name, file in hosted(target).items()} == {
        WHEEL[0]: "leaks memory", SDIST[0]: True, NEXT[0]: False,
    }  # fmt: skip
    # A later run knows from the journal that the yanks came from there.
    source.projects["acme"] = [WHEEL, SDIST, NEXT]
    assert target.take("acme") == {WHEEL[0]: (Outcome.UNYANKED, ""), SDIST[0]: (Outcome.UNYANKED, ""), NEXT[0]: THERE}


def test_a_yank_by_hand_here_has_the_last_word(source: FakeUpstream, target: Target) -> None:
    source.projects["acme"] = [WHEEL, (*SDIST, Options(yanked="too old"))]
    run = round_of(target.importer("acme"))
    target.publisher.yank(target.publisher.select(WHEEL[0]), "", "cli:somebody")
    target.publisher.unyank(target.publisher.select(SDIST[0]), "cli:somebody")
    done = retold(run, source, (*WHEEL, Options()), (*SDIST, Options(yanked="still too old")))
    assert {name: file.yanked for name, file in hosted(target).items()} == {WHEEL[0]: True, SDIST[0]: False}
    assert done[WHEEL[0]][0] is done[SDIST[0]][0] is Outcome.TAKEN  # in this run
    assert target.take("acme") == {
        WHEEL[0]: (Outcome.THERE, "not yanked there, yanked here by somebody's hand: left so"),
        SDIST[0]: (Outcome.THERE, "yanked there, not yanked here by somebody's hand: left so"),
    }


def test_deletions_are_told_and_kept(source: FakeUpstream, target: Target) -> None:
    run = round_of(target.importer())
    del source.projects["other"]
    source.projects["acme"] = [WHEEL]
    for _ in range(3):
        done = outcomes(round_of(run))
        assert done[SDIST[0]] == done[OTHER[0]] == (Outcome.GONE, "no longer listed there; kept here")
    assert target.files("acme") == [WHEEL[0], SDIST[0]] and target.files("other") == [OTHER[0]]
    source.projects["other"] = [OTHER]  # and back
    assert outcomes(round_of(run))[OTHER[0]] == THERE
    assert target.take()[SDIST[0]][0] is Outcome.GONE  # another run tells it too


def test_deletions_are_followed_when_they_are_seen_twice(source: FakeUpstream, target: Target) -> None:
    own = make_wheel("acme", "9.0")
    run = round_of(target.importer(delete=True))
    upload(target, *own)
    source.projects["acme"] = [WHEEL]
    del source.projects["other"]
    assert outcomes(round_of(run))[SDIST[0]][0] is Outcome.GONE
    source.fail(Fault("status", status=500), "/simple/acme/")  # not seen is not gone
    done = outcomes(round_of(run))
    assert (done[OTHER[0]][0], done[SDIST[0]][0]) == (Outcome.DELETED, Outcome.GONE)
    source.heal()
    assert outcomes(round_of(run))[SDIST[0]][0] is Outcome.GONE
    assert outcomes(round_of(run))[SDIST[0]][0] is Outcome.DELETED
    assert target.files("acme") == [WHEEL[0], own[0]]  # what was uploaded here is nobody else's to delete
    assert target.local.project(normalize("other")).files == ()
    assert outcomes(round_of(run))[SDIST[0]][0] is Outcome.DELETED


def upload(target: Target, filename: str, data: bytes) -> None:
    staged = target.publisher.stage()
    try:
        staged.write(data)
        target.publisher.publish(
            staged, form_for("acme", "9.0", filename, data), filename=filename, signature=None, actor="alice"
        )
    finally:
        staged.close()


def test_following_goes_on_after_a_failure(source: FakeUpstream, target: Target) -> None:
    run = round_of(target.importer("acme"))
    source.down()
    told: list[str] = []

    def tell(reason: str) -> None:
        told.append(reason)
        source.up()
        source.projects["acme"] = [WHEEL, NEXT]

    class Ending(Heard):
        def done(self, result: object) -> None:
            if getattr(result, "filename", "") == NEXT[0]:
                target.stop.set()

    run = target.importer("acme*", heard=Ending())
    run.follow(0.01, tell)
    assert len(told) == 1 and "can't be reached" in told[0]
    assert NEXT[0] in target.files("acme")
    assert sha256(target.read("acme", NEXT[0])) == sha256(NEXT[1])
