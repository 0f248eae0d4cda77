"""All checks, in the order in which they are made and shown."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable
from typing import Final

from caseus.doctor import (
    addresses,
    caching,
    content,
    files,
    logins,
    negotiation,
    sidecars,
    speed,
    transport,
    uploads,
)
from caseus.doctor.client import Client, Unreachable, Untrusted
from caseus.doctor.report import Report
from caseus.doctor.verdicts import Check, Finding, Verdict, fail, gathered, plain, skip
from caseus.doctor.visit import Request, Visit, begin
from caseus.upstream.urls import shown

CHECKS: Final = (
    Check(transport.TLS, transport.tls),
    Check("reading without login", logins.anonymous),
    Check("reading with a wrong login", logins.wrong_login),
    Check("unknown names without login", logins.unknown_while_anonymous),
    Check("files without login", logins.files_while_anonymous),
    Check("list of projects", negotiation.project_list),
    Check("Accept of pip", negotiation.pip),
    Check("Accept of uv", negotiation.uv),
    Check("Accept: text/html", negotiation.html),
    Check("Accept with q-values", negotiation.q_values),
    Check("no Accept", negotiation.anything),
    Check("unknown type in Accept", negotiation.unknown_type),
    Check("HEAD of a page", negotiation.head),
    Check("Vary", negotiation.vary),
    Check("missing slash", addresses.missing_slash),
    Check("unnormalised name", addresses.unnormalised),
    Check("unknown project", addresses.unknown_project),
    Check("unknown file", addresses.unknown_file),
    Check("JSON keys", content.json_keys),
    Check("HTML anchors", content.html_anchors),
    Check("JSON and HTML", content.agreement),
    Check("hashes", content.hashes),
    Check("size", content.sizes),
    Check("upload-time", content.upload_times),
    Check("links", content.links),
    Check(".metadata", sidecars.metadata),
    Check(".metadata in JSON and HTML", sidecars.forms),
    Check("signatures", sidecars.signatures),
    Check("bytes of a file", files.digest),
    Check("HEAD of a file", files.head),
    Check("ranges", files.ranges),
    Check("If-Range", files.resume),
    Check("type of a file", files.content_type),
    Check("coding of a file", files.content_coding),
    Check("caching of pages", caching.pages),
    Check("304", caching.validators),
    Check("gzip", caching.variants),
    Check("caching of files", caching.files),
    Check("upload without login", uploads.anonymous),
    Check("invalid upload", uploads.invalid),
    Check("upload", uploads.published),
    Check("speed of a page", speed.page),
    Check("speed of a 304", speed.not_modified),
    Check("speed of a file", speed.file),
)

_BEFORE_LOGIN: Final = frozenset({transport.TLS, "reading without login", "unknown names without login"})
"""What can be seen of a closed index by somebody without a login."""


def examine(
    request: Request,
    *,
    seen: Callable[[str], None] = lambda name: None,
    ssl_context: ssl.SSLContext | None = None,
) -> Report:
    """Everything that was found. `seen` is told the name of each check before it is made.

    Unavailable if there is no index; Unreachable, which is one, if nobody answers.
    """
    with Client(request.url, request.login, timeouts=request.timeouts, ssl_context=ssl_context) as client:
        if request.upload_url is not None:
            client.trust(request.upload_url)
        try:
            seen("index")
            visit = begin(client, request)
        except Untrusted as error:
            return Report(shown(request.url), (), tuple(_merged(client, transport.TLS, [transport.untrusted(error)])))
        locked = visit.listed.status in (401, 403)
        findings: list[Finding] = []
        for check in CHECKS:
            if not locked or check.name in _BEFORE_LOGIN:
                seen(check.name)
                findings += _merged(client, check.name, _look(check, visit))
        names = tuple(subject.name for subject in visit.subjects)
        return Report(shown(visit.base), names, tuple(findings), unseen=_why_unseen(visit))


def _why_unseen(visit: Visit) -> str | None:
    """Why hardly anything could be looked at, which must not pass for an index in order."""
    if visit.subjects:
        return None
    if visit.listed.status not in (401, 403):
        return f"the index at {shown(visit.base)} has no project with files: publish one, or give --project"
    said = visit.client.redact(plain(visit.listed.said))
    if visit.logged_in:
        return f"the index refuses these credentials ({said}): nothing else could be looked at"
    return f"the index asks for a login ({said}): give --user and --password-stdin, or a ~/.netrc"


def _look(check: Check, visit: Visit) -> list[Verdict]:
    try:
        return list(check.look(visit))
    except Unreachable as error:
        return [fail(f"no answer: {error}", "look at the server's log")]


def _merged(client: Client, name: str, verdicts: Iterable[Verdict]) -> list[Finding]:
    """Each fault in a row of its own; what is in order in one, and only where nothing else was seen."""
    told = gathered(verdicts)
    faults = [verdict for verdict in told if verdict.result in ("warn", "fail")]
    if not faults:
        for result in ("ok", "skip"):
            details = [verdict.detail for verdict in told if verdict.result == result]
            if details:
                faults = [Verdict(result, "; ".join(details))]
                break
    return [
        Finding(name, each.result, client.redact(plain(each.detail)), each.mend)
        for each in faults or [skip("nothing to look at")]
    ]
