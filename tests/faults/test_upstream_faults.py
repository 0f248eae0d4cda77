"""The matrix: every fault of an upstream, or of the way to it, as clients of a real server see it.

For each fault, for {page, file, METADATA}: what is cached is served. What is not is 502 or 504 before the client's
patience ends, never 404, from which pip would conclude that the project does not exist; and never a wrong or short file
that ends as if it were whole. When the fault is over, two dozen clients at once get what is right, and the upstream is
asked once for each thing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import pytest

from support.clients import JSON, Answer, ask
from support.faulty import LARGE, SMALL, TTL, Package, World, at_once, until
from support.hooked import FOREIGN
from support.packages import make_sdist, sha256
from support.tcp_proxy import TcpFault
from support.upstream import Fault, Options

Subject = Literal["page", "file", "metadata"]
Scheme = Literal["http", "https"]
Begin = Callable[[Package, Subject], None]
"""Lets a fault begin for the subject's own paths, or for everything."""

ALL: tuple[Subject, ...] = ("page", "file", "metadata")
HELD_BACK = 65_536
CLIENTS = 24
YEAR = 366 * 86_400.0
NO_DIGEST = Options(hashes=False)
NOTHING = Options(hashes=False, size=False)
WRONG = sha256(b"other bytes")


@dataclass(frozen=True)
class Row:
    """One fault.

    harmless  the subjects that are served all the same, though they are not cached
    stale     whether a cached page is marked as an older one
    told      how the upstream lists the file, where that matters
    listed    the fault is in what the page lists: a page that was fetched before doesn't have it
    etags     whether the upstream tells ETags of what it has
    hasty     it is over when a time limit is, so limits are short
    brief     not also in the variants of upstream, file and METADATA: it takes a second or two each time
    """

    begin: Begin
    subjects: tuple[Subject, ...] = ALL
    harmless: tuple[Subject, ...] = ()
    stale: bool = True
    scheme: Scheme = "http"
    told: Options | None = None
    listed: bool = False
    etags: bool = True
    hasty: bool = False
    brief: bool = False


# How faults begin.


def answers(fault: Fault) -> Begin:
    """The upstream answers in this way for what is asked for."""

    def begin(package: Package, subject: Subject) -> None:
        paths = {
            "page": [package.page_path],
            "file": [package.file_path],
            "metadata": [package.metadata_path, package.file_path],
        }
        for path in paths[subject]:
            package.world.upstream.fail(fault, path)

    return begin


def raw(body: bytes, content_type: str = JSON) -> Begin:
    return answers(Fault("raw", body=body, content_type=content_type))


def redirects(url_for: Callable[[Package, str], str]) -> Begin:
    """To the URL that is made for the path."""

    def begin(package: Package, subject: Subject) -> None:
        for path in (package.page_path, package.file_path, package.metadata_path):
            package.world.upstream.fail(Fault("redirect", url=url_for(package, path)), path)

    return begin


def to_canary(template: str) -> Begin:
    return redirects(lambda package, path: template.format(port=package.world.canary.port, path=path))


def lists(**told: Any) -> Begin:
    """The page lists the file in another way; the bytes behind it stay."""
    return lambda package, _: package.publish(options=replace(package.options, **told))


def links_to_canary(origin: str) -> Begin:
    def begin(package: Package, _: Subject) -> None:
        url = origin.format(port=package.world.canary.port) + package.file_path
        package.publish(options=replace(package.options, url=url))

    return begin


def changes(package: Package, _: Subject) -> None:
    """The file is another than the one that was seen first, and the page says so too."""
    if not package.stored():
        assert_right(package.file(), package.data)
        stored = package.stored()
        assert stored is not None
        stored.unlink()  # its digest is known still
        package.world.later()
    other = _inverted(package.data)
    package.publish(data=other, options=replace(package.options, hashes={"sha256": sha256(other)}))


