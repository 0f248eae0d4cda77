"""Credentials become a principal: tokens, passwords, and what neither is."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from caseus.access import Access
from caseus.catalog import Catalog
from caseus.errors import Denied
from caseus.tokens import digest, make_token

UNKNOWN = make_token(lambda count: bytes(count))
SCOPES = ("read", "upload", "admin")


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(tmp_path: Path, clock: Clock) -> Iterator[Catalog]:
    catalog = Catalog.open(tmp_path, clock=clock)
    yield catalog
    catalog.close()


@pytest.fixture
def access(catalog: Catalog, clock: Clock) -> Access:
    access = Access(catalog, open_reading=True, clock=clock)
    catalog.add_user("alice", password_hash=access.passwords.hash("sesam öffne"), admin=False, actor="test")
    catalog.add_user("root", password_hash=access.passwords.hash("toor"), admin=True, actor="test")
    return access


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def new_token(catalog: Catalog, user: str = "alice", scope: str = "upload", expires: float | None = None) -> str:
    token = make_token()
    catalog.add_token(user=user, digest=digest(token), prefix=token[:13], scope=scope, expires=expires, actor="test")
    return token


def test_the_anonymous_may_read_where_reading_is_open(catalog: Catalog, access: Access) -> None:
    assert access.principal(None).rights == {"read"}
    closed = Access(catalog, open_reading=False)
    assert closed.principal(None).rights == frozenset()
    with pytest.raises(Denied, match="login is needed") as denied:
        closed.principal(None).require("read")
    assert denied.value.anonymous


def test_a_password_gives_the_rights_of_its_user(access: Access) -> None:
    alice = access.principal(basic("alice", "sesam öffne"))
    assert (alice.name, alice.home) == ("alice", "main") and alice.rights == {"read", "upload"}
    assert access.principal(basic("root", "toor")).rights == {"read", "upload", "admin"}
    with pytest.raises(Denied, match="alice may not administer") as denied:
        alice.require("admin")
    assert not denied.value.anonymous


def test_a_token_works_in_either_half_of_basic_and_as_bearer(catalog: Catalog, access: Access) -> None:
    token = new_token(catalog)
    for header in (
        basic("__token__", token),
        basic(token, ""),
        basic(token, "x"),
        f"Bearer {token}",
        f"bearer {token}",
    ):
        assert access.principal(header).name == "alice"


def test_a_token_has_its_scope_and_never_more_than_its_user(catalog: Catalog, access: Access) -> None:
    rights = {scope: access.principal(f"Bearer {new_token(catalog, 'alice', scope)}").rights for scope in SCOPES}
    assert rights == {"read": {"read"}, "upload": {"read", "upload"}, "admin": {"read", "upload"}}
    assert access.principal(f"Bearer {new_token(catalog, 'root', 'admin')}").rights == {"read", "upload", "admin"}


@pytest.mark.parametrize(
    "header",
    [
        basic("alice", "wrong"),
        basic("nobody", "sesam öffne"),
        basic("alice", ""),
        basic("", ""),
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Bearer ",
        "Bearer not-a-token",
        "Digest username=alice",
        "",
        "Bearer " + UNKNOWN,
        basic("__token__", UNKNOWN[:-1] + "!"),
    ],
)
def test_wrong_credentials_are_denied_as_if_anonymous(access: Access, header: str) -> None:
    for _ in range(2):
        with pytest.raises(Denied) as denied:
            access.principal(header)
        assert denied.value.anonymous


def test_what_was_verified_is_recalled_without_hashing_until_users_change(
    catalog: Catalog, access: Access, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = basic("alice", "sesam öffne")
    assert access.recall(header) is None
    alice = access.principal(header)
    monkeypatch.setattr(access.passwords, "verify", lambda *_: pytest.fail("hashed again"))
    assert access.recall(header) == access.principal(header) == alice
    monkeypatch.undo()
    clock.now += 299
    assert access.recall(header) == alice
    clock.now += 1
    assert access.recall(header) is None
    access.principal(header)
    catalog.set_password("alice", password_hash=access.passwords.hash("new"), actor="test")
    assert access.recall(header) is None
    with pytest.raises(Denied):
        access.principal(header)


def test_a_revoked_or_expired_token_and_one_of_a_removed_user_stop_at_once(
    catalog: Catalog, access: Access, clock: Clock
) -> None:
    revoked, expiring = new_token(catalog), new_token(catalog, expires=clock.now + 10)
    orphan = new_token(catalog, "root")
    for token in (revoked, expiring, orphan):
        access.principal(f"Bearer {token}")
    catalog.revoke_token(catalog.tokens("alice")[0].id, actor="test")
    catalog.remove_user("root", actor="test")
    for token in (revoked, orphan):
        with pytest.raises(Denied):
            access.principal(f"Bearer {token}")
    assert access.principal(f"Bearer {expiring}").name == "alice"
    clock.now += 10
    with pytest.raises(Denied, match="expired"):
        access.principal(f"Bearer {expiring}")


def test_last_use_of_a_token_is_noted(catalog: Catalog, access: Access, clock: Clock) -> None:
    token = new_token(catalog)
    access.principal(f"Bearer {token}")
    clock.now += 60
    access.principal(f"Bearer {token}")
    catalog.writer.write(lambda transaction: None)
    assert [found.last_used for found in catalog.tokens("alice")] == [clock.now]


def test_few_hashes_run_at_once(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, guard, go = [0], [0], threading.Lock(), threading.Event()
    real = access.passwords._hasher

    class Counting:
        def hash(self, password: str) -> str:
            return real.hash(password)

        def verify(self, hashed: str, password: str) -> bool:
            with guard:
                running[0] += 1
                most[0] = max(most[0], running[0])
            go.wait(10)
            with guard:
                running[0] -= 1
            return True

    monkeypatch.setattr(access.passwords, "_hasher", Counting())
    threads = [threading.Thread(target=access.principal, args=(basic("alice", f"{n}"),)) for n in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert 1 <= most[0] <= 2


def test_no_secret_is_kept_in_what_is_remembered(catalog: Catalog, access: Access) -> None:
    token = new_token(catalog)
    access.principal(basic("alice", "sesam öffne"))
    access.principal(f"Bearer {token}")
    kept = repr(vars(access)) + repr([list(catalog.journal()), catalog.tokens(), catalog.users()])
    assert token not in kept and "sesam" not in kept
