"""What the guide tells of clients is what the tests run."""

from __future__ import annotations

import re
from pathlib import Path

TOP = Path(__file__).parents[2]
GUIDE = (TOP / "docs" / "guide.md").read_text()


def rows(heading: str) -> list[list[str]]:
    """The first table under a heading, without its head."""
    section = GUIDE.split(f"\n### {heading}\n")[1]
    found = re.search(r"(?:^\|.*\|\n)+", section, re.MULTILINE)
    assert found
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found[0].splitlines()[2:]]


def test_tested_versions_are_the_pinned_ones() -> None:
    pins = dict(
        re.findall(r"^([a-z]+)(?:\[[a-z]+\])?==(\S+)", (TOP / "requirements-clients.txt").read_text(), re.MULTILINE)
    )
    wanted = re.findall(r"^([a-z]+)", (TOP / "requirements-clients.in").read_text(), re.MULTILINE)
    assert dict(rows("Tested versions")) == {name: pins[name] for name in wanted}


def test_authorities_are_told_as_in_the_tests() -> None:
    """`TRUST` of the test behind nginx, which sets nothing else."""
    text = (TOP / "tests" / "clients" / "test_behind_nginx.py").read_text()
    table = text.split("TRUST: Mapping[str, str] = {")[1].split("}")[0]
    tested = dict(re.findall(r'"(\w+)": "(\w+)"', table))
    assert tested
    assert {client: variable.strip("`") for client, variable in rows("An own certificate authority")} == tested
