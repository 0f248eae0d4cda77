"""What is refused of a request's head beyond what the parser refuses (RFC 9112).

llhttp refuses, by itself: both Content-Length and Transfer-Encoding, two Content-Lengths, a Content-Length that is no
number, folded headers, bare CR or LF, control characters, whitespace before a colon, chunk sizes that are none. It lets
through: no Host or several, other transfer codings before `chunked`, Transfer-Encoding in HTTP/1.0, other versions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

import httptools

from caseus.server.limits import Limits
from caseus.web.errors import Refusal

_HOST = re.compile(rb"(?:[A-Za-z0-9._~-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)\Z", re.IGNORECASE | re.DOTALL)
_METHOD = re.compile(rb"[A-Za-z-]{1,20} ")
_ALLOW = ("Allow", "GET, HEAD, POST")
_OLDER = "this server speaks HTTP/1.1 and HTTP/1.0"


def check_head(
    method: str, version: str, target: bytes, headers: Sequence[tuple[bytes, bytes]], limits: Limits
) -> bytes:
    """The target in origin form (path and query). Refusal for what is wrong; `headers`: names in lower case."""
    if version not in ("1.1", "1.0"):
        raise Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, _OLDER)
    if len(target) > limits.target or len(headers) > limits.headers:
        raise too_large(limits, target)
    size = len(target)
    host: bytes | None = None
    codings: list[bytes] = []
    for name, value in headers:
        size += len(name) + len(value) + 4
        if name == b"host":
            if host is not None:
                raise _malformed("there is more than one Host")
            host = value
        elif name == b"transfer-encoding":
            codings += value.lower().split(b",")
        elif name == b"expect" and value.lower() != b"100-continue":
            raise Refusal(HTTPStatus.EXPECTATION_FAILED, "Expect may only be 100-continue")
    if size > limits.head:
        raise too_large(limits, target)
    _check_codings(version, codings)
    _check_host(version, host)
    return _origin_form(method, target, host)


def too_large(limits: Limits, target: bytes) -> Refusal:
    """The head is, or what has come of it."""
    if len(target) > limits.target:
        return Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, f"the address is longer than {limits.target} bytes")
    return Refusal(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"the request's head is too large: at most {limits.headers} headers and {limits.head} bytes",
    )


def parser_refusal(error: httptools.HttpParserError, start: bytes) -> Refusal:
    """What to answer to what the parser refused; `start`: of the message, where that is known."""
    reason = str(error)
    if isinstance(error, httptools.HttpParserInvalidMethodError):
        if _METHOD.match(start):
            return Refusal(HTTPStatus.NOT_IMPLEMENTED, "this method is not known here: use GET, HEAD or POST")
        return _malformed("it does not begin with a method (plain HTTP is spoken here, not TLS)")
    if "HTTP version" in reason or "PRI" in reason:  # the latter is HTTP/2, which begins with PRI * HTTP/2.0
        return Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, _OLDER)
    return _malformed(reason)


def _check_codings(version: str, codings: Sequence[bytes]) -> None:
    """Of the body (RFC 9112 sections 6.1 and 6.3)."""
    if not codings:
        return
    if version == "1.0":
        raise _malformed("HTTP/1.0 has no Transfer-Encoding")
    if codings[-1].strip() != b"chunked":
        raise _malformed("Transfer-Encoding does not end in chunked")
    if len(codings) > 1:
        raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "the only transfer coding that is known here is chunked")


def _check_host(version: str, host: bytes | None) -> None:
    """RFC 9112 section 3.2."""
    if host is None:
        if version == "1.1":
            raise _malformed("there is no Host")
    elif not _HOST.match(host):
        raise _malformed("the Host is no host name with an optional port")


def _origin_form(method: str, target: bytes, host: bytes | None) -> bytes:
    """RFC 9112 section 3.2: the four forms of a target."""
    if b"#" in target:
        raise _malformed("the address has a fragment")
    if target.startswith(b"/"):
        return target
    if method == "CONNECT" or (method == "OPTIONS" and target == b"*"):
        raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"the method {method} is not allowed here", _ALLOW)
    match = _ABSOLUTE.match(target)
    if match is None:
        raise _malformed("the address is neither a path nor an http URL")
    authority, rest = match.groups()
    if b"@" in authority:  # RFC 9110 section 4.2.4: treat it as an error
        raise _malformed("the address has user information")
    if not authority or (host is not None and authority.lower() != host.lower()):
        raise _malformed("the address has another host than the Host header")
    return rest if rest.startswith(b"/") else b"/" + rest


def _malformed(what: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, f"malformed request: {what}")
