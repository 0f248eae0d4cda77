"""What pages say: keys of the JSON (PEP 691, 700), anchors of the HTML (PEP 503), hashes and links."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from caseus import names
from caseus.doctor.page import Entry, Page, last_part
from caseus.doctor.verdicts import Verdict, fail, ok, quoted, skip, some, warn
from caseus.doctor.visit import Subject, Visit
from caseus.errors import Invalid
from caseus.upstream.urls import origin_of

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z\Z", re.ASCII)  # PEP 700
_HEX = re.compile(r"[0-9a-f]+\Z")
_STRONG = ("sha256", "sha384", "sha512")
_LOCAL = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|::1|0\.0\.0\.0)\Z")


def json_keys(visit: Visit) -> Iterator[Verdict]:
    """What PEP 691 and 700 say that must be there, and in which shape."""
    pages = [(subject, subject.json) for subject in visit.subjects if subject.json is not None]
    if not pages:
        yield skip("no JSON")
        return
    for subject, page in pages:
        for fault in _document_faults(subject, page):
            yield fail(f"{fault}", "see PEP 691 and PEP 700", subject.name)
        yield from _entries_faults(subject.name, page)
    yield ok(f"api-version {pages[0][1].version}, {sum(len(page.entries) for _, page in pages)} files")


def html_anchors(visit: Visit) -> Iterator[Verdict]:
    """PEP 503: the anchor's text must match the last part of its link."""
    pages = [(subject, subject.html) for subject in visit.subjects if subject.html is not None]
    if not pages:
        yield skip("no HTML")
        return
    for subject, page in pages:
        odd = [entry for entry in page.entries if entry.text != last_part(entry.url)]
        if odd:
            yield warn(
                f"{_of(odd, page)} another text than the last part of its link",
                "write the filename, and nothing else, between <a> and </a>",
                subject.name,
            )
        if page.version is not None and not page.version.startswith("1."):
            yield fail(f"pypi:repository-version is {quoted(page.version)}", "say 1.x", subject.name)
        yield from _requires_python(subject.name, page)
    yield ok(f"{sum(len(page.entries) for _, page in pages)} anchors")


def agreement(visit: Visit) -> Iterator[Verdict]:
    """Both forms must tell the same, else two clients install different things."""
    both = [(subject, subject.json, subject.html) for subject in visit.subjects if subject.json and subject.html]
    if not both:
        yield skip("one form only")
        return
    for subject, json, html in both:
        if json is None or html is None:
            continue
        left, right = ({entry.filename: entry for entry in page.entries} for page in (json, html))
        if lonely := sorted(left.keys() ^ right.keys()):
            yield fail(f"only in one of JSON and HTML: {some(lonely)}", "list the same in both", subject.name)
        differing = [name for name in left.keys() & right.keys() if _told(left[name]) != _told(right[name])]
        if differing:
            yield fail(
                f"JSON and HTML differ in hash, yank or Requires-Python: {some(sorted(differing))}",
                "tell the same in both",
                subject.name,
            )
    yield ok("JSON and HTML tell the same")


def hashes(visit: Visit) -> Iterator[Verdict]:
    """Without one, nobody notices a damaged or exchanged file."""
    entries = [entry for _, entry in visit.entries]
    none = [entry.filename for entry in entries if not entry.hashes]
    weak = [entry.filename for entry in entries if entry.hashes and not any(kind in entry.hashes for kind in _STRONG)]
    odd = [entry.filename for entry in entries if not all(_HEX.match(digest) for digest in entry.hashes.values())]
    if none:
        yield fail(f"{len(none)} of {len(entries)} files have no hash: {some(none)}", "tell sha256 of every file")
    if weak:
        yield warn(f"{len(weak)} of {len(entries)} files have no sha256: {some(weak)}", "tell sha256 of every file")
    if odd:
        yield fail(f"a hash is not lower-case hexadecimal: {some(odd)}", "write digests as hex digits")
    yield ok(f"{len(entries)} files with sha256 or better") if entries else skip("no files")


def sizes(visit: Visit) -> Iterator[Verdict]:
    """PEP 700: `size` "MUST be present" from API version 1.1 on."""
    yield from _present(visit, "size", "tell the size in bytes of every file (PEP 700)", "{} no size")


def upload_times(visit: Visit) -> Iterator[Verdict]:
    """pip and uv leave out what is too new, or refuse where they can't know."""
    mend = "tell upload-time (PEP 700): without it pip --uploaded-prior-to ends, uv --exclude-newer drops the file"
    yield from _present(visit, "upload-time", mend, "{} no upload-time")


def links(visit: Visit) -> Iterator[Verdict]:
    """Links that hold behind a proxy with TLS, another name or a prefix."""
    entries = [entry for _, entry in visit.entries]
    if not entries:
        yield skip("no files")
        return
    own = origin_of(visit.base)
    relative = 0
    plain, local, dead = [], [], []
    for entry in entries:
        if not entry.url:
            dead.append(entry.filename)
            continue
        origin = origin_of(entry.url)
        if not urlsplit(entry.href).netloc:
            relative += 1
        elif _LOCAL.match(origin.host) and not _LOCAL.match(own.host):
            local.append(f"{entry.filename} at {origin.authority}")
        elif origin.scheme == "http":
            plain.append(f"{entry.filename} at {origin.authority}")
    if dead:
        yield fail(
            f"links that are no http or https URL: {some(dead)}", "link every file by a URL, best a relative one"
        )
    if local:
        yield fail(
            f"links lead to the reader's own machine: {some(local)}", "link relatively, or tell the server its URL"
        )
    if plain:
        worse = own.scheme == "https"
        text = "absolute http links on a page of https" if worse else "absolute http links"
        told = f"{text}: {len(plain)} of {len(entries)} files, such as {some(plain, 1)}"
        mend = (
            "link relatively, or tell the server under which URL clients see it: behind TLS or another name they break"
        )
        yield fail(told, mend) if worse else warn(told, mend)
    yield from _prefix(visit, entries)
    yield ok(f"{relative} of {len(entries)} relative")


