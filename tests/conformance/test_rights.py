"""Who may do what: every route, every method, every role, where reading is open and where it is closed.

The tables are exact: a route that is not in them, or a cell that is another, fails.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from caseus.web.paths import METHODS
from support.clients import upload
from support.packages import make_wheel
from support.raw import ask, request
from support.server import CaseusServer

WHEEL, DATA = make_wheel("acme", "1.0")
ROLES = ("anonymous", "reader", "uploader", "admin", "wrong")
"""Nobody; a token that may read; a user; an administrator; a user with a wrong password."""

ALL = (200, 200, 200, 200, 200)
MEMBERS = (401, 200, 200, 200, 401)
UPLOADERS = (401, 403, 415, 415, 401)  # 415: they may, but this was no form
NOBODY = (405, 405, 405, 405, 405)
NOTHING = (404, 404, 404, 404, 404)


class Row(NamedTuple):
    """Statuses by role, in the order of ROLES; `other`: of every other method."""

    kind: str
    path: str
    read: tuple[int, ...]
    closed: tuple[int, ...]
    post: tuple[int, ...]
    other: tuple[int, ...] = NOBODY


TABLE = (
    Row("home", "/", ALL, MEMBERS, UPLOADERS),
    Row("list", "/simple/", ALL, MEMBERS, UPLOADERS),
    Row("project", "/simple/acme/", ALL, MEMBERS, NOBODY),
    Row("file", f"/simple/acme/{WHEEL}", ALL, MEMBERS, NOBODY),
    Row("file", f"/simple/acme/{WHEEL}.metadata", ALL, MEMBERS, NOBODY),
    Row("view", "/refresh/", ALL, MEMBERS, NOBODY),
    Row("view", "/norefresh/", ALL, MEMBERS, NOBODY),
    Row("project", "/refresh/acme/", ALL, MEMBERS, NOBODY),
    Row("file", f"/norefresh/acme/{WHEEL}", ALL, MEMBERS, NOBODY),
    Row("signatures", "/gpgupdate/acme/", ALL, MEMBERS, NOBODY),
    Row("upload", "/legacy/", NOBODY, NOBODY, UPLOADERS),
    Row("livez", "/livez", ALL, ALL, NOBODY),
    Row("readyz", "/readyz", ALL, ALL, NOBODY),
    Row("metrics", "/metrics", ALL, ALL, NOBODY),
    Row("", "/nothing/here/", NOTHING, NOTHING, NOTHING, NOTHING),
    Row("", "/simple/acme/x/y", NOTHING, NOTHING, NOTHING, NOTHING),
)
OTHERS = ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")


@contextmanager
def serving(read: str) -> Iterator[tuple[CaseusServer, dict[str, Iterator[str]]]]:
    """The server, and for each role the Authorization headers to use, one after the other."""
    with CaseusServer(flags=("--read", read)) as server:
        assert upload(server.url, WHEEL, DATA, login=server.admin).status == 200
        mia = server.add_user("mia", "camembert")
        yield (
            server,
            {
                "anonymous": itertools.repeat(""),
                "reader": itertools.repeat(f"Authorization: Bearer {server.token('mia', 'read')}"),
                "uploader": itertools.repeat(basic(*mia)),
                "admin": itertools.repeat(basic(*server.admin)),
                "wrong": (basic(f"mia{number}", "wrong") for number in itertools.count()),  # each has its free tries
            },
        )


def basic(user: str, password: str) -> str:
    return "Authorization: Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_every_route_is_in_the_table() -> None:
    assert {row.kind for row in TABLE if row.kind} == set(METHODS)


@pytest.mark.parametrize("rows", [TABLE[::2], TABLE[1::2]], ids=["even", "odd"])  # an address has its tries, too
@pytest.mark.parametrize("read", ["all", "users"])
def test_the_matrix(read: str, rows: tuple[Row, ...]) -> None:
    wrong = {}
    with serving(read) as (server, credentials):
        for row in rows:
            prefixes = ("", "/main") if row.kind not in ("livez", "readyz", "metrics") else ("",)
            for prefix, method in itertools.product(prefixes, ("GET", "HEAD", "POST", *OTHERS)):
                expected = row.other
                if method == "POST":
                    expected = row.post
                elif method == "HEAD" and row.kind == "signatures":
                    expected = NOBODY  # it acts
                elif method in ("GET", "HEAD"):
                    expected = row.read if read == "all" else row.closed
                for role, status in zip(ROLES, expected, strict=True):
                    header = next(credentials[role])
                    data = request(method, prefix + row.path, *([header] if header else []))
                    answer = ask(server.port, data, head=method == "HEAD")
                    if answer.status != status:
                        wrong[method, prefix + row.path, role] = (answer.status, answer.reason, status)
                    if answer.status == 401:
                        assert answer.headers["www-authenticate"] == 'Basic realm="caseus"'
                    if answer.status == 405:
                        assert method not in answer.headers["allow"].split(", ")
    assert not wrong


def test_users_who_may_only_read_and_uploaders_of_a_project() -> None:
    with CaseusServer() as server:
        mia, bob = server.add_user("mia", "camembert"), server.add_user("bob", "roquefort")
        server.cli("project", "uploaders", "acme", "--add", "mia")
        server.cli("user", "add", "eve", "--read-only", "--password-stdin", input="brie de meaux")
        refused = upload(server.url, WHEEL, DATA, login=bob)
        assert (refused.status, refused.reason) == (
            403,
            "bob may not upload to acme: ask one of its uploaders, or an administrator",
        )
        reader = upload(server.url, WHEEL, DATA, login=("eve", "brie de meaux"))
        assert reader.status == 403 and reader.reason.startswith("eve may not upload with these credentials")
        assert upload(server.url, WHEEL, DATA, login=mia).status == 200
        assert upload(server.url, *make_wheel("acme", "2.0"), login=server.admin).status == 200
        assert upload(server.url, *make_wheel("other", "1.0"), login=bob).status == 200


def test_who_may_not_read_learns_nothing() -> None:
    """Who may not read learns nothing of what is there: the same answer for what is and what is not."""
    with serving("users") as (server, _):
        answers = [
            ask(server.port, request("GET", f"/simple/{path}")) for path in ("acme/", "nobody/", f"acme/{WHEEL}")
        ]
        told = {(answer.status, answer.reason, tuple(sorted(answer.problem["errors"]))) for answer in answers}
        assert len(told) == 1
