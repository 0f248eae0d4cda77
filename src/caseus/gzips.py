"""A gzip stream put together out of parts that were compressed one by one (RFC 1951, RFC 1952).

One member, not one for each part: browsers, reqwest (which uv is built on) and others stop after the first, and curl
fails. Deflate's blocks can be joined where each part ends on a byte and looks back at nothing before it.
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Final

LEVEL: Final = 6
"""Fixed, as is the time stamp (none): else every worker would make other bytes of the same page."""
LEVEL_OF_DIGESTS: Final = 5

HEAD: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_RAW: Final = -zlib.MAX_WBITS


def deflate(data: bytes, *, last: bool = False, digests: bool = False) -> bytes:
    """The data as blocks that may stand anywhere; after those of the `last` part nothing may come but the trailer.

    `digests`: half of the data are hexadecimal digits, in which a repetition of less than six takes more to tell than
    the digits do; by that a page of files gets a tenth smaller.
    """
    if digests:
        compressor = zlib.compressobj(LEVEL_OF_DIGESTS, zlib.DEFLATED, _RAW, zlib.DEF_MEM_LEVEL, zlib.Z_FILTERED)
    else:
        compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, _RAW)
    return compressor.compress(data) + compressor.flush(zlib.Z_FINISH if last else zlib.Z_FULL_FLUSH)


def trailer(crc: int, length: int) -> bytes:
    """What ends the stream; of the whole of the data."""
    return crc.to_bytes(4, "little") + (length & 0xFFFFFFFF).to_bytes(4, "little")


def joined_crc(first: int, second: int, second_length: int) -> int:
    """The CRC-32 of two pieces of data, one behind the other, of those of each.

    To append n zero bytes multiplies a CRC by x^(8n) modulo the polynomial; what follows is added.
    """
    return _product(_zeros(second_length), first) ^ second


@lru_cache(maxsize=4096)
def _zeros(count: int) -> int:
    """What to multiply by for so many zero bytes."""
    power, factor = _X8, _ONE
    while count:
        if count & 1:
            factor = _product(factor, power)
        power = _product(power, power)
        count >>= 1
    return factor


# Polynomials over GF(2) as CRC-32 writes them: the highest bit is x^0.
_POLYNOMIAL: Final = 0xEDB88320
_ONE: Final = 0x80000000
_X8: Final = _ONE >> 8


def _product(a: int, b: int) -> int:
    """Modulo the polynomial."""
    result = 0
    while a:
        if a & _ONE:
            result ^= b
        a = (a << 1) & 0xFFFFFFFF
        b = (b >> 1) ^ (_POLYNOMIAL if b & 1 else 0)
    return result