def links_many(package: Package, _: Subject) -> None:
    entry = '{"filename":"x-%d.tar.gz","url":"../../x-%d.tar.gz","hashes":{"sha256":"' + WRONG + '"}},'
    mine = (
        f'{{"filename":"{package.filename}","url":"../..{package.file_path}","size":{len(package.data)},'
        f'"hashes":{{"sha256":"{sha256(package.data)}"}},"core-metadata":{{"sha256":"{sha256(package.metadata)}"}}}}'
    )
    links = "".join([entry % (number, number) for number in range(100_000)])
    page = f'{{"meta":{{"api-version":"1.0"}},"name":"{package.name}","files":[{links}{mine}]}}'
    raw(page.encode())(package, "page")


def same_etag(package: Package, subject: Subject) -> None:
    """It tells one ETag of everything: that a changed page is unchanged; that what it has is the rest of a file."""
    upstream = package.world.upstream
    upstream.etag, upstream.etags = '"same"', True
    if subject == "page":
        package.world.later()
        assert package.page().status == 200
        package.publish(make_sdist(package.name, "2.0"))
        package.world.later()
    else:
        half = len(package.data) // 2
        other = package.data[:half] + _inverted(package.data[half:])
        package.publish(data=other, options=replace(package.options, hashes={"sha256": sha256(package.data)}))
        upstream.fail(Fault("cut", times=1), package.file_path)


def wire(fault: TcpFault) -> Begin:
    return lambda package, _: package.world.wire.fail(fault)


def down(package: Package, _: Subject) -> None:
    package.world.wire.down()


def dns(how: Literal["fails", "hangs"]) -> Begin:
    def begin(package: Package, _: Subject) -> None:
        package.world.controls.dns = how
        package.world.wire.heal()  # which ends connections that were made before

    return begin


def shows(certificate: Literal["untrusted", "wrong_name", "expired"]) -> Begin:
    return lambda package, _: package.world.wear(getattr(package.world.certificates, certificate)())


def clock(seconds: float) -> Begin:
    return lambda package, _: package.world.misdate(seconds)


def _inverted(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)


def without_types(package: Package, _: Subject) -> None:
    package.world.upstream.content_types = False


