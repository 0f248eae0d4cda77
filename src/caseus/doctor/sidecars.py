"""What lies beside a file: pip and uv die of a `.metadata` that is advertised and not there (PEP 658)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from caseus.doctor.page import Entry
from caseus.doctor.verdicts import Verdict, fail, ok, skip, some, warn
from caseus.doctor.visit import Visit

_MOST = 20
_LIMIT = 4 << 20


def metadata(visit: Visit) -> Iterator[Verdict]:
    """Each advertised one, up to twenty from all over, is fetched and compared with its digest."""
    wheels = [entry for _, entry in visit.entries if entry.is_wheel and entry.url]
    advertised = [entry for _, entry in visit.entries if entry.metadata is not False and entry.url]
    if not wheels and not advertised:
        yield skip("no wheels")
        return
    silent = [entry.filename for entry in wheels if entry.metadata is False]
    if silent:
        yield warn(
            f"{len(silent)} of {len(wheels)} wheels have no core-metadata: {some(silent)}",
            "serve .metadata beside wheels (PEP 658): without it resolvers download the wheels",
        )
    looked = _spread(advertised)
    for entry in looked:
        yield from _metadata(visit, entry)
    if looked:
        yield ok(f"{len(looked)} of {len(advertised)} advertised: there, with the told digest")


def forms(visit: Visit) -> Iterator[Verdict]:
    """JSON and HTML must advertise the same, for which the two spellings of PEP 714 are one."""
    for subject in visit.subjects:
        if subject.json and subject.html:
            json = {entry.filename: entry.metadata for entry in subject.json.entries}
            differing = [
                e.filename for e in subject.html.entries if e.filename in json and json[e.filename] != e.metadata
            ]
            if differing:
                yield warn(
                    f"JSON and HTML advertise different .metadata: {some(differing)}",
                    "tell the same core-metadata in both",
                    subject.name,
                )
    yield skip("one form only") if not any(s.json and s.html for s in visit.subjects) else ok("the same in both")


def signatures(visit: Visit) -> Iterator[Verdict]:
    """Each advertised `.asc`, up to a few."""
    signed = [entry for _, entry in visit.entries if entry.signed and entry.url]
    if not signed:
        yield skip("none is advertised")
        return
    for entry in signed[:3]:
        answer = visit.client.ask("GET", entry.beside(".asc"), limit=1 << 20)
        if answer.status != 200:
            yield fail(
                f"advertised, and answers {answer.said}", "serve it, or don't tell gpg-sig", f"{entry.filename}.asc"
            )
    yield ok(f"{len(signed[:3])} of {len(signed)} advertised: there")


def _metadata(visit: Visit, entry: Entry) -> Iterator[Verdict]:
    answer = visit.client.ask("GET", entry.beside(".metadata"), headers={"Accept-Encoding": "identity"}, limit=_LIMIT)
    if answer.status != 200:
        yield fail(
            f"advertised, and answers {answer.said}: pip and uv end there",
            "serve it, or don't advertise core-metadata",
            f"{entry.filename}.metadata",
        )
        return
    if isinstance(entry.metadata, Mapping) and not matches(answer.raw, entry.metadata):
        yield fail(
            "another digest than the page tells",
            "tell the digest of the bytes that are served",
            f"{entry.filename}.metadata",
        )
    elif b"Metadata-Version:" not in answer.raw[:4096]:
        yield fail("no METADATA", "serve the wheel's METADATA, byte for byte", f"{entry.filename}.metadata")


def matches(data: bytes, hashes: Mapping[str, str]) -> bool:
    """Whether the bytes have every digest of a known kind."""
    return all(
        hashlib.new(kind, data, usedforsecurity=False).hexdigest() == digest.lower()
        for kind, digest in hashes.items()
        if kind in hashlib.algorithms_guaranteed and not kind.startswith("shake_")  # which have no length of their own
    )


def _spread(entries: Sequence[Entry]) -> list[Entry]:
    """At most `_MOST`, the first, the last and from in between."""
    if len(entries) <= _MOST:
        return list(entries)
    return [entries[round(number * (len(entries) - 1) / (_MOST - 1))] for number in range(_MOST)]
