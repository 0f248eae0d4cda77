"""Who may read: the answers by which pip and uv know that they need a login, and that theirs is wrong."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from caseus.doctor.client import ANONYMOUS, Login
from caseus.doctor.exchange import Exchange
from caseus.doctor.verdicts import Verdict, fail, ok, quoted, skip, warn
from caseus.doctor.visit import PIP, Visit
from caseus.upstream.urls import origin_of

_CHALLENGE = 'answer 401 with WWW-Authenticate: Basic realm="…"'


def anonymous(visit: Visit) -> Iterator[Verdict]:
    """Open, or 401 with a challenge."""
    yield from _challenge(visit.anonymous, "a page")


def unknown_while_anonymous(visit: Visit) -> Iterator[Verdict]:
    """A closed index must not tell by 404 or 401 which names it has."""
    if not visit.closed:
        yield skip("everybody may read")
        return
    answer = visit.client.get(visit.url_of(visit.unknown), PIP, login=ANONYMOUS, follow=False)
    if answer.status == visit.anonymous.status:
        yield ok(f"{answer.status}, as for those that are there")
    else:
        yield warn(
            f"a project that nobody has answers {answer.said}, one that is there {visit.anonymous.said}",
            "answer both alike, or names are told to everybody",
        )


def wrong_login(visit: Visit) -> Iterator[Verdict]:
    """Of a closed index 401; of an open one the page: pip and uv send what ~/.netrc has, right or not."""
    url = visit.subjects[0].url if visit.subjects else visit.base
    wrong = Login("caseus-doctor", secrets.token_hex(8))
    answer = visit.client.get(url, PIP, login=wrong, follow=False)
    if visit.closed and answer.status == 200:
        yield fail("a wrong login is shown the page", "check passwords")
    elif visit.closed:
        yield from _challenge(answer, "a wrong login")
    elif answer.status in (401, 403):
        yield warn(
            f"everybody may read, but a wrong login answers {answer.said}",
            "don't look at credentials where none are needed: an outdated ~/.netrc breaks installs",
        )
    elif answer.status == visit.anonymous.status:
        yield ok(f"a wrong login does no harm: {answer.status}")
    else:
        yield fail(f"a wrong login answers {answer.said}", "answer as to who has none")


def files_while_anonymous(visit: Visit) -> Iterator[Verdict]:
    """Where pages need a login, files do; and the login must reach them."""
    if not visit.closed:
        yield skip("everybody may read")
        return
    for entry in visit.samples[:1]:
        if origin_of(entry.url) != visit.client.origin:
            yield warn(
                "on another origin, to which the index's login is not sent",
                "serve files from the index's own scheme, host and port",
                entry.filename,
            )
            continue
        answer = visit.client.ask("GET", entry.url, login=ANONYMOUS, limit=1 << 20, follow=False)
        if answer.status in (200, 206):
            yield warn("downloaded without login", "ask for a login for files too", entry.filename)
        else:
            yield from _challenge(answer, entry.filename)
    if not visit.samples:
        yield skip("no files")


def _challenge(answer: Exchange, what: str) -> Iterator[Verdict]:
    """Whether an answer to nobody is right."""
    if answer.status == 200:
        yield ok("everybody may read")
    elif answer.status == 401:
        schemes = answer.header("WWW-Authenticate")
        if "basic" in schemes.lower():
            yield ok(f"needs a login: 401 with WWW-Authenticate: {quoted(schemes)}", what)
        else:
            yield fail(f"401 with WWW-Authenticate {quoted(schemes) or 'missing'}", _CHALLENGE, what)
    elif answer.status == 403:
        yield fail(f"{answer.said} without login: pip and uv ask for none then", _CHALLENGE, what)
    elif answer.status in (301, 302, 303, 307, 308):
        yield fail(f"{answer.said} without login: a login page is no page for pip", _CHALLENGE, what)
    else:
        yield skip(answer.said, what)
