"""Exported trees, and those that the real dumb-pypi makes of the same list."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from selectolax.lexbor import LexborHTMLParser, LexborNode

from support.peers import peer
from support.server import clean_environment, run_cli

STATE = "caseus-export.state"

Line = Mapping[str, Any]


class Exported(NamedTuple):
    """A command that has ended. `tree`: path in the tree to bytes."""

    code: int
    out: str
    err: str
    tree: dict[str, bytes]


def write_list(path: Path, lines: Iterable[Line | str]) -> Path:
    """A list of filenames, or of JSON objects."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(f"{text}\n" for text in texts))
    return path


def list_flag(lines: Sequence[Line | str]) -> str:
    return "--package-list-json" if lines and not isinstance(lines[0], str) else "--package-list"


def dumb_pypi(folder: Path, lines: Sequence[Line | str], *flags: str) -> Exported:
    """What dumb-pypi makes of the list, in `folder`/dumb-pypi."""
    output = folder / "dumb-pypi"
    path = write_list(folder / "dumb-pypi.list", lines)
    done = subprocess.run(
        [peer("dumb-pypi"), list_flag(lines), path, "--output-dir", output, "--packages-url", "../../pool/", *flags],
        capture_output=True,
        text=True,
        env=clean_environment({"PYTHONWARNINGS": "ignore"}),
        check=False,
        timeout=120,
    )
    return Exported(done.returncode, done.stdout, done.stderr, read_tree(output))


def export(folder: Path, lines: Sequence[Line | str], *flags: str, url: str = "../../pool/") -> Exported:
    """What caseus makes of the list, in `folder`/tree; again, it goes on with that tree."""
    path = write_list(folder / "caseus.list", lines)
    return export_by(folder / "tree", list_flag(lines), str(path), "--packages-url", url, *flags)


def export_by(output: Path, *flags: str, input: str = "") -> Exported:
    done = run_cli("export", "--output-dir", output, *flags, input=input, timeout=120)
    return Exported(done.returncode, done.stdout, done.stderr, read_tree(output))


def read_tree(folder: Path) -> dict[str, bytes]:
    """Every file but the state of the export."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in sorted(found.items()) if name != STATE}


def times(folder: Path) -> dict[str, int]:
    """Path to mtime, of everything."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


# Pages as readers see them.


class Link(NamedTuple):
    """`after`: the text behind it, up to the next element's."""

    attributes: dict[str, str | None]
    text: str
    after: str = ""


def parse(page: bytes) -> LexborHTMLParser:
    return LexborHTMLParser(page.decode())


def links(page: bytes, css: str = "a") -> list[Link]:
    return [Link(dict(node.attributes), text_of(node), _after(node)) for node in parse(page).css(css)]


def hrefs(page: bytes) -> list[str]:
    return [link.attributes["href"] or "" for link in links(page) if "href" in link.attributes]


def text_of(node: LexborNode | None) -> str:
    return " ".join(node.text().split()) if node is not None else ""


def _after(node: LexborNode) -> str:
    parent = text_of(node.parent)
    return parent.removeprefix(text_of(node)).strip() if node.parent is not None and node.parent.tag == "li" else ""


def requirement(page: bytes) -> str | None:
    node = parse(page).css_first("input#requirement")
    return node.attributes["value"] if node is not None else None


def rows(page: bytes) -> list[tuple[str, ...]]:
    """Of the changelog: href, filename, time, uploader."""
    found = []
    for row in parse(page).css("table.changelog tr"):
        cells = row.css("td")
        if cells:
            link = cells[0].css_first("a")
            assert link is not None
            found.append((link.attributes["href"] or "", *(text_of(cell) for cell in cells)))
    return found


def lines_of(data: bytes) -> list[dict[str, Any]]:
    """Of packages.json."""
    return [json.loads(line) for line in data.splitlines()]


# Lists


def many_lines(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Wheels, sdists, zips and eggs of many projects, with all keys, in no order; whatever both can read."""
    chance = random.Random(seed)
    lines: dict[str, dict[str, Any]] = {}
    while len(lines) < count:
        name = chance.choice(
            ["Acme", "zope.interface", "foo_bar", "x", "a-b-c", "Ünï".encode("ascii", "ignore").decode()]
        )
        name += chance.choice(["", "2", ".core", "_ext", "-Tools"])
        major = chance.randrange(12)
        version = f"{major}.{chance.randrange(12)}" + chance.choice(["", ".1", ".10", "rc1", ".post2", ".dev3"])
        wheel = f"{name.replace('-', '_')}-{version}-{chance.choice(['py3', 'py2.py3', 'cp310', 'cp39'])}-none-any.whl"
        filename = chance.choice([wheel, wheel, f"{name}-{version}.tar.gz", f"{name}-{version}.zip"])
        line: dict[str, Any] = {"filename": filename}
        optional: dict[str, Any] = {
            "hash": f"sha256={chance.randbytes(32).hex()}",
            "requires_python": chance.choice([">=3.8", "<4,>=3.6", ">=2.7, !=3.0.*"]),
            "requires_dist": chance.choice([[], ["click"], ["click>=8", "rich ; python_version < '3.9'"]]),
            "uploaded_by": chance.choice(["ann", "<bob> & co", "Zoë"]),
            "upload_timestamp": chance.choice([0, chance.randrange(10**9, 2 * 10**9), 1_700_000_000]),
        }
        line |= {key: value for key, value in optional.items() if chance.random() < 0.7}
        lines[filename] = line
    return list(lines.values())