ROWS = {
    # Nobody answers, or not to the end.
    "down": Row(down),
    "dns-fails": Row(dns("fails")),
    "dns-hangs": Row(dns("hangs"), hasty=True, brief=True),
    "tls-untrusted": Row(shows("untrusted"), scheme="https"),
    "tls-wrong-name": Row(shows("wrong_name"), scheme="https"),
    "tls-expired": Row(shows("expired"), scheme="https"),
    "tls-reset": Row(wire(TcpFault(reset=300)), scheme="https"),
    "tls-corrupted-greeting": Row(wire(TcpFault(corrupt=300)), scheme="https"),
    "tls-corrupted": Row(wire(TcpFault(corrupt=1500)), scheme="https"),
    "tls-cut": Row(wire(TcpFault(cut=1500)), scheme="https"),
    "refused": Row(wire(TcpFault(refuse=True))),
    "blackhole": Row(wire(TcpFault(blackhole=True)), hasty=True, brief=True),
    "garbage": Row(wire(TcpFault(garbage=b"SSH-2.0-OpenSSH_9.2\r\n"))),
    "reset": Row(wire(TcpFault(reset=300))),
    "cut-by-the-wire": Row(wire(TcpFault(cut=300))),
    "half-closed": Row(wire(TcpFault(half_close=300))),
    # A page has no digest, and METADATA may be read from another part of the wheel: what guards them is TLS.
    "corrupted": Row(wire(TcpFault(corrupt=2500)), subjects=("file",)),
    "trickle": Row(wire(TcpFault(rate=20)), hasty=True, brief=True),
    "slow": Row(wire(TcpFault(latency=0.02, rate=8_000_000)), harmless=ALL, stale=False, brief=True),
    "hang-after-the-head": Row(answers(Fault("hang", after=0)), hasty=True, brief=True),
    "hang-in-the-middle": Row(answers(Fault("hang")), hasty=True),
    "cut": Row(answers(Fault("cut"))),
    "cut-at-once": Row(answers(Fault("cut", after=0))),
    "cut-chunked": Row(answers(Fault("cut-chunked"))),
    # Another answer than what was asked for.
    "500": Row(answers(Fault("status", status=500))),
    "503": Row(answers(Fault("status", status=503, retry_after=7))),
    "403": Row(answers(Fault("status", status=403))),
    "404-of-a-listed-file": Row(answers(Fault("status", status=404)), subjects=("file", "metadata")),
    "304-to-what-it-never-told": Row(answers(Fault("status", status=304)), etags=False),
    "html": Row(answers(Fault("html"))),
    "empty": Row(raw(b"")),
    "no-json": Row(raw(b'{"meta": {'), subjects=("page",)),
    "other-json": Row(raw(b'{"message": "try later"}', "application/json"), subjects=("page",)),
    "other-version": Row(raw(b'{"meta":{"api-version":"2.0"},"name":"x","files":[]}'), subjects=("page",)),
    "no-types": Row(without_types, harmless=ALL, stale=False),
    "redirect-loop": Row(redirects(lambda _, path: path)),
    "redirect-to-foreign": Row(to_canary("http://127.0.0.1:{port}{path}")),
    "redirect-to-private": Row(to_canary("https://[::ffff:127.0.0.1]:{port}{path}")),
    "redirect-to-decimal": Row(to_canary("http://2130706433:{port}{path}")),
    "redirect-to-link-local": Row(redirects(lambda *_: "http://169.254.169.254/latest/meta-data/")),
    "redirect-to-disk": Row(redirects(lambda *_: "file:///etc/passwd")),
    "redirect-to-private-name": Row(to_canary(f"https://{FOREIGN}:{{port}}{{path}}")),
    "links-foreign": Row(links_to_canary("http://127.0.0.1:{port}"), subjects=("file", "metadata"), listed=True),
    "links-private": Row(links_to_canary(f"https://{FOREIGN}:{{port}}"), subjects=("file", "metadata"), listed=True),
    # Too much of it.
    "bomb": Row(answers(Fault("bomb"))),
    "200-mib": Row(answers(Fault("huge"))),
    "100000-links": Row(links_many, ("page", "file"), harmless=ALL, stale=False, listed=True, brief=True),
    # Other bytes than were told, or nothing told of them.
    "wrong-digest": Row(lists(hashes={"sha256": WRONG}), subjects=("file",), listed=True),
    "changed-digest": Row(changes, subjects=("file",), listed=True),
    "other-bytes": Row(answers(Fault("other")), subjects=("file", "metadata")),
    "short": Row(raw(b"PK", "application/zip"), subjects=("file", "metadata")),
    "lying-etag": Row(same_etag, subjects=("page", "file"), harmless=("page",), stale=False),
    "no-digest": Row(lists(hashes=False), harmless=ALL, stale=False, told=NO_DIGEST, listed=True),
    "no-digest-nor-size": Row(lists(hashes=False, size=False), harmless=ALL, stale=False, told=NOTHING, listed=True),
    "no-digest-cut": Row(answers(Fault("cut")), subjects=("file",), told=NOTHING),
    "no-digest-cut-chunked": Row(answers(Fault("cut-chunked")), subjects=("file",), told=NOTHING),
    "no-digest-html": Row(answers(Fault("html")), subjects=("file",), told=NOTHING),
    "no-digest-empty": Row(raw(b"", "application/zip"), subjects=("file",), told=NOTHING),
    "no-digest-short": Row(raw(b"PK", "application/zip"), subjects=("file",), told=NO_DIGEST),
    # Nothing is wrong but our own clock.
    "clock-a-year-ahead": Row(clock(YEAR), harmless=ALL, stale=False),
    "clock-a-year-behind": Row(clock(-YEAR), harmless=ALL, stale=False),
}


