"""`caseus doctor` before an index with one fault at a time: it is found, it is named, and nothing else is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import pytest

from caseus.doctor import CHECKS
from support.doctored import (
    Index,
    absolute,
    answers,
    bytes_of,
    doctored,
    document,
    each_file,
    flipped,
    found,
    heard,
    is_file,
    is_page,
    md5_only,
    page,
    post,
    told,
    unknown,
    wheel,
)
from support.front import Answer, Asked, Fault, Forward

JSON = "application/vnd.pypi.simple.v1+json"
ELSEWHERE = "http://elsewhere.example.com/simple/"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with doctored(tmp_path_factory.mktemp("open") / "root", prefix="/python") as index:
        yield index


def never_304(asked: Asked, forward: Forward) -> Answer:
    return forward(asked.with_headers(if_none_match=None) if is_page(asked) else asked)


def changed_since(asked: Asked, forward: Forward) -> Answer:
    """The page has another ETag once it was read."""
    if not is_page(asked):
        return forward(asked)
    coding, known = asked.headers.get("accept-encoding", ""), asked.headers.get("if-none-match", "")
    if known.startswith('"2'):
        return Answer(304)
    return forward(asked.with_headers(if_none_match=None)).with_headers(etag=f'"{2 if known else 1}{len(coding)}"')


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
    Case("changed since it was read", changed_since, {}),
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