def _prefix(visit: Visit, entries: list[Entry]) -> Iterator[Verdict]:
    """Under a prefix, links that begin with a slash must have it too."""
    prefix = urlsplit(visit.base).path.rstrip("/").rpartition("/")[0]
    lost = [e.filename for e in entries if e.href.startswith("/") and not urlsplit(e.url).path.startswith(f"{prefix}/")]
    if prefix and lost:
        yield warn(f"links leave the prefix {prefix}/: {some(lost)}", "link relatively, or tell the server its prefix")


def _present(visit: Visit, key: str, mend: str, what: str) -> Iterator[Verdict]:
    entries = [entry for subject in visit.subjects if subject.json for entry in subject.json.entries]
    if not entries:
        yield skip("no JSON, and HTML can't tell" if visit.entries else "no files")
        return
    missing = [entry.filename for entry in entries if entry.told.get(key) is None]
    if missing:
        text = what.format("file has" if len(missing) == 1 else "files have")
        yield warn(f"{len(missing)} of {len(entries)} {text}: {some(missing)}", mend)
    else:
        yield ok(f"all {len(entries)} files")


def _document_faults(subject: Subject, page: Page) -> Iterator[str]:
    document = page.document
    if page.version is None:
        yield "meta.api-version is missing, or no text"
    elif not re.match(r"1\.\d+\Z", page.version):
        yield f"meta.api-version is {quoted(page.version)}, and clients know 1.x"
    name = document.get("name")
    if name is None:
        yield "the key name is missing"
    elif not isinstance(name, str) or name != subject.url.rstrip("/").rpartition("/")[2]:
        yield f"the key name is {quoted(str(name))}, not the normalised name"
    listed = document.get("files")
    if isinstance(listed, list) and len(page.entries) < len(listed):
        yield f"{len(listed) - len(page.entries)} of {len(listed)} files have no filename or no url"
    if _minor(page) >= 1:
        yield from _versions_faults(page)


def _versions_faults(page: Page) -> Iterator[str]:
    """PEP 700: `versions` must hold those of all files, each once."""
    versions = page.document.get("versions")
    if not isinstance(versions, list):
        yield "the key versions is missing (PEP 700)"
        return
    if len(set(map(str, versions))) < len(versions):
        yield "the key versions holds one twice"
    known = {_version(str(version)) for version in versions}
    project = str(page.document.get("name"))
    stray = [e.filename for e in page.entries if (version := _of_file(project, e.filename)) and version not in known]
    if stray:
        yield f"the key versions lacks those of {some(stray)}"


def _entries_faults(name: str, page: Page) -> Iterator[Verdict]:
    wrong: dict[str, list[str]] = {}
    for entry in page.entries:
        for fault in _entry_faults(entry.told):
            wrong.setdefault(fault, []).append(entry.filename)
    for fault, files in wrong.items():
        yield fail(f"{fault}: {len(files)} of {len(page.entries)} files, such as {some(files, 1)}", "see PEP 691", name)
    yield from _requires_python(name, page)


def _entry_faults(told: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(told.get("hashes"), dict):
        yield "hashes is missing (it may be empty)"
    size, time = told.get("size"), told.get("upload-time")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        yield "size is no whole number"
    if time is not None and not (isinstance(time, str) and _TIME.match(time)):
        yield "upload-time is not written as 2030-01-31T12:00:00.000000Z"
    if not isinstance(told.get("yanked", False), bool | str) or told.get("yanked") == "":
        yield "yanked is neither true, false nor a text"
    for key in ("core-metadata", "dist-info-metadata"):
        if not isinstance(told.get(key, False), bool | dict):
            yield f"{key} is neither true, false nor digests"


def _requires_python(name: str, page: Page) -> Iterator[Verdict]:
    odd = [entry.filename for entry in page.entries if not _is_specifier(entry.told.get("requires-python"))]
    if odd:
        yield warn(f"requires-python can't be read: {some(odd)}", "tell it as METADATA does, or leave it out", name)


def _is_specifier(text: object) -> bool:
    try:
        SpecifierSet(text if isinstance(text, str) else "")
    except InvalidSpecifier:
        return False
    return True


def _minor(page: Page) -> int:
    match = re.match(r"1\.(\d{1,4})\Z", page.version or "")
    return int(match[1]) if match else 0


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        return text


def _of_file(project: str, filename: str) -> str | None:
    """The version of a wheel or sdist of the project; None where it is a guess."""
    try:
        parsed = names.parse_filename(filename)
    except Invalid:
        return None
    return parsed.version if parsed.project == project else None


def _told(entry: Entry) -> tuple[object, ...]:
    """What both forms can say. Of a yank without reason JSON says true, HTML an empty attribute."""
    yanked = entry.told.get("yanked", False)
    is_yanked = yanked is not False if "yanked" in entry.told else False
    return entry.hashes.get("sha256"), is_yanked, entry.told.get("requires-python") or None


def _of(entries: list[Entry], page: Page) -> str:
    return f"{len(entries)} of {len(page.entries)} anchors ({some([e.filename for e in entries], 1)}) have"
