"""Uploads as twine makes them: who is asked for a login, and what a refusal says. Nothing is published unasked."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final, NamedTuple

from caseus.doctor import throwaway
from caseus.doctor.client import ANONYMOUS, ERROR_LIMIT, Login
from caseus.doctor.exchange import Exchange
from caseus.doctor.page import Entry
from caseus.doctor.verdicts import Verdict, fail, ok, quoted, skip, warn
from caseus.doctor.visit import Visit, look_at
from caseus.upstream.urls import shown

_NOT_HERE: Final = (404, 405, 410, 501)
"""And 403 without a reason, which servers of static files answer."""
_LOGIN = 'answer 401 with WWW-Authenticate: Basic realm="…" to an upload without login'
_REASON = "say in the reason phrase what is wrong: twine prints nothing else"
_INCOMPLETE: Final[Mapping[str, str]] = {
    ":action": "file_upload",
    "protocol_version": "1",
    "metadata_version": "2.1",
    "name": throwaway.PROJECT,
    "version": "0",
    "filetype": "bdist_wheel",
    "pyversion": "py3",
}
"""A form without a file: no index can make anything of it."""


def anonymous(visit: Visit) -> Iterator[Verdict]:
    """An upload by nobody. Without a file, so that it can't succeed where everybody may upload."""
    url, answer = _endpoint(visit)
    if url is None:
        yield ok(f"no uploads are taken here: {answer.said} at {shown(answer.url)}")
    elif answer.status == 401:
        challenge = answer.header("WWW-Authenticate")
        told = f"401 at {shown(url)}"
        yield ok(told) if "basic" in challenge.lower() else fail(f"{told} without WWW-Authenticate: Basic", _LOGIN)
    elif answer.status == 403:
        yield ok(f"{answer.said} at {shown(url)}")
    elif answer.status < 300:
        yield fail(f"an upload by nobody, without a file, is answered by {answer.said}", _LOGIN)
    elif answer.status < 400:
        yield warn(f"{shown(url)} redirects uploads: twine refuses that", "take uploads at the URL that is published")
    elif answer.status < 500:
        yield warn(f"an upload by nobody is not asked for a login: {answer.said} at {shown(url)}", _LOGIN)
    else:
        yield fail(f"an upload by nobody is answered by {answer.said} at {shown(url)}", _LOGIN)


def invalid(visit: Visit) -> Iterator[Verdict]:
    """The same by somebody: refused, and for which reason."""
    url, _ = _endpoint(visit)
    if url is None:
        yield skip("no uploads are taken here")
        return
    if not visit.logged_in:
        yield skip("no credentials: give --user and --password-stdin")
        return
    answer = _post(visit, url, _INCOMPLETE)
    if answer.status in (401, 403):
        yield fail(f"these credentials may not upload: {answer.said}", "give those of somebody who may")
    elif answer.status >= 500:
        yield fail(f"an upload without a file is answered by {answer.said}", "answer 400 and the reason")
    elif answer.status < 400:
        yield fail(f"an upload without a file is answered by {answer.said}", "check uploads")
    elif _is_plain(answer):
        yield warn(f"an upload without a file is refused by {answer.said}, without a reason", _REASON)
    else:
        yield ok(quoted(answer.said))


def published(visit: Visit) -> Iterator[Verdict]:
    """Only if it was asked for: a tiny package is published, looked for, and published again in other ways."""
    if not visit.request.upload:
        yield skip("nothing was published: --upload does it")
        return
    url, answer = _endpoint(visit)
    if url is None:
        yield fail(f"no uploads are taken here: {answer.said}", "give the right --upload-url")
        return
    version = f"0.{int(visit.request.clock())}"
    first = throwaway.wheel(version)
    answer = _upload(visit, url, first)
    if answer.status >= 300:
        yield fail(f"a sound wheel is refused: {answer.said}", "look at the server's log")
        return
    yield from _seen(visit, first)
    yield from _repeated(visit, url, first)
    yield from _damaged(visit, url, f"{version}.1")
    yield ok(f"{first.filename}: published, listed at once, never replaced")


