"""Credentials become a principal: tokens, passwords, and what neither is."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from caseus.access import Access
from caseus.catalog import Catalog
from caseus.errors import CaseusError, Denied, TooManyTries
from caseus.passwords import Entry
from caseus.tokens import digest, make_token
from support.passwords import OF_BAR

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
    access.passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64)  # else a minute of hashing
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

    def count(hashed: str, password: str) -> bool:
        with guard:
            running[0] += 1
            most[0] = max(most[0], running[0])
        go.wait(10)
        with guard:
            running[0] -= 1
        return True

    monkeypatch.setattr("caseus.access.verify", count)
    threads = [threading.Thread(target=access.principal, args=(basic("alice", f"{n}"),)) for n in range(8)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert 1 <= most[0] <= 2


def test_a_read_only_user_never_uploads(catalog: Catalog, access: Access) -> None:
    catalog.add_user("eve", password_hash=access.passwords.hash("x"), read_only=True, actor="test")
    assert access.principal(basic("eve", "x")).rights == {"read"}
    for scope in SCOPES:  # whatever the token says
        assert access.principal(f"Bearer {new_token(catalog, 'eve', scope)}").rights == {"read"}


@pytest.mark.parametrize("hash", OF_BAR.values(), ids=OF_BAR)
def test_users_with_hashes_of_other_programs_log_in(catalog: Catalog, access: Access, hash: str) -> None:
    catalog.add_user("foo", password_hash=hash, admin=False, actor="test")
    assert access.principal(basic("foo", "bar")).name == "foo"
    with pytest.raises(Denied, match="wrong user name"):
        access.principal(basic("foo", "baz"))


def test_a_cheap_hash_does_not_tell_a_user_from_nobody(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own costly hash is computed for whoever is not here, and for whose own hash costs nothing."""
    computed: list[str] = []

    def note(hashed: str, password: str) -> bool:
        computed.append(hashed)
        return False

    monkeypatch.setattr("caseus.access.verify", note)
    ours = access.passwords.hash("x")
    for known in (None, OF_BAR["sha"], ours):
        computed.clear()
        assert not access.passwords.verify(known, "bar")
        assert [hashed.startswith("$argon2id$v=19$m=64,") for hashed in computed].count(True) == 1


