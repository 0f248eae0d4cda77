"""`caseus doctor` before an index with one fault at a time: it is found, it is named, and nothing else is.

The index is a real server behind a proxy that makes the fault.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from caseus.doctor import CHECKS, Login, Report, Request, examine
from support.clients import upload
from support.front import Answer, Asked, Fault, Forward, Front, sound
from support.packages import make_sdist, make_wheel
from support.server import CaseusServer

JSON = "application/vnd.pypi.simple.v1+json"
ELSEWHERE = "http://elsewhere.example.com/simple/"
FILES = [make_wheel("acme-app", "1.0", requires_python=">=3.8"), make_sdist("acme-app", "1.0")]
FILES += [make_wheel("acme-app", f"1.{minor}") for minor in range(1, 12)]  # a page that is worth compressing
FILES += [make_wheel("other", "1.0")]


class Index(NamedTuple):
    """An index to look at, with or without a fault."""

    front: Front
    server: CaseusServer

    def examine(self, fault: Fault = sound, *, login: bool | Login = True, **options: Any) -> Report:
        """`login`: whether by the admin, or by whom else."""
        self.front.fault = fault
        whom = login if isinstance(login, Login) else Login(*self.server.admin) if login else None
        options = {"projects": ("acme-app",), "login": whom, "rounds": 3} | options
        return examine(Request(url=f"{self.front.url}simple/", **options))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    root = tmp_path_factory.mktemp("open") / "root"
    with CaseusServer(root) as server, Front(server.url, prefix="/python") as front:
        for name, data in FILES:
            assert upload(server.url, name, data, login=server.admin).status == 200
        yield Index(front, server)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    root = tmp_path_factory.mktemp("closed") / "root"
    with CaseusServer(root, flags=("--read", "users")) as server, Front(server.url) as front:
        assert upload(server.url, *FILES[0], login=server.admin).status == 200
        yield Index(front, server)


def found(report: Report) -> dict[str, str]:
    """Check to what it says, of all that is wrong: `fail: …`."""
    return {fault.check: f"{fault.result}: {fault.detail}" for fault in report.faults}


# What can be wrong, by where it is.


def is_page(asked: Asked) -> bool:
    return re.fullmatch(r"/simple/[\w.-]+/", asked.path) is not None


def is_file(asked: Asked, ending: str = "") -> bool:
    return re.fullmatch(r"/simple/[\w.-]+/[^/]+", asked.path) is not None and asked.path.endswith(ending)


def answers(when: Callable[[Asked], bool], answer: Answer) -> Fault:
    """That instead of what the index says."""
    return lambda asked, forward: answer if when(asked) else forward(asked)


def told(when: Callable[[Asked], bool], **headers: str | None) -> Fault:
    """Other headers of the answer."""
    return lambda asked, forward: forward(asked).with_headers(**headers) if when(asked) else forward(asked)


def heard(when: Callable[[Asked], bool], **headers: str | None) -> Fault:
    """Other headers of the request."""
    return lambda asked, forward: forward(asked.with_headers(**headers) if when(asked) else asked)


def page(change: Callable[[str], str], form: str = "") -> Fault:
    """Another text of pages, of the one form only if `form` says so."""

    def fault(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        if (
            answer.status != 200
            or not is_page(asked)
            or not answer.body
            or form not in answer.headers.get("content-type", "")
        ):
            return answer
        zipped = answer.headers.get("content-encoding") == "gzip"
        body = gzip.decompress(answer.body) if zipped else answer.body
        body = change(body.decode()).encode()
        return replace(answer, body=gzip.compress(body) if zipped else body)

    return fault


def document(change: Callable[[dict[str, Any]], object]) -> Fault:
    """Another JSON."""

    def changed(text: str) -> str:
        loaded = json.loads(text)
        change(loaded)
        return json.dumps(loaded)

    return page(changed, "json")


def md5_only(text: str) -> str:
    """Of either form: another hash instead of the file's sha256; that of its metadata stays."""
    if not text.startswith("{"):
        return re.sub(r"#sha256=[0-9a-f]+", f"#md5={'0' * 32}", text)
    loaded = json.loads(text)
    for file in loaded["files"]:
        file["hashes"] = {"md5": "0" * 32}
    return json.dumps(loaded)


