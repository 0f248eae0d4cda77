"""Which of the forms a client takes: the content type of a page (PEP 691) and its coding (RFC 9110 section 12.5)."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from typing import Final, Literal, NamedTuple, cast
from urllib.parse import parse_qsl

from caseus.render import HTML, JSON, PLAIN_HTML, ContentType

ALIASES: Final[Mapping[str, ContentType]] = {
    JSON: JSON,
    HTML: HTML,
    PLAIN_HTML: PLAIN_HTML,
    "application/vnd.pypi.simple.latest+json": JSON,
    "application/vnd.pypi.simple.latest+html": HTML,
}
"""What `?format=` and Accept may say, and what it means."""
Coding = Literal["", "gzip", "zstd"]
"""Content codings; "" is none."""
_OFFERS: Final[tuple[ContentType, ...]] = (JSON, HTML, PLAIN_HTML)


class Weighted(NamedTuple):
    """One item of an Accept or Accept-Encoding header: lower case, q from 0 to 1."""

    value: str
    q: float


def choose_type(accept: str | None, query: bytes = b"") -> ContentType | None:
    """The type to answer with, None if the client takes none of ours (406).

    `?format=` wins over Accept. No Accept means anything, and anything means text/html, as on the public index: those
    who don't say are browsers and old pips. Between types named with the same q JSON goes first.
    """
    named_format = format_of(query)
    if named_format != "":
        return named_format
    items = list(parse_weighted(accept or ""))
    if not items:
        return PLAIN_HTML
    ranked = [(*_quality(offer, items), offer) for offer in _OFFERS]
    q, named, _ = max(ranked, key=lambda item: item[:2])
    if q <= 0:
        return None
    best = [offer for offer_q, offer_named, offer in ranked if (offer_q, offer_named) == (q, named)]
    return PLAIN_HTML if named == 0 and PLAIN_HTML in best else best[0]


def format_of(query: bytes) -> ContentType | Literal[""] | None:
    """What `?format=` names: "" if there is none, None for what is not served."""
    for key, value in parse_qsl(query.decode("latin-1"), keep_blank_values=False):
        if key == "format":
            return ALIASES.get(value.strip().replace(" ", "+").lower())  # a bare + in a query reads as a space
    return ""


def choose_coding(accept_encoding: str | None, offered: Container[Coding] = ("gzip", "zstd")) -> Coding:
    """The coding of those `offered` that is most welcome, "" where none is, or none more than no coding at all.

    Between those of the same q zstd goes first: it is smaller, and quicker to take apart. `*` means gzip, which
    everybody knows.
    """
    weights: dict[str, float] = {}
    for value, q in parse_weighted(accept_encoding or ""):
        weights[value] = max(q, weights.get(value, 0.0))
    best: Coding = ""
    least = weights.get("identity", 0.0)
    for coding, q in (
        ("gzip", weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))),
        ("zstd", weights.get("zstd", 0.0)),
    ):
        if q > 0 and q >= least and coding in offered:
            best, least = cast(Coding, coding), q
    return best


def parse_weighted(header: str) -> Iterator[Weighted]:
    """The header's items; those with a malformed q are left out, other parameters are ignored."""
    for item in header.split(","):
        value, *parameters = (part.strip() for part in item.split(";"))
        q = _q(parameters)
        if value and q is not None:
            yield Weighted(value.lower(), q)


def _q(parameters: list[str]) -> float | None:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            value = value.strip()
            # RFC 9110's grammar: "0" or "1" with up to three digits; some clients send more digits.
            whole, _, fraction = value.partition(".")
            if whole not in ("0", "1") or not (fraction == "" or (fraction.isascii() and fraction.isdigit())):
                return None
            return min(float(value), 1.0)
    return 1.0


def _quality(offer: ContentType, items: list[Weighted]) -> tuple[float, int]:
    """(q, how exactly it is named) by the most exact item that matches (RFC 9110 section 12.5.1)."""
    best: dict[int, float] = {}
    for value, q in items:
        named = _named(offer, value)
        if named is not None:
            best[named] = max(q, best.get(named, 0.0))
    if not best:
        return 0.0, 0
    named = max(best)
    return best[named], named


def _named(offer: ContentType, value: str) -> int | None:
    if ALIASES.get(value) == offer:
        return 2
    if value == f"{offer.partition('/')[0]}/*":
        return 1
    return 0 if value == "*/*" else None
