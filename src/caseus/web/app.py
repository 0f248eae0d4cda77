"""The application: every request goes path → route → rights → handler → answer, and one line is logged of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from caseus import __version__
from caseus.errors import Busy, CaseusError, Invalid, NotFound, Unavailable
from caseus.names import normalize
from caseus.render import HOME_POLICY, home_html, make_page
from caseus.web.answers import PAGE_SECURITY, Answer, send_answer, text_answer, typed_answer
from caseus.web.caching import scoped, vary
from caseus.web.conditional import not_modified
from caseus.web.errors import Refusal, problem_answer, problem_of, trouble_of, unexpected
from caseus.web.files import Asked, Files
from caseus.web.forwarded import TrustedProxies
from caseus.web.health import why_not_ready
from caseus.web.judge import Judge
from caseus.web.lists import Lists
from caseus.web.log import RequestLog, Say, log_request
from caseus.web.metrics import CONTENT_TYPE, Metrics
from caseus.web.negotiate import choose_coding, choose_type
from caseus.web.pages import Key, Pages, page_answer
from caseus.web.paths import METHODS, Kind, Redirect, Route, parse_path, prefix_of, strip_prefix
from caseus.web.ready_files import ReadyFiles
from caseus.web.request import Request
from caseus.web.signatures import SignatureUpdates
from caseus.web.threads import Threads, in_thread
from caseus.web.upload import Uploads

if TYPE_CHECKING:
    from caseus.access import Principal, Right
    from caseus.site import HostedIndex, Site

HOME_INDEX: Final = "main"
_MOST_LOGINS: Final = 100
"""Passwords that wait to be checked: each takes about a tenth of a second of a core."""
_STOPPING: Final = Unavailable("the server is stopping: try again", kind="local", retry_after=5)
_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.web")


def create_app(site: Site, metrics: Metrics | None = None) -> App:
    """The ASGI application over a site. It closes its threads at shutdown; the site belongs to the caller."""
    return App(site, metrics or Metrics())


class App:
    """See `create_app`."""

    def __init__(self, site: Site, metrics: Metrics) -> None:
        self.access = site.access
        self.private = site.config.read == "users"
        self.trusted = TrustedProxies(site.config.trusted_proxies)
        self.clock = site.catalog.clock
        self.metrics = metrics
        self.say: Say = RequestLog(metrics).say
        """Who serves it may have a faster way."""
        self.threads = Threads()
        self._site = site
        self._running = 0
        self._when_idle: Callable[[], None] | None = None
        self._prefix = prefix_of(site.config.public_url)
        self._logins = 0
        self._indexes = {name: hosted.index for name, hosted in site.indexes.items()} | {
            f"{name}/{view}": index for name, hosted in site.indexes.items() for view, index in hosted.views.items()
        }
        # A view has the files of its index as of another time, and the same projects.
        lists = {name: site.indexes[name.partition("/")[0]].list for name in self._indexes}
        judge = Judge(site.catalog, self.clock)
        self.pages = Pages(
            site.catalog,
            self._indexes,
            self.threads,
            lists={name: found.body for name, found in lists.items()},
            judge=judge,
            clock=self.clock,
            private=self.private,
        )
        self._lists = Lists(self.threads, lists, private=self.private)
        self.files = Files(
            self.threads, ReadyFiles(judge, self.clock), self.pages, clock=self.clock, private=self.private
        )
        self._signatures = SignatureUpdates(self.threads)
        self._uploads = Uploads(self.threads, max_file_bytes=site.config.max_file_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        else:
            with self.busy():
                await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def close(self) -> None:
        """Let go of its open files and threads."""
        await self.files.close()
        self.threads.close()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Held while something works for a request."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._look_idle()

    def when_idle(self, act: Callable[[], None]) -> None:
        """Call it once, as soon as nothing is under way: another application has this one's place."""
        self._when_idle = act
        self._look_idle()

    def _look_idle(self) -> None:
        if not self._running and self._when_idle is not None:
            act, self._when_idle = self._when_idle, None
            act()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.read(scope, receive, self.trusted)
        with log_request(request, send, self.say) as outgoing:
            try:
                answer = await self._answer(request, receive, outgoing)
            except ClientDisconnect:
                request.failure = "the client left"
                return
            except (CaseusError, Refusal) as error:
                request.failure = str(error)
                answer = self._told(request, error)
            except asyncio.CancelledError:  # the grace time at shutdown is over; nothing else cancels
                request.failure = "the server stopped"
                answer = self._told(request, _STOPPING)
            except Exception as error:
                answer = self._failed(request, error)
            if answer is not None and outgoing.status is None:
                await self._finish(request, answer, outgoing)

    def _failed(self, request: Request, error: Exception) -> Answer:
        """The answer where nobody was ready for the error: the machine's trouble, or a fault of our own."""
        trouble = trouble_of(error)
        if trouble is not None:
            request.failure = str(trouble)
            _log.error("trouble of the machine", request_id=request.id, error=str(error))
            return self._told(request, trouble)
        request.failure = "unexpected error"
        _log.error("unexpected error", request_id=request.id, path=request.shown_path(), exc_info=error)
        return problem_answer(unexpected(request.id), request_id=request.id, private=self.private)

    async def _finish(self, request: Request, answer: Answer, send: Send) -> None:
        headers = (*answer.headers, ("X-Request-Id", request.id))
        if request.method not in ("GET", "HEAD") and not request.body.complete:
            await request.body.drop()
            if not request.body.complete:
                headers += (("Connection", "close"),)
        await send_answer(send, Answer(answer.status, headers, answer.body), head=request.head)

    def _told(self, request: Request, error: CaseusError | Refusal) -> Answer:
        """404 may be kept if it is asked again each time: the name may be published, or appear upstream."""
        keep_asking = isinstance(error, NotFound) and request.method in ("GET", "HEAD")
        return problem_answer(problem_of(error), request_id=request.id, private=self.private, keep_asking=keep_asking)

    def find(self, raw_path: bytes, alias: Callable[[str], str | None] = lambda path: None) -> Route | Redirect | None:
        """What is there; `alias` as for `parse_path`."""
        path = strip_prefix(raw_path, self._prefix)
        if path is None:
            return Redirect(f"{self._prefix.decode().rpartition('/')[2]}/", "home")
        return parse_path(path, self._site.indexes.keys(), alias)

    async def _answer(self, request: Request, receive: Receive, send: Send) -> Answer | None:
        """The answer, None where it went out already (files)."""
        path = strip_prefix(request.raw_path, self._prefix)
        found = self.find(request.raw_path, self._site.catalog.alias)
        if found is None:
            raise Refusal(HTTPStatus.NOT_FOUND, hint(path or b""))
        if request.method not in METHODS[found.kind]:
            raise _wrong_method(found.kind, request.method)
        if isinstance(found, Redirect):
            return redirect(request, found)
        if found.kind in ("livez", "readyz"):
            return await self._health(found.kind)
        if found.kind == "metrics":
            return typed_answer(CONTENT_TYPE, await in_thread(self.threads.files, self.metrics.text))
        hosted = self._site.indexes[found.index or HOME_INDEX]
        if request.method == "POST":
            principal = await self._principal(request, "upload")
            return await self._uploads.take(request, hosted.publisher, principal)
        if self.private:
            await self._principal(
                request, "read"
            )  # where everybody may read, stale credentials of a .netrc are no fault
        return await self._read(request, found, hosted, receive, send)

    def index_of(self, route: Route) -> str:
        """The index that a route means, or a view of it; no index itself has a name with a slash."""
        index = route.index or HOME_INDEX
        return f"{index}/{route.view}" if route.view else index

    async def _read(
        self, request: Request, route: Route, hosted: HostedIndex, receive: Receive, send: Send
    ) -> Answer | None:
        index = route.index or HOME_INDEX
        if route.kind == "home":
            return await self._home(request, index, hosted)
        if route.kind in ("list", "view", "project"):
            return await self._page(request, route, receive, send)
        if route.kind == "signatures":
            return await self._signatures.answer(request, hosted.signatures, route.project)
        if route.kind == "file":
            name = self.index_of(route)
            asked = Asked(self._indexes[name], name, route.project, route.filename, once=route.view == "refresh")
            await self.files.serve(request, asked, receive, send)
            return None
        raise AssertionError(route.kind)

    async def _principal(self, request: Request, right: Right) -> Principal:
        """Who asks, if it has the right; Denied."""
        access, authorization = self.access, request.headers.get("authorization")
        principal = access.recall(authorization)
        if principal is None:
            if self._logins >= _MOST_LOGINS:
                raise Busy("too many logins at once: try again", retry_after=5)
            self._logins += 1
            try:
                principal = await in_thread(
                    self.threads.people, lambda: access.principal(authorization, request.origin.client)
                )
            finally:
                self._logins -= 1
        request.user = principal.name
        principal.require(right)
        return principal

    async def _page(self, request: Request, route: Route, receive: Receive, send: Send) -> Answer | None:
        chosen = choose_type(request.headers.get("accept"), request.query)
        if chosen is None:
            raise Refusal(
                HTTPStatus.NOT_ACCEPTABLE,
                "none of the accepted types is served here: ask for application/vnd.pypi.simple.v1+json, "
                "application/vnd.pypi.simple.v1+html or text/html",
                *vary("Accept", private=False),
            )
        key = Key(self.index_of(route), route.project, chosen)
        if not route.project and self.pages.at_once(key) is None:
            opened = await self._lists.open(key.index_name, chosen)
            if opened is not None:
                await self._lists.serve(request, opened, chosen, receive, send)
                return None
        if route.view == "refresh":
            await self.pages.settle(key)
        coding = choose_coding(request.headers.get("accept-encoding"))
        ready, variant, request.cache = await self.pages.get(key, coding)
        return page_answer(ready, variant, request.headers.get("if-none-match"), now=self.clock())

    async def _home(self, request: Request, index: str, hosted: HostedIndex) -> Answer:
        base = self._site.config.public_url or request.base
        totals = await in_thread(self.threads.files, lambda: self._site.catalog.totals(hosted.publisher.tree))
        page = make_page(
            home_html(
                base_url=base if index == HOME_INDEX else f"{base}{index}/",
                index=index,
                closed=self.private,
                proxied=bool(self._site.config.upstreams),
                projects=totals.projects,
                files=totals.files,
                version=__version__,
            ),
            "text/html; charset=utf-8",
        )
        told = (
            ("ETag", page.etag),
            ("Cache-Control", scoped("no-cache", private=self.private)),
            *vary(private=self.private),
        )
        if not_modified(request.headers.get("if-none-match"), page.etag):
            return Answer(HTTPStatus.NOT_MODIFIED, told)
        return Answer(
            HTTPStatus.OK,
            (("Content-Type", page.content_type), *told, ("Content-Security-Policy", HOME_POLICY), *PAGE_SECURITY),
            page.body,
        )

    async def _health(self, kind: Kind) -> Answer:
        if kind == "livez":
            return text_answer(HTTPStatus.OK, "alive\n")
        reason = await in_thread(self.threads.files, lambda: why_not_ready(self._site))
        if reason is None:
            return text_answer(HTTPStatus.OK, "ready\n")
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason)


def redirect(request: Request, found: Redirect) -> Answer:
    """To the right address, relative and with its query; 308 keeps a POST a POST."""
    permanent = HTTPStatus.PERMANENT_REDIRECT if request.method == "POST" else HTTPStatus.MOVED_PERMANENTLY
    query = quote(request.query, safe="!$&'()*+,;=:@/?-._~%")
    location = found.location + (f"?{query}" if query else "")
    return text_answer(permanent, f"moved to {found.location}\n", ("Location", location))


def hint(path: bytes) -> str:
    """What to tell who asked for what is nowhere."""
    word = path.strip(b"/").decode("ascii", "replace")
    try:
        return f"nothing is here: the index is at /simple/ (did you mean /simple/{normalize(word)}/ ?)"
    except Invalid:
        return "nothing is here: the index is at /simple/, uploads go to /legacy/"


def _wrong_method(kind: Kind, method: str) -> Refusal:
    allowed: Mapping[str, str] = {"Allow": ", ".join(METHODS[kind])}
    text = (
        "uploads are sent here by POST; to install, use the index at /simple/"
        if kind == "upload"
        else f"the method {method} is not allowed here; uploads go to /legacy/"
    )
    return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, text, *allowed.items())
