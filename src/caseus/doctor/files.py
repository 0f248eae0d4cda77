"""Files: the right bytes, whole and in parts, with nothing done to them on the way (RFC 9110 section 14)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from caseus.doctor.exchange import Exchange
from caseus.doctor.page import Entry
from caseus.doctor.sidecars import matches
from caseus.doctor.verdicts import Verdict, fail, ok, quoted, skip, warn
from caseus.doctor.visit import Visit

_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\Z")
_PART = 16
_RANGES = "answer Range by 206: without it uv downloads wheels whole, and nothing that broke off can be resumed"
_GZIP = "send files as they are: clients would undo the coding, and no digest would fit"


def digest(visit: Visit) -> Iterator[Verdict]:
    """A small wheel and a small sdist are downloaded and compared with their pages."""
    yield from _none(visit)
    for entry in visit.samples:
        answer = visit.whole(entry)
        if answer.status != 200:
            yield fail(answer.said, "serve each file at the URL that the page tells", entry.filename)
        elif answer.cut:
            yield skip("too large to look at", entry.filename)
        elif entry.size is not None and entry.size != len(answer.raw):
            yield fail(
                f"{len(answer.raw)} bytes, and the page tells {entry.size}",
                "tell the size of the bytes that are served",
                entry.filename,
            )
        elif not matches(answer.raw, entry.hashes):
            yield fail("another digest than the page tells", "find out who changed which of them", entry.filename)
        elif entry.hashes:
            yield ok(f"{len(answer.raw)} bytes", entry.filename)
        else:
            yield skip("no digest to compare with", entry.filename)


def head(visit: Visit) -> Iterator[Verdict]:
    """uv asks by HEAD how long a wheel is, and whether it may have parts of it."""
    for entry, whole in _whole(visit):
        answer = _identity(visit, entry, "HEAD")
        length = answer.header("Content-Length")
        if answer.status != 200:
            yield warn(f"HEAD answers {answer.said}", "answer HEAD as GET, without the body", entry.filename)
        elif not length:
            yield warn("HEAD tells no Content-Length", "tell it: uv asks for it", entry.filename)
        elif length != str(len(whole.raw)):
            yield fail(
                f"HEAD says {quoted(length)} bytes, GET sends {len(whole.raw)}",
                "let both say the same",
                entry.filename,
            )
        elif answer.header("Accept-Ranges").lower() != "bytes":
            yield warn("HEAD does not tell Accept-Ranges: bytes", "tell it: uv asks for it", entry.filename)
        else:
            yield ok("Content-Length, Accept-Ranges", entry.filename)


def ranges(visit: Visit) -> Iterator[Verdict]:
    """The first bytes, the last bytes, and bytes behind the end."""
    for entry, whole in _whole(visit):
        size = len(whole.raw)
        if size <= 2 * _PART:
            continue
        first = _identity(visit, entry, "GET", Range=f"bytes=0-{_PART - 1}")
        if first.status == 200:
            told = first.header("Accept-Ranges").lower() == "bytes"
            text = "Range is answered by the whole file (200)"
            lies = fail(f"{text}, though Accept-Ranges is told", _RANGES, entry.filename)
            yield lies if told else warn(text, _RANGES, entry.filename)
            continue
        yield from _part(entry, whole, first, 0)
        yield from _part(entry, whole, _identity(visit, entry, "GET", Range=f"bytes=-{_PART}"), size - _PART)
        behind = _identity(visit, entry, "GET", Range=f"bytes={size}-")
        if behind.status not in (416, 200):
            yield warn(f"a range behind the end is answered by {behind.said}", "answer 416", entry.filename)
        yield ok("206 with Content-Range", entry.filename)


def resume(visit: Visit) -> Iterator[Verdict]:
    """pip goes on with a broken download by If-Range: of a file that has changed it must get all."""
    for entry, whole in _whole(visit):
        if len(whole.raw) <= _PART:
            continue
        headers = {"Range": f"bytes={_PART}-", "If-Range": '"caseus-doctor"'}
        answer = _identity(visit, entry, "GET", **headers)
        if answer.status == 206:
            yield warn(
                "If-Range with another ETag is answered by a part",
                "answer 200 with the whole file when If-Range does not match: parts of two files would be joined",
                entry.filename,
            )
        else:
            yield ok("the whole file", entry.filename)


def content_type(visit: Visit) -> Iterator[Verdict]:
    """A type that no client or proxy takes for a page."""
    for entry, whole in _whole(visit):
        kind = whole.media_type
        if kind.startswith("text/"):
            yield warn(
                f"labelled {quoted(kind)}: proxies may change text",
                "label files application/octet-stream, application/zip or application/gzip",
                entry.filename,
            )
        else:
            yield ok(f"{quoted(kind) or 'none'}", entry.filename)


def content_coding(visit: Visit) -> Iterator[Verdict]:
    """A .tar.gz is a gzip file, not a tar with a coding that clients undo."""
    for entry, whole in _whole(visit):
        asked = visit.client.ask("HEAD", entry.url, headers={"Accept-Encoding": "gzip, deflate"})
        told = whole.coding or (asked.coding if asked.status == 200 else "")
        if told:
            yield fail(f"sent with Content-Encoding: {quoted(told)}", _GZIP, entry.filename)
        else:
            yield ok("none", entry.filename)


def _whole(visit: Visit) -> Iterator[tuple[Entry, Exchange]]:
    """The samples that could be downloaded."""
    for entry in visit.samples:
        answer = visit.whole(entry)
        if answer.status == 200 and not answer.cut:
            yield entry, answer


def _none(visit: Visit) -> Iterator[Verdict]:
    if not visit.samples:
        yield skip("no files")


def _identity(visit: Visit, entry: Entry, method: str, **headers: str) -> Exchange:
    sent = {"Accept-Encoding": "identity"} | headers
    return visit.client.ask(method, entry.url, headers=sent, limit=max(1 << 20, len(visit.whole(entry).raw)))


def _part(entry: Entry, whole: Exchange, answer: Exchange, start: int) -> Iterator[Verdict]:
    """Whether the answer is `_PART` bytes of the file from `start` on, and says so."""
    size = len(whole.raw)
    if answer.status != 206:
        yield warn(f"Range {start}- is answered by {answer.said}", _RANGES, entry.filename)
        return
    match = _CONTENT_RANGE.match(answer.header("Content-Range"))
    if match is None or match.groups() != (str(start), str(start + _PART - 1), str(size)):
        told = quoted(answer.header("Content-Range")) or "missing"
        yield fail(f"Content-Range is {told}", f"say bytes {start}-{start + _PART - 1}/{size}", entry.filename)
    elif answer.raw != whole.raw[start : start + _PART]:
        yield fail("a range has other bytes than the file", "send the bytes that were asked for", entry.filename)
