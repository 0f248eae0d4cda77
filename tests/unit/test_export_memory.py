"""What an export remembers of its list: with it or without, the same is seen of the next list."""

from __future__ import annotations

import io

from hypothesis import example, given
from hypothesis import strategies as st

from caseus.export.entries import Entry, decode_plain
from caseus.export.memory import BLOCK, Memory, noted, split
from caseus.export.scan import Scan, Seen, look, scan
from caseus.export.spool import Spool

LINES = [f"acme-{number % 7}-{number}.0.zip" for number in range(200)]


def spool(text: str) -> Spool:
    return Spool(io.BytesIO(text.encode()))


def memory_of(text: str, *, unknown: frozenset[str] = frozenset()) -> Memory:
    found = scan(spool(text), decode_plain, 1)
    names = sorted(found.lines)
    digests = [b"" if name in unknown else found.digests[name] for name in names]
    return Memory(noted(found, names), names, digests)


def seen(text: str, memory: Memory | None = None) -> Seen:
    return look(spool(text), decode_plain, 1, memory)


def told(found: Scan) -> tuple[object, ...]:
    rows = zip(found.starts, found.sizes, found.stamps, strict=True)
    return list(rows), found.texts, found.lines, found.digests, found.bad, found.faults


@st.composite
def two_lists(draw: st.DrawFn) -> tuple[str, str]:
    """One, and another made of pieces of it, with lines of its own, blank ones and bad ones between."""
    lines = LINES[: draw(st.integers(0, len(LINES)))]
    places = st.integers(0, len(lines))
    others = st.lists(
        st.sampled_from(["acme-1-9.1.zip", "new-1.0.zip", "", " ", "bad name", lines[0] if lines else ""])
    )
    after: list[str] = []
    for begin, end, more in draw(st.lists(st.tuples(places, places, others), max_size=4)):
        after += [*lines[begin:end], *more]
    ends = st.sampled_from(["", "\n"])
    return "\n".join(lines) + draw(ends), "\n".join(after) + draw(ends)


@given(two_lists(), st.sets(st.sampled_from(["acme-1", "acme-2"])))
@example(("\n".join(LINES[:BLOCK]), "\n".join(LINES[:BLOCK]) + "2\nnew-1.0.zip"), set())
@example(("\n".join(LINES), "\n".join(LINES[50:] + LINES)), set())
def test_what_is_remembered_changes_nothing(texts: tuple[str, str], unknown: set[str]) -> None:
    before, after = texts
    memory = memory_of(before, unknown=frozenset(unknown))
    assert told(seen(after, memory).scan()) == told(scan(spool(after), decode_plain, 1))


def test_a_line_more_or_less_is_all_that_is_read() -> None:
    """Not what stands behind it."""
    read: list[bytes] = []

    def decode(line: bytes) -> Entry:
        read.append(line)
        return decode_plain(line)

    memory = memory_of("\n".join(LINES))
    for lines in ([*LINES[:60], "new-1.0.zip", *LINES[60:]], LINES[:60] + LINES[61:], ["new-1.0.zip", *LINES]):
        read.clear()
        look(spool("\n".join(lines)), decode, 1, memory).scan()
        assert 0 < len(read) <= 2 * BLOCK


def test_a_list_is_known_if_all_its_lines_are_in_their_order() -> None:
    text = "\n".join(LINES)
    memory = memory_of(text)
    assert seen(text, memory).is_known
    changed = [LINES[1:], [*LINES, "new-1.0.zip"], [*LINES, "bad name"], LINES[100:] + LINES[:100], LINES * 2, []]
    assert not any(seen("\n".join(lines), memory).is_known for lines in changed)
    assert not seen(text).is_known


@given(st.integers(1, 500))
def test_blocks_are_of_about_one_size(lines: int) -> None:
    blocks = split(lines)
    assert sum(blocks) == lines and max(blocks) - min(blocks) <= 1
    assert max(blocks) < 2 * BLOCK and (lines < BLOCK or min(blocks) > BLOCK // 2)


def test_fragments_are_not_noted() -> None:
    """As many runs with a line more each leave them, or lists that are blank nearly everywhere."""
    found = scan(spool("\n\n".join(LINES)), decode_plain, 1)
    assert noted(found, found.lines).counts == b""
    assert not seen("\n\n".join(LINES), memory_of("\n\n".join(LINES))).is_known