def _seen(visit: Visit, package: throwaway.Package) -> Iterator[Verdict]:
    """A release should be there for the next install."""
    entry = _listed(visit, package.filename)
    if entry is None:
        yield warn(f"{package.filename} is not listed by the next request", "show uploads at once")
        return
    answer = visit.client.ask("GET", entry.url, headers={"Accept-Encoding": "identity"})
    if answer.status != 200 or answer.raw != package.data:
        yield fail(
            f"{package.filename} comes back otherwise than it was sent: {answer.said}", "keep the bytes as they are"
        )


def _repeated(visit: Visit, url: str, package: throwaway.Package) -> Iterator[Verdict]:
    """The same again, as a retried job does it, and then other bytes under the name."""
    again = _upload(visit, url, package)
    if again.status not in (200, 409) and "exist" not in (again.reason + again.raw.decode("utf-8", "replace")).lower():
        yield warn(f"the same upload again is answered by {again.said}", "answer 200, or 409 with: File already exists")
    other = throwaway.wheel(package.version, content=secrets.token_hex(8))
    answer = _upload(visit, url, other)
    if answer.status < 300:
        yield fail(
            f"other bytes under a used name are taken: {answer.said}",
            "refuse them (409): locks and caches hold the digest of the first; of pypiserver: no --overwrite",
        )
    elif _is_plain(answer):
        yield warn(f"other bytes under a used name are refused by {answer.said}, without a reason", _REASON)


def _damaged(visit: Visit, url: str, version: str) -> Iterator[Verdict]:
    """A file that does not have the digest that the form tells."""
    package = throwaway.wheel(version)
    answer = _upload(visit, url, package, digest="0" * 64)
    if answer.status < 300:
        yield fail(f"an upload with a wrong sha256_digest is taken: {answer.said}", "compare the digests of the form")


class _Found(NamedTuple):
    url: str | None
    """None: uploads are taken nowhere; `answer` is the first refusal."""
    answer: Exchange


def _endpoint(visit: Visit) -> _Found:
    """Where uploads are taken, and what nobody is told there: the first place that knows POST."""
    refusals = []
    for url in _candidates(visit):
        answer = _post(visit, url, _INCOMPLETE, login=ANONYMOUS)
        if answer.status not in _NOT_HERE and not (answer.status == 403 and _is_plain(answer)):
            return _Found(url, answer)
        refusals.append(answer)
    return _Found(None, refusals[0])


def _candidates(visit: Visit) -> list[str]:
    """That which was given; else beside the list of projects, at it, above it (Warehouse, devpi, pypiserver)."""
    if visit.request.upload_url is not None:
        return [visit.request.upload_url]
    above = visit.base.rstrip("/").rpartition("/")[0] + "/"
    return [f"{above}legacy/", visit.base, above]


def _listed(visit: Visit, filename: str) -> Entry | None:
    subject = look_at(visit.client, visit.base, throwaway.PROJECT)
    entries = subject.page.entries if subject is not None and subject.page is not None else ()
    return next((entry for entry in entries if entry.filename == filename), None)


def _upload(visit: Visit, url: str, package: throwaway.Package, digest: str | None = None) -> Exchange:
    fields = {**_INCOMPLETE, "version": package.version, "sha256_digest": digest or package.sha256}
    return _post(visit, url, fields, package)


def _post(
    visit: Visit,
    url: str,
    fields: Mapping[str, str],
    package: throwaway.Package | None = None,
    login: Login | None = None,
) -> Exchange:
    body, content_type = throwaway.form(fields, package)
    return visit.client.ask(
        "POST", url, headers={"Content-Type": content_type}, body=body, limit=ERROR_LIMIT, login=login, follow=False
    )


def _is_plain(answer: Exchange) -> bool:
    """The reason phrase says no more than the status does."""
    try:
        plain = HTTPStatus(answer.status).phrase
    except ValueError:
        plain = ""
    return answer.reason.strip().lower() in ("", plain.lower())