def test_guessing_is_slowed_down_before_a_password_is_looked_at(
    catalog: Catalog, access: Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = new_token(catalog)
    for account in ("alice", "nobody"):  # the same for a user and for none
        for _ in range(5):
            with pytest.raises(Denied):
                access.principal(basic(account, "wrong"), "192.0.2.1")
        with monkeypatch.context() as patch:
            patch.setattr(access.passwords, "verify", lambda *_: pytest.fail("hashed"))
            for password in ("wrong", "sesam öffne"):
                with pytest.raises(TooManyTries, match="too many failed logins") as refused:
                    access.principal(basic(account, password), "192.0.2.1")
                assert 0 < refused.value.retry_after <= 1
    assert access.principal(basic("__token__", token), "192.0.2.1").name == "alice"
    assert access.principal(f"Bearer {token}", "192.0.2.1").name == "alice"
    assert access.principal(basic("root", "toor"), "192.0.2.1").name == "root"
    assert access.principal(basic("alice", "sesam öffne"), "192.0.2.2").name == "alice"
    assert access.principal(basic("alice", "sesam öffne"), "192.0.2.1").name == "alice"  # remembered: no guess


def test_wrong_tokens_are_never_counted(access: Access) -> None:
    for _ in range(100):
        with pytest.raises(Denied):
            access.principal(f"Bearer {make_token()}", "192.0.2.1")
    assert access.principal(basic("alice", "sesam öffne"), "192.0.2.1").name == "alice"


def test_who_waited_for_a_turn_is_judged_by_what_happened_meanwhile(access: Access) -> None:
    """Else as many passwords as wait at once could be tried beyond the limit."""
    answers: list[type[Exception]] = []

    def login(number: int) -> None:
        try:
            access.principal(basic("alice", f"{number}"), "192.0.2.1")
        except CaseusError as error:
            answers.append(type(error))

    threads = [threading.Thread(target=login, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 5 <= answers.count(Denied) <= 6
    assert answers.count(TooManyTries) == 20 - answers.count(Denied)


def test_the_same_credentials_at_once_are_hashed_once(access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, real = [], access.passwords.verify

    def counting(stored: str | None, password: str) -> bool:
        hashed.append(password)
        return real(stored, password)

    monkeypatch.setattr(access.passwords, "verify", counting)
    names: list[str | None] = []
    login = lambda: names.append(access.principal(basic("alice", "sesam öffne")).name)  # noqa: E731
    threads = [threading.Thread(target=login) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names == ["alice"] * 12 and len(hashed) <= 2  # two had a turn before one was done


def test_no_secret_is_kept_in_what_is_remembered(catalog: Catalog, access: Access) -> None:
    token = new_token(catalog)
    access.principal(basic("alice", "sesam öffne"))
    access.principal(f"Bearer {token}")
    kept = repr(vars(access)) + repr([list(catalog.journal()), catalog.tokens(), catalog.users()])
    assert token not in kept and "sesam" not in kept


def test_a_user_without_a_password_is_no_failed_login(catalog: Catalog, clock: Clock) -> None:
    """uv 0.13 sends `user:` for each file of an index with a user in its URL, before it asks its keyring."""
    access = Access(catalog, open_reading=False, clock=clock)
    access.passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64)
    catalog.add_user("alice", password_hash=access.passwords.hash("sesam öffne"), admin=False, actor="test")
    for user in ["alice", "__token__"] * 50:
        with pytest.raises(Denied) as denied:
            access.principal(basic(user, ""), "203.0.113.9")
        assert denied.value.anonymous
    assert access.principal(basic("alice", "sesam öffne"), "203.0.113.9").name == "alice"


def listing(catalog: Catalog, clock: Clock, before: Access | None = None) -> Access:
    """With users of a password file: `foo`, whose password is `bar`, `reader`, and one of the catalog's names."""
    file = {
        "foo": Entry(OF_BAR["gocheese-sha256"]),
        "reader": Entry(OF_BAR["bcrypt-2y"], read_only=True),
        "alice": Entry(OF_BAR["sha"]),
    }
    access = Access(catalog, open_reading=False, clock=clock, listed=file, before=before)
    access.passwords._hasher = PasswordHasher(time_cost=1, memory_cost=64)
    return access


def test_users_of_the_password_file(catalog: Catalog, access: Access, clock: Clock) -> None:
    """They upload, or read only; they are no admins and have no tokens. The catalog's users go first."""
    both = listing(catalog, clock)
    foo = both.principal(basic("foo", "bar"))
    assert foo.name == "foo" and foo.rights == {"read", "upload"}
    assert both.principal(basic("reader", "bar")).rights == {"read"}
    assert both.principal(basic("alice", "sesam öffne")).name == "alice"
    for user, password in (("alice", "bar"), ("foo", "baz"), ("Foo", "bar"), ("nobody", "bar")):
        with pytest.raises(Denied) as denied:
            both.principal(basic(user, password))
        assert denied.value.anonymous
    catalog.add_user("foo", password_hash=access.passwords.hash("another"), admin=False, actor="test")
    with pytest.raises(Denied):
        both.principal(basic("foo", "bar"))


def test_a_reload_keeps_the_counts_of_failed_logins_and_nothing_else(catalog: Catalog, clock: Clock) -> None:
    before = listing(catalog, clock)
    before.principal(basic("foo", "bar"), "203.0.113.9")
    for _ in range(5):
        with pytest.raises(Denied):
            before.principal(basic("reader", "wrong"), "203.0.113.9")
    after = listing(catalog, clock, before)
    assert after.recall(basic("foo", "bar")) is None
    with pytest.raises(TooManyTries):
        after.principal(basic("reader", "bar"), "203.0.113.9")
