"""Does the index send each client a form that it reads? (PEP 691, RFC 9110 section 12.5)"""

from __future__ import annotations

from collections.abc import Iterator

from caseus.doctor.exchange import Exchange
from caseus.doctor.page import FORMS, HTML, JSON, PLAIN_HTML, Unreadable, read_page
from caseus.doctor.verdicts import Verdict, fail, ok, quoted, skip, warn
from caseus.doctor.visit import PIP, UV, Visit

_LABEL = f"send one of {JSON}, {HTML} and text/html, each with its own body"


def pip(visit: Visit) -> Iterator[Verdict]:
    """pip's Accept: every page that will be looked at."""
    for subject in visit.subjects:
        yield from _readable(subject.answer, subject.name, wants_json=True)


def uv(visit: Visit) -> Iterator[Verdict]:
    """uv's Accept."""
    for subject in visit.subjects[:1]:
        answer = visit.client.get(subject.url, UV)
        if answer.media_type == subject.answer.media_type and answer.status == subject.answer.status:
            yield ok(f"{answer.status} {answer.media_type}")
        else:
            yield from _readable(answer, subject.name, wants_json=True)


def project_list(visit: Visit) -> Iterator[Verdict]:
    """The list of projects: no installer needs it; mirrors and people do."""
    answer = visit.listed
    if answer.status != 200:
        yield warn(f"the list of projects answers {answer.said}", "answer the index's own URL with a list of projects")
    elif answer.media_type not in FORMS:
        yield warn(f"the list of projects is {quoted(answer.media_type) or 'without a type'}", _LABEL)
    else:
        yield ok(f"200 {answer.media_type}")


def html(visit: Visit) -> Iterator[Verdict]:
    """Old pips and browsers: nothing but text/html."""
    for subject in visit.subjects[:1]:
        answer = visit.client.get(subject.url, PLAIN_HTML)
        if answer.status == 200 and answer.media_type == JSON:
            yield fail("JSON is sent to who takes only text/html", "send HTML to clients whose Accept has no JSON")
        elif answer.status == 406:
            yield warn("there is no HTML (406)", "serve text/html too: pip before 22.2 reads nothing else")
        else:
            yield from _readable(answer, subject.name, wants_json=False)


def q_values(visit: Visit) -> Iterator[Verdict]:
    """Who takes JSON, but would rather have HTML."""
    for subject in visit.subjects[:1]:
        answer = visit.client.get(subject.url, f"{JSON};q=0.1, {PLAIN_HTML}")
        if answer.media_type == JSON and subject.html is not None:
            yield warn("JSON is sent though Accept likes text/html better", "heed the q-values of Accept")
        else:
            yield from _readable(answer, subject.name, wants_json=False)


def anything(visit: Visit) -> Iterator[Verdict]:
    """No Accept at all, and the meta version `latest`, to which the answer must have its real type."""
    for subject in visit.subjects[:1]:
        yield from _readable(visit.client.get(subject.url), subject.name, wants_json=False)
        latest = visit.client.get(subject.url, "application/vnd.pypi.simple.latest+json, text/html;q=0.1")
        if "latest" in latest.media_type:
            yield fail(f"an answer is labelled {latest.media_type}", "label it with the version that it has")


def unknown_type(visit: Visit) -> Iterator[Verdict]:
    """A type that no index has."""
    for subject in visit.subjects[:1]:
        answer = visit.client.get(subject.url, "application/vnd.caseus.doctor")
        if answer.status == 406:
            yield ok("406")
        elif answer.status == 200 and answer.media_type in FORMS:
            yield ok(f"200 {answer.media_type}, as PEP 691 allows")
        else:
            yield warn(
                f"an unknown type in Accept is answered by {answer.said} ({quoted(answer.media_type)})",
                "answer 406, or with text/html",
            )


def head(visit: Visit) -> Iterator[Verdict]:
    """HEAD of a page tells what GET would."""
    for subject in visit.subjects[:1]:
        answer = visit.client.ask("HEAD", subject.url, headers={"Accept": PIP, "Accept-Encoding": "gzip"})
        if answer.status != 200:
            yield warn(f"HEAD of a page answers {answer.said}", "answer HEAD as GET, without the body")
        elif answer.media_type != subject.answer.media_type:
            yield warn(
                f"HEAD says {quoted(answer.media_type)}, GET {subject.answer.media_type}", "let both say the same"
            )
        else:
            yield ok(f"200 {answer.media_type}")


def vary(visit: Visit) -> Iterator[Verdict]:
    """Caches between must know what the answer depends on."""
    for subject in visit.subjects[:1]:
        told = subject.answer.words("Vary")
        both = subject.json is not None and subject.html is not None
        missing = [
            word
            for word, varies in (("Accept", both), ("Accept-Encoding", bool(subject.answer.coding)))
            if varies and word.lower() not in told and "*" not in told
        ]
        if missing:
            yield warn(
                f"Vary does not name {' and '.join(missing)}",
                "name it, or a cache between gives one client the form that another asked for",
            )
        elif not both and not subject.answer.coding:
            yield skip("a page has one form only")
        else:
            yield ok(f"Vary: {quoted(subject.answer.header('Vary'))}")


def _readable(answer: Exchange, what: str, *, wants_json: bool) -> Iterator[Verdict]:
    """Whether the answer is a page that pip and uv take, with the type that it has."""
    if answer.status != 200:
        yield fail(f"{answer.said}", "answer 200 with a page", what)
        return
    form = FORMS.get(answer.media_type)
    if form is None:
        told = quoted(answer.header("Content-Type")) or "missing"
        yield fail(f"Content-Type is {told}: pip and uv pass the page over", _LABEL, what)
        return
    try:
        page = read_page(answer)
    except Unreadable as error:
        yield fail(f"the page can't be read: {quoted(str(error))}", _LABEL, what)
        return
    if page.form != form:
        yield fail(f"labelled {answer.media_type}, but it is {page.form.upper()}", _LABEL, what)
    elif wants_json and form == "html":
        yield warn(
            "HTML only: sizes and upload times can't be told", f"serve {JSON} to clients that accept it (PEP 691)", what
        )
    else:
        yield ok(f"{answer.status} {answer.media_type}")
