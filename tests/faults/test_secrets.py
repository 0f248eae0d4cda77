"""A password and tokens in every place of a request, and in every kind of failure: no log and no answer shows them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

from caseus.tokens import make_token
from support.clients import upload
from support.packages import make_wheel
from support.raw import Answer, connected, request
from support.server import CaseusServer

PASSWORD = "Gruyere-7d21f0-Emmental"
UPSTREAM_PASSWORD = "Roquefort-55ab-Tomme"


def places(secret: str) -> Iterator[bytes]:
    """Requests with it where clients put credentials, by right or by mistake."""
    pair = base64.b64encode(f"mia:{secret}".encode()).decode()
    turned = base64.b64encode(f"{secret}:mia".encode()).decode()
    credentials = (
        f"Basic {pair}", f"Basic {turned}", f"basic  {pair}", f"Basic {pair}=", f"Basic {secret}", f"Bearer {secret}",
        f"bearer {secret} x", f"Digest username={secret}", f"Token {secret}", secret, f"Basic mia:{secret}",
    )  # fmt: skip
    for value in credentials:
        for method, path in (("GET", "/simple/"), ("POST", "/legacy/"), ("GET", "/simple/nothing/"), ("PUT", "/")):
            yield request(method, path, f"Authorization: {value}", body=b"" if method == "POST" else None)
        yield request("GET", "/simple/", f"Authorization: {value}", f"Authorization: {value}")
        yield request("GET", "/simple/", f"Authorization: {value}\0")
        yield request("GET", "/simple/", f"Authorization: {value}", "Content-Length: -1")
        yield request("GET", "/simple/", f"Authorization: {value}", "Host: y")
        yield request("BREW", "/simple/", f"Authorization: {value}")
        yield request("GET", "/simple/", f"Authorization: {value}", "X: " + "y" * 20_000)
    for name in ("Cookie", "X-Api-Key", "Proxy-Authorization", "User-Agent", "Referer", "X-Request-Id", "Accept",
                 "If-None-Match", "Range", "Expect", "Transfer-Encoding", "Content-Length", "X-Forwarded-For",
                 "X-Forwarded-Host", "Content-Type", "Origin", secret):  # fmt: skip
        yield request("GET", "/simple/", f"{name}: {secret}")
        yield request("POST", "/legacy/", f"{name}: {secret}", body=b"")
    if secret.startswith("caseus_"):  # a password in a path looks like any other word
        for path in ("", "simple/", "simple/acme/", "simple/acme/x-", "main/"):
            for end in ("", "/", ".whl", "-1.0.tar.gz", "-1.0.tar.gz.metadata", "%00"):
                yield request("GET", f"/{path}{secret}{end}")
    yield request("GET", f"/simple/?token={secret}&password={secret}&{secret}&format={secret}x&:action=x")
    yield request("POST", f"/legacy/?:action=file_upload&password={secret}", body=b"")
    yield request("GET", f"/simple/Nothing?token={secret}")
    yield request("GET", f"http://mia:{secret}@x/simple/")
    yield request("GET", f"http://{secret}/simple/")
    yield request("CONNECT", f"mia:{secret}@x:80")
    yield f"GET /simple/ HTTP/1.1\r\nHost: {secret}@x\r\n\r\n".encode()
    yield f"GET /simple/ HTTP/1.1\r\nHost: x\r\n{secret}\r\n\r\n".encode()
    yield f"{secret} /simple/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    yield f"{secret}\r\n\r\n".encode()


def forms(secret: str, authorization: str) -> Iterator[bytes]:
    """Uploads with it in names, values, filenames and boundaries, malformed and not."""
    for name, filename, value in (
        ("password", None, secret), (secret, None, "v"), ("summary", secret, "v"), ("content", secret, "v"),
        ("content", "a-1.0-py3-none-any.whl", secret), ("name", None, secret), ("version", None, secret),
        (":action", None, secret), ("gpg_signature", "a.asc", secret), ("sha256_digest", None, secret),
        ("filetype", None, secret), ("protocol_version", None, secret), ("metadata_version", None, secret),
    ):  # fmt: skip
        named = f'name="{name}"' + (f'; filename="{filename}"' if filename else "")
        fields = "" if name == ":action" else part('name=":action"', "file_upload")
        for end in ("--x--\r\n", ""):
            body = fields + part(named, value) + end
            kind = "Content-Type: multipart/form-data; boundary=x"
            yield request("POST", "/legacy/", authorization, kind, body=body.encode())
    yield request("POST", "/legacy/", authorization, f"Content-Type: multipart/form-data; boundary={secret}", body=b"-")
    yield request("POST", "/legacy/", authorization, f"Content-Type: {secret}", body=b"-")


def part(named: str, value: str) -> str:
    return f"--x\r\nContent-Disposition: form-data; {named}\r\n\r\n{value}\r\n"


def disguises(secret: str) -> list[bytes]:
    """As it is, and in the forms in which it was sent or might be logged."""
    pairs = (secret, f"mia:{secret}", f"{secret}:mia")
    return [secret.encode(), *(base64.b64encode(pair.encode()).rstrip(b"=")[:-1] for pair in pairs)]


def ask(server: CaseusServer, data: bytes) -> list[Answer]:
    with connected(server.port) as raw:
        raw.send(data)
        first = raw.answer()
        return [] if first is None else [first]


def test_no_log_and_no_answer_shows_a_secret(tmp_path: Path) -> None:
    upstream = f"http://reader:{UPSTREAM_PASSWORD}@127.0.0.1:9/simple/"  # where nobody listens
    with CaseusServer(tmp_path / "data", upstream=upstream) as server:
        server.add_user("mia", PASSWORD)
        token, other, admin = server.token("mia"), make_token(), server.admin[1]
        assert upload(server.url, *make_wheel("acme", "1.0"), login=server.admin).status == 200
        authorization = f"Authorization: Bearer {token}"
        wire: list[Answer] = []
        for secret in (PASSWORD, token, other):
            for data in places(secret):
                wire += ask(server, data)
        wire += ask(server, request("GET", "/simple/nothing/"))
        for secret in (PASSWORD, other):
            for data in forms(secret, authorization):
                wire += ask(server, data)
        assert (
            {400, 401, 404, 405, 415, 417, 431, 501, 502} <= {answer.status for answer in wire} <= set(range(200, 503))
        )
        command = Path(f"/proc/{server.pid}/cmdline").read_bytes()
    shown = server.log.encode()  # when it has ended, and has written all
    assert shown.count(b'"event": "request"') > 300 and shown.count(b'"event": "refused"') > 50
    assert b"Traceback" not in shown and PASSWORD.encode() not in command
    for secret in (PASSWORD, token, other, UPSTREAM_PASSWORD, admin):
        for disguise in disguises(secret):
            assert not [line for line in shown.splitlines() if disguise in line]
            # A redirect takes its query along; nothing else gives back what it was given.
            assert not [answer for answer in wire if disguise in (answer.body if answer.status < 400 else answer.wire)]
