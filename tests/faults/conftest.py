"""Options and fixtures of the fault tests."""

from __future__ import annotations

import pytest

ROUNDS = 50


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=ROUNDS, help="how often the kill tests kill (pytest tests/faults)")


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often to kill."""
    found = request.config.getoption("--rounds", ROUNDS)  # unknown where pytest was not given this folder
    assert isinstance(found, int)
    return found