def each_file(change: Callable[[dict[str, Any]], object]) -> Fault:
    return document(lambda loaded: [change(file) for file in loaded["files"]])


def bytes_of(ending: str, change: Callable[[bytes], bytes]) -> Fault:
    """Other bytes of files."""

    def fault(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        return replace(answer, body=change(answer.body)) if is_file(asked, ending) else answer

    return fault


def flipped(data: bytes) -> bytes:
    return bytes(byte ^ 1 for byte in data)


def absolute(origin: Callable[[], str]) -> Fault:
    def fault(asked: Asked, forward: Forward) -> Answer:
        base = f"{origin()}{asked.path}"
        return page(lambda text: re.sub(r'("url":\s*"|href=")', rf"\g<1>{base}", text))(asked, forward)

    return fault


def never_304(asked: Asked, forward: Forward) -> Answer:
    return forward(asked.with_headers(if_none_match=None) if is_page(asked) else asked)


def one_etag(asked: Asked, forward: Forward) -> Answer:
    known = asked.headers.get("if-none-match") == '"1"'
    return forward(asked).with_headers(etag='"1"') if not (is_page(asked) and known) else Answer(304)


def keeps_no_connection(asked: Asked, forward: Forward) -> Answer:
    return forward(asked).with_headers(connection="close")


def takes_anything(asked: Asked, forward: Forward) -> Answer:
    return Answer(200) if asked.method == "POST" else forward(asked)


def stops_at_wrong_logins(asked: Asked, forward: Forward) -> Answer:
    if asked.method == "GET" and "authorization" in asked.headers:
        return Answer(401, headers={"www-authenticate": "Basic"})
    return forward(asked)


def no_redirect(asked: Asked, forward: Forward) -> Answer:
    answer = forward(asked)
    return Answer(404) if answer.status == 301 else answer


def redirects_elsewhere(asked: Asked, forward: Forward) -> Answer:
    answer = forward(asked)
    return answer.with_headers(location=ELSEWHERE) if answer.status == 301 else answer


def serves_without_slash(asked: Asked, forward: Forward) -> Answer:
    return forward(replace(asked, path=f"{asked.path}/") if asked.path == "/simple/acme-app" else asked)


def plain_reasons(asked: Asked, forward: Forward) -> Answer:
    return replace(forward(asked), reason="")


def no_html(asked: Asked, forward: Forward) -> Answer:
    if is_page(asked) and asked.headers.get("accept", "*/*") in ("text/html", "*/*"):
        return Answer(406)
    return forward(asked)


def unknown(asked: Asked) -> bool:
    return re.fullmatch(r"/simple/caseus-doctor-[0-9a-f]+/", asked.path) is not None


def wheel(asked: Asked) -> bool:
    return is_file(asked, ".whl")


def post(asked: Asked) -> bool:
    return asked.method == "POST"


class Case(NamedTuple):
    name: str
    fault: Fault
    found: dict[str, str]
    """Check to the beginning of what it says; nothing else may be found."""
    login: bool = True


CASES = [
    Case(
        "missing sidecar",
        answers(lambda asked: is_file(asked, ".metadata"), Answer(404)),
        {".metadata": "fail: acme_app-1.0-py3-none-any.whl.metadata, acme_app-1.1"},
    ),
    Case(
        "other sidecar",
        bytes_of(".metadata", lambda data: data + b"\n"),
        {".metadata": "fail: acme_app-1.0-py3-none-any.whl.metadata, acme_app-1.1"},
    ),
    Case(
        "no sidecars",
        each_file(lambda file: [file.pop(key, 0) for key in ("core-metadata", "dist-info-metadata")]),
        {".metadata": "warn: 12 of 12 wheels have no core-metadata", ".metadata in JSON and HTML": "warn: acme-app:"},
    ),
    Case(
        "wrong digest",
        bytes_of(".tar.gz", flipped),
        {"bytes of a file": "fail: acme_app-1.0.tar.gz: another digest than the page tells"},
    ),
    Case(
        "wrong size",
        each_file(lambda file: file.update(size=file["size"] + 1)),
        {"bytes of a file": "fail: acme_app-1"},
    ),
    Case(
        "missing file",
        answers(wheel, Answer(404)),
        {"bytes of a file": "fail: acme_app-1"},
    ),
    Case(
        "HTML only",
        heard(is_page, accept="text/html"),
        {"Accept of pip": "warn: acme-app: HTML only"},
    ),
    Case("JSON only", no_html, {"Accept: text/html": "warn: there is no HTML", "no Accept": "fail: acme-app: 406"}),
    Case(
        "JSON always",
        heard(is_page, accept=JSON),
        {"Accept: text/html": "fail: JSON is sent to who takes only text/html"},
    ),
    Case(
        "q-values ignored",
        lambda asked, forward: heard(lambda a: "q=0.1, text" in a.headers.get("accept", ""), accept=JSON)(
            asked, forward
        ),
        {"Accept with q-values": "warn: JSON is sent though Accept likes text/html better"},
    ),
    Case(
        "wrong label",
        told(lambda asked: is_page(asked) and JSON in asked.headers.get("accept", ""), content_type="text/html"),
        {
            "Accept of pip": "fail: acme-app: labelled text/html, but it is JSON",
        },
    ),
    Case(
        "login page",
        answers(
            lambda asked: asked.path == "/simple/acme-app/",
            Answer(200, headers={"content-type": "text/html"}, body=b"<form><input></form>"),
        ),
        {
            "Accept of pip": "fail: acme-app: the page can't be read: it is an HTML page without files (a login page?)",
            "Accept: text/html": "fail: acme-app: the page can't be read",
            "Accept with q-values": "fail: acme-app: the page can't be read",
            "no Accept": "fail: acme-app: the page can't be read",
            "caching of pages": "warn: acme-app: no Cache-Control",
            "304": "warn: acme-app: neither ETag nor Last-Modified",
        },
    ),
    Case(
        "no type",
        told(is_page, content_type="text/plain"),
        {
            "Accept of pip": "fail: acme-app: Content-Type is text/plain: pip and uv pass the page over",
            "Accept: text/html": "fail: acme-app: Content-Type is text/plain",
            "Accept with q-values": "fail: acme-app: Content-Type is text/plain",
            "no Accept": "fail: acme-app: Content-Type is text/plain",
        },
    ),
    Case(
        "unknown type fails",
        answers(lambda asked: "doctor" in asked.headers.get("accept", ""), Answer(500)),
        {"unknown type in Accept": "warn: an unknown type in Accept is answered by 500"},
    ),
    Case(
        "no HEAD of pages",
        answers(lambda a: is_page(a) and a.method == "HEAD", Answer(405)),
        {"HEAD of a page": "warn: HEAD of a page answers 405"},
    ),
    Case("no Vary", told(is_page, vary=None), {"Vary": "warn: Vary does not name Accept and Accept-Encoding"}),
    Case(
        "no ranges",
        lambda asked, forward: told(is_file, accept_ranges=None)(
            asked, lambda again: heard(is_file, range=None)(again, forward)
        ),
        {"ranges": "warn: acme_app-1", "HEAD of a file": "warn: acme_app-1"},
    ),
    Case("ranges promised", heard(is_file, range=None), {"ranges": "fail: acme_app-1"}),
    Case("wrong ranges", told(is_file, content_range="bytes 1-2/3"), {"ranges": "fail: acme_app-1"}),
    Case("If-Range ignored", heard(is_file, if_range=None), {"If-Range": "warn: acme_app-1"}),
    Case(
        "no HEAD of files",
        answers(lambda a: is_file(a) and a.method == "HEAD", Answer(405)),
        {"HEAD of a file": "warn: acme_app-1"},
    ),
    Case(
        "HEAD tells another length",
        lambda asked, forward: (
            replace(forward(asked), length="7") if is_file(asked) and asked.method == "HEAD" else forward(asked)
        ),
        {"HEAD of a file": "fail: acme_app-1"},
    ),
    Case("files as text", told(is_file, content_type="text/html"), {"type of a file": "warn: acme_app-1"}),
    Case(
        "gzip on sdists",
        told(lambda a: is_file(a, ".tar.gz"), content_encoding="gzip"),
        {"coding of a file": "fail: acme_app-1.0.tar.gz: sent with Content-Encoding: gzip"},
    ),
    Case(
        "403 for unknown",
        answers(unknown, Answer(403)),
        {"unknown project": "fail: a project that nobody has answers 403"},
    ),
    Case(
        "fallback",
        answers(unknown, Answer(302, headers={"location": ELSEWHERE})),
        {"unknown project": "warn: a project that nobody has is redirected to http://elsewhere.example.com/"},
    ),
    Case(
        "500 for unknown",
        answers(unknown, Answer(500)),
        {"unknown project": "fail: a project that nobody has answers 500"},
    ),
    Case(
        "page for unknown",
        lambda asked, forward: forward(replace(asked, path="/simple/other/")) if unknown(asked) else forward(asked),
        {"unknown project": "warn: a project that nobody has is a page (200)"},
    ),
    Case(
        "200 for unknown files",
        answers(lambda a: "caseus_doctor" in a.path, Answer(200)),
        {"unknown file": "warn: a file that nobody has answers 200"},
    ),
    Case(
        "no redirects",
        no_redirect,
        {
            "missing slash": "warn: the URL without its last slash answers 404",
            "unnormalised name": "warn: the name spelled ACME_APP answers 404",
        },
    ),
    Case(
        "redirects elsewhere",
        redirects_elsewhere,
        {
            "missing slash": "fail: the URL without its last slash is redirected to http://elsewhere.example.com/",
            "unnormalised name": "fail: the name spelled ACME_APP is redirected to http://elsewhere",
        },
    ),
    Case(
        "no slash served",
        serves_without_slash,
        {"missing slash": "fail: the URL without its last slash is served as it is"},
    ),
    Case("no size", each_file(lambda file: file.pop("size")), {"size": "warn: 13 of 13 files have no size"}),
    Case(
        "no upload-time",
        each_file(lambda file: file.pop("upload-time")),
        {"upload-time": "warn: 13 of 13 files have no upload-time"},
    ),
    Case(
        "odd upload-time",
        each_file(lambda file: file.update({"upload-time": "2024-01-01"})),
        {"JSON keys": "fail: acme-app: upload-time is not written as"},
    ),
    Case(
        "no api-version",
        document(lambda loaded: loaded.pop("meta")),
        {"JSON keys": "fail: acme-app: meta.api-version is missing"},
    ),
    Case(
        "no versions",
        document(lambda loaded: loaded.pop("versions")),
        {"JSON keys": "fail: acme-app: the key versions is missing"},
    ),
    Case(
        "a version too few",
        document(lambda loaded: loaded["versions"].remove("1.0")),
        {"JSON keys": "fail: acme-app: the key versions lacks those of acme_app-1.0"},
    ),
    Case(
        "unnormalised key",
        document(lambda loaded: loaded.update(name="Acme_App")),
        {"JSON keys": "fail: acme-app: the key name is Acme_App"},
    ),
    Case(
        "no hashes key",
        each_file(lambda file: file.pop("hashes")),
        {
            "JSON keys": "fail: acme-app: hashes is missing",
            "hashes": "fail: 13 of 13 files have no hash",
            "JSON and HTML": "fail",
        },
    ),
    Case(
        "md5 only",
        page(md5_only),
        {"hashes": "warn: 13 of 13 files have no sha256", "bytes of a file": "fail: acme_app-1"},
    ),
    Case(
        "other text",
        page(lambda text: re.sub(r">acme_app-1\.0-py3[^<]*<", ">download<", text), "html"),
        {"HTML anchors": "warn: acme-app: 1 of 13 anchors (acme_app-1.0-py3-none-any.whl) have another text"},
    ),
    Case(
        "a file too few",
        page(lambda text: re.sub(r"<a [^>]*>acme_app-1\.0-py3[^<]*</a>", "", text), "html"),
        {"JSON and HTML": "fail: acme-app: only in one of JSON and HTML: acme_app-1.0-py3"},
    ),
    Case(
        "one more yank",
        each_file(lambda file: file.update(yanked=True)),
        {"JSON and HTML": "fail: acme-app: JSON and HTML differ in hash, yank"},
    ),
    Case(
        "Requires-Python that is none",
        page(lambda text: text.replace(">=3.8", "three").replace("&gt;=3.8", "three")),
        {
            "JSON keys": "warn: acme-app: requires-python can't be read",
            "HTML anchors": "warn: acme-app: requires-python can't be read",
        },
    ),
    Case(
        "signature that is not there",
        each_file(lambda file: file.update({"gpg-sig": True})),
        {"signatures": "fail: acme_app-1"},
    ),
    Case(
        "dead links",
        each_file(lambda file: file.update(url="file:///etc/" + file["filename"])),
        {"links": "fail: links that are no http or https URL"},
    ),
    Case(
        "no Cache-Control of pages",
        told(is_page, cache_control=None),
        {"caching of pages": "warn: acme-app: no Cache-Control"},
    ),
    Case(
        "pages for a day",
        told(is_page, cache_control="max-age=86400"),
        {"caching of pages": "warn: acme-app: max-age=86400"},
    ),
    Case("no-store", told(is_page, cache_control="no-store"), {"caching of pages": "warn: acme-app: no-store"}),
    Case("no Cache-Control of files", told(is_file, cache_control=None), {"caching of files": "warn: acme_app-1"}),
    Case("no ETag", told(is_page, etag=None), {"304": "warn: acme-app: neither ETag nor Last-Modified"}),
    Case("never 304", never_304, {"304": "warn: acme-app: If-None-Match is answered by 200"}),
    Case("one ETag", one_etag, {"gzip": "warn: the gzip variant has the strong ETag"}),
    Case("no gzip", heard(is_page, accept_encoding="identity"), {"gzip": "warn: a page of "}),
    Case(
        "gzip always", heard(is_page, accept_encoding="gzip"), {"gzip": "fail: identity is asked for, and gzip is sent"}
    ),
    Case(
        "connections closed",
        keeps_no_connection,
        {"speed of a page": "warn: the connection is not kept: 3 more for 3"},
    ),
    Case(
        "logins looked at",
        stops_at_wrong_logins,
        {"reading with a wrong login": "warn: everybody may read, but a wrong login answers 401"},
        login=False,
    ),
    Case("no challenge to uploads", told(post, www_authenticate=None), {"upload without login": "fail: 401 at "}),
    Case(
        "uploads taken unseen",
        takes_anything,
        {
            "upload without login": "fail: an upload by nobody, without a file, is answered by 200",
            "invalid upload": "fail: an upload without a file is answered by 200",
        },
    ),
    Case(
        "uploads fail",
        answers(post, Answer(500)),
        {
            "upload without login": "fail: an upload by nobody is answered by 500",
            "invalid upload": "fail: an upload without a file is answered by 500",
        },
    ),
    Case(
        "uploads moved",
        answers(post, Answer(308, headers={"location": "/"})),
        {"upload without login": "warn: ", "invalid upload": "fail: "},
    ),
    Case("plain reasons", plain_reasons, {"invalid upload": "warn: an upload without a file is refused by 400"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_fault_is_found_and_nothing_else(opened: Index, case: Case) -> None:
    faults = found(opened.examine(case.fault, login=case.login))
    assert faults.keys() == case.found.keys(), faults
    for check, beginning in case.found.items():
        assert faults[check].startswith(beginning), faults[check]


def test_no_false_alarm(opened: Index) -> None:
    report = opened.examine()
    assert found(report) == {}
    assert [finding.check for finding in report.findings] == [check.name for check in CHECKS]
    assert report.projects == ("acme-app",)


# What needs more than one case of a table.


def test_absolute_links(opened: Index) -> None:
    faults = found(opened.examine(absolute(lambda: opened.front.origin + "/python")))
    assert faults.keys() == {"links"}
    assert faults["links"].startswith("warn: absolute http links: 13 of 13 files, such as acme_app-1.0-py3")


def test_links_that_lose_the_prefix(opened: Index) -> None:
    faults = found(opened.examine(absolute(lambda: "")))
    assert faults["links"].startswith("warn: links leave the prefix /python/")
    assert faults["bytes of a file"].startswith("fail: acme_app-1")


def challenge(header: str | None, status: int = 401) -> Fault:
    def fault(asked: Asked, forward: Forward) -> Answer:
        answer = forward(asked)
        if answer.status != 401 or asked.method == "POST":
            return answer
        return replace(answer, status=status, reason="").with_headers(www_authenticate=header, location="/login/")

    return fault


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (challenge(None), "a page: 401 with WWW-Authenticate missing"),
        (challenge("Bearer"), "a page: 401 with WWW-Authenticate Bearer"),
        (challenge("Basic", 403), "a page: 403 Forbidden without login: pip and uv ask for none then"),
        (challenge("Basic", 302), "a page: 302 Found without login: a login page is no page for pip"),
    ],
    ids=["no challenge", "bearer only", "403", "login page"],
)
def test_closed_without_a_right_challenge(closed: Index, fault: Fault, words: str) -> None:
    assert found(closed.examine(fault))["reading without login"] == f"fail: {words}"


def test_closed_is_no_fault(closed: Index) -> None:
    report = closed.examine()
    assert found(report) == {}
    assert report.unseen is None


def test_closed_shows_nothing_to_nobody(closed: Index) -> None:
    report = closed.examine(login=False)
    assert found(report) == {}
    assert {finding.check for finding in report.findings} == {
        "TLS", "reading without login", "unknown names without login"
    }  # fmt: skip
    assert report.unseen is not None and "give --user" in report.unseen


def test_closed_with_a_wrong_login(closed: Index) -> None:
    report = closed.examine(login=Login("admin", "not the password"))
    assert report.unseen is not None and "refuses these credentials" in report.unseen
    assert "not the password" not in report.unseen


def anonymous(asked: Asked) -> bool:
    return "authorization" not in asked.headers and asked.method != "POST"


@pytest.mark.parametrize("what", ["files", "names", "caches", "wrong logins"])
def test_closed_with_a_leak(closed: Index, what: str) -> None:
    user, password = closed.server.admin
    key = Login(user, password).header
    faults: dict[str, tuple[Fault, dict[str, str]]] = {
        "files": (
            heard(lambda a: anonymous(a) and is_file(a, ".whl"), authorization=key),
            {"files without login": "warn: acme_app-1.0-py3-none-any.whl: downloaded without login"},
        ),
        "names": (
            answers(lambda a: anonymous(a) and unknown(a), Answer(404)),
            {"unknown names without login": "warn: a project that nobody has answers 404"},
        ),
        "caches": (told(is_page, cache_control="public, max-age=60"), {"caching of pages": "fail: acme-app: public"}),
        "wrong logins": (
            heard(lambda a: not anonymous(a) and not post(a), authorization=key),
            {"reading with a wrong login": "fail: a wrong login is shown the page"},
        ),
    }
    fault, expected = faults[what]
    seen = found(closed.examine(fault))
    assert seen.keys() == expected.keys()
    assert all(seen[check].startswith(words) for check, words in expected.items()), seen


# Uploads that are asked for.


class Tick:
    """A clock that gives each upload a version of its own."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        Tick.now += 1
        return Tick.now


def test_an_upload_that_is_asked_for(opened: Index) -> None:
    report = opened.examine(upload=True, clock=Tick())
    assert found(report) == {}
    assert next(finding for finding in report.findings if finding.check == "upload").detail.endswith("never replaced")


def test_nothing_is_published_unasked(opened: Index) -> None:
    opened.front.asked.clear()
    opened.examine()
    posted = [asked for asked in opened.front.asked if asked.method == "POST"]
    assert posted
    assert not any(b'name="content"' in asked.body for asked in posted)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (answers(lambda a: post(a) and b"content" in a.body, Answer(418)), "fail: a sound wheel is refused: 418"),
        (
            lambda asked, forward: replace(answer, status=200) if (answer := forward(asked)).status == 409 else answer,
            "fail: other bytes under a used name are taken: 200",
        ),
        (
            lambda asked, forward: (
                (replace(answer, status=200) if b"0" * 64 in asked.body else answer)
                if (answer := forward(asked))
                else answer
            ),
            "fail: an upload with a wrong sha256_digest is taken: 200",
        ),
        (
            answers(lambda asked: asked.path == "/simple/caseus-doctor-throwaway/", Answer(404)),
            "warn: caseus_doctor_throwaway-0.18",
        ),
        (
            lambda asked, forward: replace(forward(asked), reason="") if b"content" in asked.body else forward(asked),
            "warn: other bytes under a used name are refused by 409 Conflict, without a reason",
        ),
    ],
    ids=["refused", "replaced", "unchecked", "unseen", "unexplained"],
)
def test_an_upload_that_goes_wrong(opened: Index, fault: Fault, words: str) -> None:
    seen = found(opened.examine(fault, upload=True, clock=Tick()))
    assert seen.keys() == {"upload"}
    assert seen["upload"].startswith(words)


def test_who_asks_for_no_login_before_an_upload(opened: Index) -> None:
    user, password = opened.server.admin
    seen = found(opened.examine(heard(post, authorization=Login(user, password).header)))
    assert seen.keys() == {"upload without login"}
    assert seen["upload without login"].startswith("warn: an upload by nobody is not asked for a login: 400 malformed")


def test_an_index_that_takes_no_uploads(opened: Index) -> None:
    report = opened.examine(answers(post, Answer(405)))
    assert found(report) == {}
    told_of_it = {finding.check: finding.detail for finding in report.findings}
    assert told_of_it["upload without login"].startswith("no uploads are taken here: 405 Method Not Allowed at http:")
    assert found(opened.examine(answers(post, Answer(405)), upload=True)).keys() == {"upload"}


# What must not leave the house.


def test_credentials_go_to_the_index_only(opened: Index) -> None:
    with Front(opened.server.url) as stranger:

        def away(asked: Asked, forward: Forward) -> Answer:
            if is_page(asked) or is_file(asked):
                return Answer(302, headers={"location": f"{stranger.origin}{asked.path}"})
            return forward(asked)

        opened.examine(away)
        assert stranger.asked
        assert not [asked for asked in stranger.asked if "authorization" in asked.headers]
        assert [asked for asked in opened.front.asked if "authorization" in asked.headers]


def test_secrets_are_not_told_though_the_index_does(opened: Index) -> None:
    _, password = opened.server.admin

    def echo(asked: Asked, forward: Forward) -> Answer:
        secret = asked.headers.get("authorization", "nobody")
        if asked.method == "POST":
            return Answer(500, f"{secret} and {password}", {"x-error-message": secret})
        return forward(asked)

    report = opened.examine(echo)
    text = repr(report)
    assert "***" in text
    assert password not in text
    assert Login(*opened.server.admin).header.partition(" ")[2] not in text


def test_control_characters_are_not_shown(opened: Index) -> None:
    report = opened.examine(document(lambda loaded: loaded.update(name="\x1b[2Jevil\r\n")))
    assert found(report)["JSON keys"] == "fail: acme-app: the key name is [2Jevil, not the normalised name"