def cases() -> Iterator[Any]:
    """Row, subject, whether it is cached, and in which variant of the world."""
    variants = {"page": ("", "html"), "file": ("", "small"), "metadata": ("", "no-sidecar")}
    for name, row in ROWS.items():
        for subject in row.subjects:
            for cached in (True, False):
                for variant in ("",) if cached or row.brief else variants[subject]:
                    words = (name, subject, "cached" if cached else "uncached", variant)
                    yield pytest.param(row, subject, cached, variant, id="-".join(word for word in words if word))


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Scheme], World]]:
    """A world of each scheme, made when it is first needed."""
    made: dict[Scheme, World] = {}
    with ExitStack() as stack:

        def world_of(scheme: Scheme) -> World:
            if scheme not in made:
                made[scheme] = stack.enter_context(World(tmp_path_factory.mktemp("faults"), scheme))
            return made[scheme]

        yield world_of


@pytest.fixture
def world(worlds: Callable[[Scheme], World]) -> Iterator[World]:
    world = worlds("http")
    yield world
    world.heal()


@pytest.mark.parametrize(("row", "subject", "cached", "variant"), list(cases()))
def test_fault(worlds: Callable[[Scheme], World], row: Row, subject: Subject, cached: bool, variant: str) -> None:
    world = worlds(row.scheme)
    world.upstream.style = "html" if variant == "html" else "json"
    world.upstream.etags = row.etags
    told = row.told or (Options() if variant == "no-sidecar" else None)
    package = world.add(SMALL if variant == "small" else LARGE, told)
    try:
        if cached:
            before = [package.file(".metadata"), package.file(), package.page()]
            assert [answer.status for answer in before] == [200, 200, 200]
            world.later()
            world.upstream.etags = False  # else its answer could be 304, which has no body to be wrong
            world.controls.hasty = row.hasty
            for each in row.subjects:
                row.begin(package, each)
            check_cached(package, subject, before[-1], stale=row.stale)
        else:
            if row.listed:
                row.begin(package, subject)
            if subject != "page":
                assert package.page().status == 200
            world.controls.hasty = row.hasty
            if not row.listed:
                row.begin(package, subject)
            if subject in row.harmless:
                check_right(package)
            else:
                check_refused(package, subject)
    finally:
        world.heal()
        package.publish()
    check_recovery(package)
    assert world.canary.connections == []


def check_cached(package: Package, subject: Subject, before: Answer, *, stale: bool) -> None:
    """It is served, whole, as it was."""
    if subject != "page":
        sought = (package.file(), package.data) if subject == "file" else (package.file(".metadata"), package.metadata)
        assert_right(*sought)
        return
    answer = package.page()
    assert answer.status == 200
    assert package.filename in [each["filename"] for each in answer.json()["files"]]
    if stale:
        until(lambda: "X-Caseus-Stale" in package.page().headers)
        answer = package.page()
        assert answer.body == before.body
        assert answer.headers["X-Caseus-Stale"] == "1"
        assert int(answer.headers["Age"]) >= TTL
        assert answer.headers["Cache-Control"] == "max-age=0"


def check_right(package: Package) -> None:
    """Everything is served, though nothing is cached."""
    files = package.page().json()["files"]
    assert package.filename in [each["filename"] for each in files]
    assert_right(package.file(), package.data)
    assert_right(package.file(".metadata"), package.metadata)


def assert_right(answer: Answer, expected: bytes) -> None:
    assert (answer.status, answer.whole) == (200, True), f"{answer.status} {answer.reason}, {len(answer.body)} bytes"
    assert answer.body == expected


