"""One visit to one index: where it is, who may read it, and which projects and files are looked at."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

from caseus.doctor.client import ANONYMOUS, FILE_LIMIT, Client, Login, Timeouts
from caseus.doctor.exchange import Exchange
from caseus.doctor.page import FORMS, PLAIN_HTML, Entry, Page, Unreadable, read_list, read_page
from caseus.errors import Invalid, Unavailable
from caseus.names import normalize
from caseus.upstream.urls import origin_of, shown

PIP: Final = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1, text/html; q=0.01"
"""What pip sends (its index/collector.py, unchanged since 22.2)."""
UV: Final = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"
"""What uv 0.13 sends."""

WELL_KNOWN: Final = ("six", "pip", "sampleproject")
_LIST_LIMIT: Final = 2 << 20
_MOST_PROJECTS: Final = 3
_MOST_TRIED: Final = 8


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to visit. `url` may hold user and password, which `login` overrules."""

    url: str
    login: Login | None = None
    projects: tuple[str, ...] = ()
    """None: some of those that the index lists."""
    upload_url: str | None = None
    """None: where indexes usually take uploads."""
    upload: bool = False
    """Publish a tiny package. It stays there."""
    rounds: int = 30
    """At most so many requests for each measure of speed."""
    timeouts: Timeouts = Timeouts()
    clock: Callable[[], float] = time.time


@dataclass(frozen=True)
class Subject:
    """A project that is looked at. `json` is None where the index has no JSON, `html` where it has no HTML."""

    name: str
    url: str
    answer: Exchange
    """To a GET as pip makes it."""
    json: Page | None = None
    html: Page | None = None

    @property
    def page(self) -> Page | None:
        """What pip would read."""
        return self.json or self.html


@dataclass
class Visit:
    """`base` is the index's URL, ends in "/" and has no user and password."""

    client: Client
    request: Request
    base: str
    listed: Exchange
    """The answer to a GET of `base`."""
    anonymous: Exchange
    """To the first subject's page, or the list where there is none, when nobody asks for it."""
    subjects: tuple[Subject, ...] = ()
    unknown: str = field(default_factory=lambda: f"caseus-doctor-{secrets.token_hex(6)}")
    """The name of a project that nobody has."""
    _files: dict[str, Exchange] = field(default_factory=dict)

    @property
    def closed(self) -> bool:
        """Who does not say who they are is not shown the pages."""
        return self.anonymous.status in (401, 403)

    @property
    def logged_in(self) -> bool:
        return self.client.login_for(self.base) is not None

    @property
    def entries(self) -> tuple[tuple[Subject, Entry], ...]:
        """Every file of every subject."""
        return tuple((subject, entry) for subject in self.subjects if subject.page for entry in subject.page.entries)

    @property
    def samples(self) -> tuple[Entry, ...]:
        """The smallest wheel and the smallest sdist; where no sizes are told, those that are listed last."""
        entries = [entry for _, entry in self.entries if entry.url]
        wheels = [entry for entry in entries if entry.is_wheel]
        sdists = [entry for entry in entries if entry.filename.endswith((".tar.gz", ".zip"))]
        return tuple(
            min(reversed(kind), key=lambda entry: float("inf") if entry.size is None else entry.size)
            for kind in (wheels, sdists)
            if kind
        )

    def url_of(self, project: str) -> str:
        return f"{self.base}{quote(project)}/"

    def whole(self, entry: Entry) -> Exchange:
        """The file, as pip downloads it: no content coding, please. Asked for once."""
        if entry.url not in self._files:
            headers = {"Accept-Encoding": "identity"}
            self._files[entry.url] = self.client.ask("GET", entry.url, headers=headers, limit=FILE_LIMIT)
        return self._files[entry.url]


def begin(client: Client, request: Request) -> Visit:
    """The visit with its subjects. Unavailable if there is no index; Unreachable if nobody answers.

    Where the index asks for a login that was not given, refuses the one that was, or is empty, there are no subjects.
    """
    base, listed = _find_base(client, request.url)
    if listed.status in (401, 403):
        return Visit(client, request, base, listed, client.get(base, PIP, login=ANONYMOUS, follow=False))
    subjects = _choose(client, base, listed, request.projects)
    if not subjects and not _is_list(listed):
        raise Unavailable(
            f"nothing that looks like an index is at {shown(base)} ({listed.said}): "
            "give the URL that ends in /simple/, or a --project that it has",
            kind="upstream",
        )
    asked = subjects[0].url if subjects else base
    return Visit(client, request, base, listed, client.get(asked, PIP, login=ANONYMOUS, follow=False), subjects)


def _find_base(client: Client, url: str) -> tuple[str, Exchange]:
    """Where the index is: at the URL, or at `simple/` below it, as people give the URL of the server too."""
    given = _plain(url)
    listed = client.get(given, PIP, limit=_LIST_LIMIT)
    path = urlsplit(given).path.rstrip("/").rpartition("/")[2]
    if path not in ("simple", "+simple") and listed.status not in (401, 403):
        below = client.get(f"{given}simple/", PIP, limit=_LIST_LIMIT)
        if below.status in (401, 403) or _is_list(below):
            return _base_of(f"{given}simple/", below), below
    return _base_of(given, listed), listed


def _base_of(asked: str, listed: Exchange) -> str:
    """Where the list came from, if a redirect of the same origin led there and it is still a folder."""
    landed = listed.url if origin_of(listed.url) == origin_of(asked) else asked
    return landed if landed.endswith("/") and "?" not in landed else asked


def _plain(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path if parts.path.endswith("/") else parts.path + "/"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], path=path, query="", fragment="").geturl()


def _is_list(listed: Exchange) -> bool:
    """Whether it may be a list of projects, be it an empty one."""
    try:
        read_list(listed)
    except Unreadable:
        return False
    return listed.status == 200 and listed.media_type in FORMS


def _choose(client: Client, base: str, listed: Exchange, given: Sequence[str]) -> tuple[Subject, ...]:
    """Those that were named, else a few of the list that have files, else well-known ones."""
    subjects: list[Subject] = []
    for name in given or _candidates(listed):
        subject = look_at(client, base, name)
        if subject is None:
            if given:
                raise Unavailable(f"the index has no page of project {name!a}: give another --project", kind="upstream")
        elif given or (subject.page and subject.page.entries):
            subjects.append(subject)
        if len(subjects) == _MOST_PROJECTS and not given:
            break
    return tuple(subjects)


def _candidates(listed: Exchange) -> tuple[str, ...]:
    try:
        names = (read_list(listed) or ()) if listed.status == 200 else ()
    except Unreadable:
        names = ()
    if not names:
        return WELL_KNOWN
    step = max(1, len(names) // _MOST_TRIED)  # from all over the alphabet
    return names[::step][:_MOST_TRIED]


def look_at(client: Client, base: str, name: str) -> Subject | None:
    """The project's pages in both forms; None if the index does not answer 200 for it."""
    try:
        url = f"{base}{normalize(name)}/"
    except Invalid:
        url = f"{base}{quote(name)}/"
    answer = client.get(url, PIP)
    if answer.status != 200:
        return None
    first = _page(answer)
    other = _page(client.get(url, PLAIN_HTML)) if first is None or first.form == "json" else None
    pages = {page.form: page for page in (other, first) if page is not None}
    return Subject(name, url, answer, pages.get("json"), pages.get("html"))


def _page(answer: Exchange) -> Page | None:
    try:
        return read_page(answer) if answer.status == 200 and not answer.cut else None
    except Unreadable:
        return None
