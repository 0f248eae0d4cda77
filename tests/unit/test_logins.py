"""How often a password may be tried, by a clock of our own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caseus import logins
from caseus.errors import TooManyTries
from caseus.logins import LoginLimits, network_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def wait(limits: LoginLimits, account: str = "mia", client: str = "192.0.2.1") -> float:
    """Seconds until the next try, 0 for at once."""
    try:
        limits.check(account, client)
    except TooManyTries as error:
        return error.retry_after
    return 0.0


def fail(limits: LoginLimits, times: int = 1, account: str = "mia", client: str = "192.0.2.1") -> None:
    for _ in range(times):
        limits.failed(account, client)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> LoginLimits:
    return LoginLimits(clock)


def test_five_are_free_then_the_wait_doubles_up_to_five_minutes(clock: Clock, limits: LoginLimits) -> None:
    waits = []
    for _ in range(16):
        waits.append(wait(limits))
        clock.now += waits[-1]
        assert wait(limits) == 0
        fail(limits)
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_a_success_and_an_hour_without_a_failure_begin_anew(clock: Clock, limits: LoginLimits) -> None:
    fail(limits, 8)
    assert wait(limits) == 8
    limits.succeeded("mia", "192.0.2.1")
    assert wait(limits) == 0
    fail(limits, 7)
    clock.now += logins.FORGOTTEN
    assert wait(limits) == 0
    fail(limits)
    assert wait(limits) == 0


def test_other_accounts_and_other_addresses_do_not_wait(limits: LoginLimits) -> None:
    fail(limits, 20)
    assert wait(limits) > 0
    assert wait(limits, account="ben") == 0
    assert wait(limits, client="192.0.2.2") == 0


def test_one_address_that_tries_many_accounts_has_to_wait(clock: Clock, limits: LoginLimits) -> None:
    for number in range(30):
        assert wait(limits, f"user{number}") == 0
        fail(limits, account=f"user{number}")
    assert wait(limits, "another") == pytest.approx(60)
    assert wait(limits, "another", "192.0.2.2") == 0
    clock.now += 60
    assert wait(limits, "another") == 0
    fail(limits, account="another")
    assert wait(limits, "yet another") == pytest.approx(60)
    clock.now += 30 * 60
    assert wait(limits, "yet another") == 0


def test_who_logged_in_from_there_is_not_locked_out_by_neighbours(clock: Clock, limits: LoginLimits) -> None:
    limits.succeeded("mia", "192.0.2.1")
    for number in range(40):
        fail(limits, account=f"user{number}")
    assert wait(limits, "ben") > 0
    assert wait(limits, "mia") == 0
    fail(limits, 6)
    assert wait(limits, "mia") == 2  # by its own count
    clock.now += logins.TRUSTED
    for number in range(40):
        fail(limits, account=f"user{number}")
    assert wait(limits, "mia") > 2


def test_the_broken_job_of_one_account_does_not_spend_what_its_address_has(clock: Clock, limits: LoginLimits) -> None:
    for _ in range(20_000):  # it tries each second
        if wait(limits) == 0:
            fail(limits)
        clock.now += 1
    assert wait(limits, "ben") == 0


@pytest.mark.parametrize(
    ("client", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("", ""),
        ("unknown", ""),
        ("1.2.3.4.5", ""),
    ],
)
def test_networks(client: str, network: str) -> None:
    assert network_of(client) == network


def test_memory_is_bounded_and_long_names_are_one(limits: LoginLimits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "MOST", 100)
    for number in range(1000):
        fail(limits, account=f"user{number}", client=f"192.0.{number // 250}.{number % 250}")
        fail(limits, account="x" * (100 + number))
    kept: Any = vars(limits)
    assert len(kept["_tries"]) <= 100 and len(kept["_spent"]) <= 100
    assert all(len(account) <= 64 for account, _ in kept["_tries"])
    assert wait(limits, account="y" * 5000) > 0


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("12"), st.booleans(), st.integers(0, 400)), max_size=60)
)
def test_a_wait_is_never_longer_than_the_longest_and_ends(steps: list[tuple[str, str, bool, int]]) -> None:
    clock = Clock()
    limits = LoginLimits(clock)
    for account, last, good, pause in steps:
        clock.now += pause
        told: Callable[[str, str], None] = limits.succeeded if good else limits.failed
        told(account, f"192.0.2.{last}")
        seconds = wait(limits, account, f"192.0.2.{last}")
        most = max(logins.LONGEST, len(steps) * logins.FORGIVEN)
        assert 0 <= seconds <= most
        clock.now += seconds
        assert wait(limits, account, f"192.0.2.{last}") == pytest.approx(0, abs=1e-6)
