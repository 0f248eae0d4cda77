"""Addresses: redirects that keep what a client needs, and what nobody knows (PEP 503)."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

from caseus.doctor.exchange import Exchange
from caseus.doctor.page import Unreadable, read_page
from caseus.doctor.verdicts import Verdict, fail, ok, skip, warn
from caseus.doctor.visit import PIP, Subject, Visit
from caseus.errors import Invalid
from caseus.upstream.urls import origin_of, shown

_STAY = "redirect relatively, or to the scheme, host and port that the client asked"


def missing_slash(visit: Visit) -> Iterator[Verdict]:
    """PEP 503: "repositories SHOULD redirect the URLs without a / to add a / to the end"."""
    for subject in visit.subjects[:1]:
        answer = visit.client.get(subject.url.rstrip("/"), PIP, follow=False)
        yield from _judged(visit, subject, answer, "the URL without its last slash", "redirect it to the one with /")


def unnormalised(visit: Visit) -> Iterator[Verdict]:
    """PEP 503 lets an index redirect other spellings of a name, which people and old clients use."""
    for subject in visit.subjects:
        name = subject.url.rstrip("/").rpartition("/")[2]
        spelled = name.upper().replace("-", "_")
        if spelled != name:
            answer = visit.client.get(f"{visit.base}{spelled}/", PIP, follow=False)
            mend = "redirect other spellings of a name to the normalised one"
            yield from _judged(visit, subject, answer, f"the name spelled {spelled}", mend)
            return
    yield skip("no name with another spelling")


def unknown_project(visit: Visit) -> Iterator[Verdict]:
    """404 sends clients on to their next index; pip and uv stop at what else there is."""
    answer = visit.client.get(visit.url_of(visit.unknown), PIP, follow=False)
    if answer.status == 404:
        yield ok("404")
    elif answer.status in (401, 403):
        yield fail(
            f"a project that nobody has answers {answer.said}: uv stops there, and never asks its next index",
            "answer 404 to who may read the index",
        )
    elif 300 <= answer.status < 400:
        yield _sent_away(visit, answer)
    elif answer.status == 200:
        yield warn(
            "a project that nobody has is a page (200): clients stop there, and never ask their next index",
            "answer 404, unless the name is reserved",
        )
    else:
        yield fail(f"a project that nobody has answers {answer.said}", "answer 404")


def unknown_file(visit: Visit) -> Iterator[Verdict]:
    """A file that nobody has, beside one that is there."""
    for entry in visit.samples[:1]:
        url = urljoin(entry.url, f"{visit.unknown.replace('-', '_')}-1-py3-none-any.whl")
        answer = visit.client.ask("GET", url, headers={"Accept-Encoding": "identity"}, limit=1 << 20)
        if answer.status in (404, 410):
            yield ok(str(answer.status))
        elif answer.status == 403 and origin_of(url) != visit.client.origin:
            yield ok("403, from the store that holds the files")
        else:
            yield warn(f"a file that nobody has answers {answer.said}", "answer 404")


def _sent_away(visit: Visit, answer: Exchange) -> Verdict:
    target = _target(answer)
    if target is not None and origin_of(target) == origin_of(visit.base):
        return warn(f"a project that nobody has is redirected: {answer.said}", "answer 404")
    return warn(
        f"a project that nobody has is redirected to {shown(target or '')}: what is asked for is told there, and who "
        "registers the name there is installed",
        "answer 404, or fetch on the client's behalf; of pypiserver: --disable-fallback",
    )


def _judged(visit: Visit, subject: Subject, answer: Exchange, what: str, mend: str) -> Iterator[Verdict]:
    """An answer that should be a redirect to the subject's page, or be that page."""
    if answer.status == 200:
        yield _served(subject, answer, what, mend)
        return
    target = _target(answer)
    if target is None:
        broken = answer.status >= 500
        yield fail(f"{what} answers {answer.said}", mend) if broken else warn(f"{what} answers {answer.said}", mend)
        return
    own, other = origin_of(visit.base), origin_of(target)
    if other.scheme == "http" and own.scheme == "https":
        yield fail(f"{what} is redirected to plain HTTP: {shown(target)}", _STAY)
    elif other != own:
        yield fail(f"{what} is redirected to {shown(target)}: credentials don't go there", _STAY)
    elif urlsplit(target).path != urlsplit(subject.url).path:
        yield warn(f"{what} is redirected to {shown(target)}", mend)
    else:
        relative = not urlsplit(answer.header("Location")).netloc
        yield ok(f"{what}: {answer.status}, {'relative' if relative else 'to the same origin'}")


def _served(subject: Subject, answer: Exchange, what: str, mend: str) -> Verdict:
    """A page at another address: its relative links mean something else there."""
    try:
        links = {entry.filename: entry.url for entry in read_page(answer).entries}
    except Unreadable:
        return warn(f"{what} answers 200 with something else", mend)
    right = {entry.filename: entry.url for entry in subject.page.entries} if subject.page else {}
    if links.keys() == right.keys() and links != right and not answer.url.endswith("/"):
        return fail(f"{what} is served as it is, and its relative links lead elsewhere", mend)
    if links.keys() != right.keys():
        return warn(f"{what} answers with another list of files", mend)
    return ok(f"{what}: 200, the same files")


def _target(answer: Exchange) -> str | None:
    """Where a redirect leads; None for what is none."""
    location = answer.header("Location")
    if not 300 <= answer.status < 400 or not location:
        return None
    try:
        target = urljoin(answer.url, location)
        origin_of(target)
    except (ValueError, Invalid):
        return None
    return target
