"""What clients and caches between may keep, and how they ask whether it is still right (RFC 9110 and 9111)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from caseus.doctor.exchange import Exchange
from caseus.doctor.verdicts import Verdict, fail, ok, quoted, skip, warn
from caseus.doctor.visit import PIP, Subject, Visit

_HOUR = 3600
_DAY = 86_400
_WORTH_IT = 4096


def pages(visit: Visit) -> Iterator[Verdict]:
    """A page must not be kept so long that a release is not seen, nor be fetched whole each time."""
    for subject in visit.subjects:
        told = subject.answer.header("Cache-Control")
        age = _max_age(told)
        if not told:
            yield warn(
                "no Cache-Control: clients guess how long they may keep the page",
                "send Cache-Control: no-cache, or max-age=600 as the public index does",
                subject.name,
            )
        elif "no-store" in subject.answer.words("Cache-Control"):
            yield warn("no-store: each client fetches the page whole each time", "send no-cache and ETag", subject.name)
        elif age is not None and age > _HOUR and "no-cache" not in subject.answer.words("Cache-Control"):
            yield warn(
                f"max-age={age}: a release may not be seen for so long", "send max-age=600 or less", subject.name
            )
        elif visit.closed and "public" in subject.answer.words("Cache-Control"):
            yield fail("public, though a login is needed: shared caches show it to all", "send private", subject.name)
        else:
            yield ok(quoted(told))
    yield from _none(visit)


def validators(visit: Visit) -> Iterator[Verdict]:
    """If-None-Match or If-Modified-Since with what the page told must give 304."""
    for subject in visit.subjects:
        headers, answer = revalidated(visit, subject)
        if not headers:
            yield warn(
                "neither ETag nor Last-Modified: the page is fetched whole each time",
                "send an ETag and answer If-None-Match by 304",
                subject.name,
            )
            continue
        asked = " and ".join(headers)
        if answer.status != 304:
            yield warn(f"{asked} is answered by {answer.said}", "answer 304 while the page is the same", subject.name)
        elif answer.raw:
            yield fail("304 has a body: the connection can't be used any more", "send none", subject.name)
        else:
            yield ok(f"304 to {asked}")
    yield from _none(visit)


def variants(visit: Visit) -> Iterator[Verdict]:
    """gzip where it is welcome, never where it is not, and not under the same strong ETag."""
    for subject in visit.subjects[:1]:
        zipped = subject.answer
        plain = visit.client.get(subject.url, PIP, headers={"Accept-Encoding": "identity"})
        etag = zipped.header("ETag")
        if plain.coding:
            yield fail(f"identity is asked for, and {quoted(plain.coding)} is sent", "heed Accept-Encoding")
        elif zipped.coding and etag.startswith('"') and etag == plain.header("ETag"):
            yield warn(
                "the gzip variant has the strong ETag of the plain one",
                "give each variant its own, or make it weak (RFC 9110 section 8.8.1)",
            )
        elif zipped.coding:
            yield ok(f"{zipped.coding}: {len(plain.raw)} bytes as {len(zipped.raw)}")
        elif len(plain.raw) >= _WORTH_IT:
            yield warn(
                f"a page of {len(plain.raw)} bytes is not compressed", "compress pages by gzip where it is accepted"
            )
        else:
            yield ok(f"none for {len(plain.raw)} bytes, which are few")
    yield from _none(visit)


def files(visit: Visit) -> Iterator[Verdict]:
    """A file never changes: it can be kept for good, and so can its `.metadata`."""
    yield from _lasting([(entry.filename, visit.whole(entry)) for entry in visit.samples], "the file")
    advertised = [entry for entry in visit.samples if entry.metadata is not False]
    beside = [(f"{e.filename}.metadata", visit.client.ask("HEAD", e.beside(".metadata"))) for e in advertised]
    yield from _lasting(beside, "it")
    if not visit.samples:
        yield skip("no files")


def revalidated(visit: Visit, subject: Subject) -> tuple[dict[str, str], Exchange]:
    """The headers of a conditional request for a page, none if it told nothing to ask by, and the answer.

    A page may have changed since it was read, as where the digests of its files have become known: then the new one
    is asked about.
    """
    headers = conditions(subject.answer)
    answer = visit.client.get(subject.url, PIP, headers=headers)
    changed = conditions(answer)
    if answer.status == 200 and changed not in ({}, headers):
        headers, answer = changed, visit.client.get(subject.url, PIP, headers=changed)
    return headers, answer


def conditions(answer: Exchange) -> dict[str, str]:
    """The headers by which a client asks whether what it has is still right."""
    if etag := answer.header("ETag"):
        return {"If-None-Match": etag}
    if modified := answer.header("Last-Modified"):
        return {"If-Modified-Since": modified}
    return {}


def _lasting(answers: list[tuple[str, Exchange]], what: str) -> Iterator[Verdict]:
    for name, answer in answers:
        if answer.status != 200:
            continue
        told = answer.header("Cache-Control")
        age = _max_age(told)
        if age is None or age < _DAY or answer.words("Cache-Control") & {"no-cache", "no-store"}:
            yield warn(
                f"Cache-Control is {quoted(told) or 'missing'}: uv fetches {what} again",
                "send max-age=365000000, immutable: a file never changes",
                name,
            )
        else:
            yield ok(f"{quoted(told)}", name)


def _max_age(told: str) -> int | None:
    match = re.search(r"(?:^|[\s,])max-age=\"?(\d{1,12})", told, re.IGNORECASE)
    return int(match[1]) if match else None


def _none(visit: Visit) -> Iterator[Verdict]:
    if not visit.subjects:
        yield skip("no project")
