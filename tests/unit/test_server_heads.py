"""Which heads are refused beyond what the parser refuses."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caseus.server.heads import check_head
from caseus.server.limits import Limits
from caseus.web.errors import Refusal

LIMITS = Limits(head=1000, target=100, headers=10)
HOST = (b"host", b"x")


def check(target: bytes = b"/", *headers: tuple[bytes, bytes], method: str = "GET", version: str = "1.1") -> bytes:
    return check_head(method, version, target, headers or (HOST,), LIMITS)


@pytest.mark.parametrize(
    ("target", "origin"),
    [
        (b"/", b"/"),
        (b"/a?b", b"/a?b"),
        (b"//a", b"//a"),
        (b"http://x", b"/"),
        (b"https://X/", b"/"),
        (b"http://x/a?b", b"/a?b"),
        (b"http://x?http://y/", b"/?http://y/"),
        (b"http://x//y", b"//y"),
    ],
)
def test_every_good_target_becomes_a_path(target: bytes, origin: bytes) -> None:
    assert check(target) == origin


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/" + b"a" * 99, None),
        (b"/" + b"a" * 100, 414),
        (b"http://y/", 400),
        (b"http://x:80/", 400),
        (b"http://x@y/", 400),
        (b"http://", 400),
        (b"http:x", 400),
        (b"a", 400),
        (b"", 400),
        (b"/#", 400),
    ],
)
def test_targets(target: bytes, status: int | None) -> None:
    if status is None:
        check(target)
        return
    with pytest.raises(Refusal) as refused:
        check(target)
    assert refused.value.status == status


def test_the_size_is_that_of_all_headers_together() -> None:
    room = LIMITS.head - len(b"/") - len(b"host" + b"x") - 4 - len(b"x-a") - 4
    check(b"/", HOST, (b"x-a", b"a" * room))
    with pytest.raises(Refusal) as refused:
        check(b"/", HOST, (b"x-a", b"a" * (room + 1)))
    assert refused.value.status == HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    check(b"/", HOST, *[(b"a", b"")] * 9)
    with pytest.raises(Refusal):
        check(b"/", HOST, *[(b"a", b"")] * 10)


def test_in_http_1_0_a_host_may_be_missing_but_not_twice() -> None:
    assert check_head("GET", "1.0", b"/", (), LIMITS) == b"/"
    for version, hosts in (("1.1", 0), ("1.1", 2), ("1.0", 2)):
        with pytest.raises(Refusal):
            check_head("GET", version, b"/", [HOST] * hosts, LIMITS)


@pytest.mark.parametrize("host", [b"x", b"", b"x:80", b"x.y.", b"my_host", b"[::1]", b"[::1]:80", b"10.0.0.1:1", b"x:"])
def test_good_hosts(host: bytes) -> None:
    check(b"/", (b"host", host))


@pytest.mark.parametrize(
    "host", [b"a b", b"a,b", b"a/b", b"a@b", b"a\tb", b"a:b", b"::1", b"[a", b"\xff", b"a%20", b"a\\b"]
)
def test_bad_hosts(host: bytes) -> None:
    with pytest.raises(Refusal, match="the Host is no host name"):
        check(b"/", (b"host", host))


@given(
    st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "CONNECT", "TRACE"]),
    st.sampled_from(["0.9", "1.0", "1.1", "2.0"]),
    st.one_of(st.binary(max_size=120), st.sampled_from([b"*", b"http://x/", b"/", b"x:80"])),
    st.lists(
        st.tuples(
            st.sampled_from([b"host", b"transfer-encoding", b"expect", b"a"]),
            st.one_of(st.binary(max_size=200), st.sampled_from([b"x", b"chunked", b"gzip, chunked", b"100-continue"])),
        ),
        max_size=12,
    ),
)
def test_whatever_comes_it_is_a_path_or_a_refusal(
    method: str, version: str, target: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    status = 0
    try:
        path = check_head(method, version, target, headers, LIMITS)
    except Refusal as refusal:
        status = refusal.status
    assert status in (0, 400, 405, 414, 417, 431, 501, 505)
    if status == 0:
        assert path.startswith(b"/") and b"#" not in path
        hosts = [value for name, value in headers if name == b"host"]
        assert len(hosts) == 1 or (version == "1.0" and not hosts)