def check_refused(package: Package, subject: Subject) -> None:
    """Where the page can't be had, nobody can say which files there are: neither is 404."""
    asks: list[Callable[[], Answer]] = [package.page] if subject == "page" else []
    if subject != "metadata":
        asks += [package.file, partial(package.file, wanted="1000-1999"), partial(package.file, wanted="-10")]
    asks += [partial(package.file, ".metadata")] if subject != "file" else []
    for answer in at_once(asks):
        if subject == "file" and answer.status == 200:
            assert not answer.whole, "a wrong file ended as if it were whole"
            assert len(answer.body) <= len(package.data) - HELD_BACK
        else:
            assert_upstream_failed(answer)
    assert subject == "metadata" or not package.stored()


def assert_upstream_failed(answer: Answer) -> None:
    assert answer.status in (502, 504), f"{answer.status} {answer.reason}"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "upstream" in answer.headers["X-Error-Message"]
    assert answer.reason == answer.headers["X-Error-Message"]
    assert answer.headers["Cache-Control"] == "no-store"


def check_recovery(package: Package) -> None:
    """All who come back at once get what is right, and the upstream meets one request for each thing."""
    before = package.asked()
    whats = {"page": None, "": package.data, ".metadata": package.metadata}
    returning = list(whats) * (CLIENTS // len(whats))
    answers = at_once([package.page if what == "page" else partial(package.file, what) for what in returning])
    for what, answer in zip(returning, answers, strict=True):
        expected = whats[what]
        if expected is not None:
            assert_right(answer, expected)
        assert answer.status == 200, f"{answer.status} {answer.reason}"
    until(lambda: "X-Caseus-Stale" not in package.page().headers)
    (listed,) = package.page().json()["files"]
    assert listed["hashes"] == {"sha256": sha256(package.data)}
    asked = package.asked() - before
    assert not asked or max(asked.values()) == 1, f"{CLIENTS} clients made {dict(asked)} requests"


# What a matrix doesn't show.


def test_404_only_where_the_upstream_says_so(world: World) -> None:
    package = world.add()
    unknown = [f"{world.server.url}simple/nobody-has-this/", f"{world.server.url}simple/nobody-has-this/x-1.0.zip"]
    not_listed = f"{world.server.url}simple/{package.name}/{package.name}-9.9-py3-none-any.whl"
    world.wire.down()
    for url in (*unknown, not_listed):
        assert_upstream_failed(ask(url))
    world.heal()
    for url in (*unknown, not_listed, f"{not_listed}.metadata"):
        assert ask(url).status == 404
    world.wire.down()
    world.later()  # and its word is too old to be believed
    for url in unknown:
        assert_upstream_failed(ask(url))


def test_an_older_page_is_enough_to_fetch_a_file(world: World) -> None:
    package = world.add()
    assert package.page().status == 200
    world.later()
    world.upstream.fail(Fault("status", status=500), package.page_path)
    assert_right(package.file(), package.data)
    assert_right(package.file(".metadata"), package.metadata)


def test_who_is_down_is_left_alone(world: World) -> None:
    """However many ask: few connections are tried, then one when it may be back, and each page is asked for once."""
    packages = [world.add(SMALL) for _ in range(CLIENTS)]
    world.wire.fail(TcpFault(refuse=True))
    for answer in at_once([package.page for package in packages]):
        assert_upstream_failed(answer)
    tried = world.wire.accepted
    for answer in at_once([package.page for package in packages]):
        assert_upstream_failed(answer)
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
    assert world.wire.accepted == tried
    world.later(10)
    for answer in at_once([package.page for package in packages]):
        assert_upstream_failed(answer)
    assert 1 <= world.wire.accepted - tried <= 2  # one request, which is tried twice
    world.wire.heal()
    world.later(10)
    until(lambda: {answer.status for answer in at_once([package.page for package in packages])} == {200})
    assert [package.asked() for package in packages] == [{"page": 1}] * CLIENTS


def test_slow_file_arrives(world: World) -> None:
    gate = threading.Event()
    package = world.add()
    world.upstream.fail(Fault("slow", gate=gate), package.file_path)
    with ThreadPoolExecutor(2) as pool:
        downloads = [pool.submit(package.file) for _ in range(2)]
        world.upstream.wait_for(package.file_path)
        gate.set()
        for download in downloads:
            assert_right(download.result(), package.data)
    assert world.upstream.count(package.file_path) == 1


@pytest.mark.parametrize("kind", ["bomb", "huge"])
def test_a_page_without_end_takes_little_memory(world: World, kind: Literal["bomb", "huge"]) -> None:
    package = world.add()
    world.upstream.fail(Fault(kind, after=1 << 30), package.page_path)
    world.upstream.forget()
    assert world.server_peak(lambda: assert_upstream_failed(package.page())) < 256 << 20
    assert world.upstream.sent < 128 << 20  # of a GiB


def test_a_clock_set_back_does_not_keep_pages_fresh(world: World) -> None:
    """A page that was fetched "in a year" is asked for again now, and not in a year."""
    package = world.add()
    world.misdate(YEAR)
    assert package.page().status == 200
    world.misdate(0)
    package.publish(make_sdist(package.name, "2.0"))
    until(lambda: len(package.page().json()["files"]) == 2)


@pytest.mark.parametrize("seconds", [YEAR, -YEAR], ids=["ahead", "behind"])
def test_a_wrong_clock_while_the_upstream_is_down(world: World, seconds: float) -> None:
    package, other = world.add(), world.add()
    assert package.page().status == 200
    assert_right(package.file(), package.data)
    world.misdate(seconds)
    world.wire.down()
    for _ in range(2):
        page = package.page()
        assert (page.status, page.headers["X-Caseus-Stale"]) == (200, "1")
        assert int(page.headers["Age"]) >= 0
        assert_right(package.file(), package.data)
        assert_right(package.file(".metadata"), package.metadata)
        assert_upstream_failed(other.page())


def test_a_changed_file_is_not_taken_for_the_one_that_was_seen(world: World) -> None:
    """The first digest binds, also when the bytes are no longer cached: the page tells it, other bytes are refused."""
    package = world.add()
    assert_right(package.file(), package.data)
    (stored,) = world.server.root.glob(f"fetched/*/{package.name}/{package.filename}")
    stored.unlink()
    other = _inverted(package.data)
    package.publish(data=other, options=replace(package.options, hashes={"sha256": sha256(other)}))
    world.later()
    until(lambda: package.page().status == 200 and world.upstream.count(package.page_path) == 2)
    assert package.page().json()["files"][0]["hashes"] == {"sha256": sha256(package.data)}
    assert_upstream_failed(package.file())


def test_nobody_waits_for_all_who_wait_before_him(world: World) -> None:
    """Thirty ask for files of a project whose page can't be had: each is told so within one time limit, not thirty."""
    package = world.add()
    world.controls.hasty = True
    world.upstream.fail(Fault("hang"), package.page_path)
    for answer in at_once([package.file] * 30):
        assert_upstream_failed(answer)


@pytest.mark.slow
def test_upstream_that_hangs(world: World) -> None:
    """With the time limits that people get: 504 for what is not cached; what is is served, and nothing else waits."""
    page, file, cached = world.add(), world.add(), world.add()
    assert file.page().status == cached.page().status == 200
    world.later()
    assert file.page().status == 200
    world.upstream.etags = False  # a 304 would have no body to wait for
    paths = (page.page_path, file.file_path, cached.page_path)
    seen = [world.upstream.count(path) for path in paths]
    for path in paths:
        world.upstream.fail(Fault("hang"), path)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(ask_) for ask_ in (page.page, file.file, cached.page)]
        for path, count in zip(paths, seen, strict=True):
            world.upstream.wait_for(path, count + 1)
        assert ask(f"{world.server.url}livez").status == 200
        assert world.add().page().status == 200
        answers_ = [each.result() for each in waiting]
    assert answers_[0].status == 504
    assert answers_[1].status == 504 or not answers_[1].whole
    assert answers_[2].status == 200
    until(lambda: "X-Caseus-Stale" in cached.page().headers)
