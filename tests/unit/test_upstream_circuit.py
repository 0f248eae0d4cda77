"""When an origin is left alone, by a clock that the test moves."""

from __future__ import annotations

import pytest

from caseus.errors import Unavailable
from caseus.upstream.circuit import Circuit, LeftAlone
from support.proxied import Clock

BROKEN = Unavailable("it broke", kind="timeout")


class Case:
    def __init__(self) -> None:
        self.clock = Clock()
        self.circuit = Circuit("pkgs.example.com", self.clock)

    def may_ask(self) -> bool:
        try:
            self.circuit.enter()
        except LeftAlone:
            return False
        return True

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.circuit.failed(BROKEN)


@pytest.fixture
def case() -> Case:
    return Case()


def test_four_failures_are_none(case: Case) -> None:
    case.fail(4)
    assert case.may_ask() and case.may_ask()


def test_the_fifth_opens_and_one_probes_each_ten_seconds(case: Case) -> None:
    case.fail(5)
    with pytest.raises(LeftAlone, match=r"it broke; pkgs\.example\.com is left alone for 10 more seconds") as caught:
        case.circuit.enter()
    assert (caught.value.kind, caught.value.retry_after) == ("timeout", 10)
    for _ in range(3):
        case.clock.now += 9.5
        assert not case.may_ask()
        case.clock.now += 0.5
        assert [case.may_ask() for _ in range(3)] == [True, False, False]


def test_a_probe_that_fails_opens_it_again(case: Case) -> None:
    case.fail(5)
    case.clock.now += 10
    assert case.may_ask()
    case.clock.now += 8  # so long it took
    case.fail()
    case.clock.now += 9
    assert not case.may_ask()
    case.clock.now += 1
    assert case.may_ask()


def test_a_probe_that_succeeds_closes_it_and_all_begins_anew(case: Case) -> None:
    case.fail(5)
    case.clock.now += 10
    assert case.may_ask()
    case.circuit.answered()
    case.fail(4)
    assert case.may_ask() and case.may_ask()
    case.fail()
    assert not case.may_ask()


def test_success_in_between_starts_the_count_anew(case: Case) -> None:
    for _ in range(3):
        case.fail(4)
        case.circuit.answered()
    assert case.may_ask()


def test_the_same_thing_counts_once(case: Case) -> None:
    for _ in range(20):
        case.circuit.failed(BROKEN, "one page")
    assert case.may_ask()
    case.fail(4)
    assert not case.may_ask()


def test_its_own_word_is_kept_though_others_are_answered(case: Case) -> None:
    case.circuit.told_to_wait(30, BROKEN)
    case.circuit.answered()  # a request that began before
    case.clock.now += 29
    assert not case.may_ask()
    case.clock.now += 1
    assert [case.may_ask(), case.may_ask()] == [True, False]
    case.circuit.answered()
    assert case.may_ask() and case.may_ask()


def test_a_wait_of_nothing_refuses_nobody(case: Case) -> None:
    case.circuit.told_to_wait(0, BROKEN)
    assert case.may_ask()


def test_a_clock_that_was_set_back_keeps_nobody_out(case: Case) -> None:
    case.fail(5)
    case.clock.now -= 86_400
    assert case.may_ask()
    case.circuit.told_to_wait(600, BROKEN)
    case.clock.now -= 86_400
    assert case.may_ask()
