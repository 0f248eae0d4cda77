"""The parts of an upload as they come in: text fields, the file, its signature (multipart/form-data, RFC 7578)."""

from __future__ import annotations

import re

from multipart import (  # type: ignore[import-untyped]  # it has annotations but no py.typed
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
    parse_options_header,
)

from caseus.errors import Invalid, TooLarge

MAX_PARTS = 300
MAX_FIELD = 1 << 20
MAX_DESCRIPTION = 10 << 20
MAX_TEXT = 16 << 20
MAX_SIGNATURE = 64 << 10
_AROUND = MAX_TEXT + MAX_SIGNATURE + (2 << 20)
"""Of a body, what may stand around the file: text, signature, and the heads of the parts."""
_BOUNDARY = re.compile(r"[A-Za-z0-9'()+_,./:=? -]{0,69}[A-Za-z0-9'()+_,./:=?-]\Z")  # RFC 2046 section 5.1.1


def boundary_of(content_type: str | None) -> bytes | None:
    """The boundary of a multipart/form-data, None for other types; Invalid for one that is missing or malformed."""
    kind, options = parse_options_header(content_type or "")
    if kind != "multipart/form-data":
        return None
    boundary = options.get("boundary", "")
    if not _BOUNDARY.match(boundary):
        raise Invalid("malformed upload: the boundary in Content-Type is missing, too long or has illegal characters")
    return str(boundary).encode("ascii")


class Intake:
    """Feed it the body; `take()` what belongs to the file after each bite. Raises Invalid and TooLarge."""

    def __init__(self, boundary: bytes, *, max_file_bytes: int) -> None:
        self.pairs: list[tuple[str, str]] = []
        """Text fields in their order; a name may come again."""
        self.filename: str | None = None
        """Of the file, as the client says it; None until its part begins."""
        self.signature: bytes | None = None
        self._max_file_bytes = max_file_bytes
        self._left = body_limit(max_file_bytes)
        self._file_bytes = 0
        self._text_bytes = 0
        self._part: MultipartSegment | None = None
        self._value = bytearray()
        self._pending: list[bytes] = []
        self.pending = 0
        """Bytes of the file that `take` would give."""
        # Strict would refuse the line break that some clients send behind the last boundary.
        self._parser = PushMultipartParser(
            boundary, max_header_size=4096, max_header_count=8, max_segment_count=MAX_PARTS
        )

    def feed(self, chunk: bytes) -> None:
        """The next bytes of the body."""
        self._left -= len(chunk)
        if self._left < 0:  # also what stands before the first boundary and behind the last
            raise too_large(self._max_file_bytes)
        try:
            for event in self._parser.parse(chunk):
                if isinstance(event, MultipartSegment):
                    self._begin(event)
                elif event is None:
                    self._end()
                else:
                    self._grow(bytes(event))
        except ParserLimitReached as error:
            raise TooLarge(
                f"malformed upload: {error} (at most {MAX_PARTS} parts with 8 headers of 4096 bytes)", limit=MAX_PARTS
            ) from None
        except MultipartError as error:
            raise Invalid(f"malformed upload: {error}") from None

    def finish(self) -> None:
        """The body has ended: Invalid if it ended too early."""
        try:
            self._parser.close()
        except MultipartError:
            raise Invalid("malformed upload: the body ends before its last boundary; send it again") from None

    @property
    def received(self) -> int:
        """Bytes of the body so far."""
        return body_limit(self._max_file_bytes) - self._left

    def take(self) -> bytes:
        """The file's bytes since the last time."""
        data = b"".join(self._pending)
        self._pending.clear()
        self.pending = 0
        return data

    def _begin(self, part: MultipartSegment) -> None:
        self._part = part
        if part.name == "content":
            if self.filename is not None:
                raise Invalid("malformed upload: there is more than one part 'content'; upload one file at a time")
            if not part.filename:
                raise Invalid("malformed upload: the part 'content' has no filename; upload a wheel or an sdist")
            self.filename = part.filename
        elif part.name == "gpg_signature":
            if self.signature is not None:
                raise Invalid("malformed upload: there is more than one part 'gpg_signature'")
        elif part.filename is not None:
            raise Invalid(
                "malformed upload: only 'content' and 'gpg_signature' may be files, a text field has a filename"
            )

    def _grow(self, data: bytes) -> None:
        assert self._part is not None
        if self._part.name == "content":
            self._file_bytes += len(data)
            if self._file_bytes > self._max_file_bytes:
                raise too_large(self._max_file_bytes)
            self._pending.append(data)
            self.pending += len(data)
            return
        self._value += data
        if self._part.name == "gpg_signature":
            if len(self._value) > MAX_SIGNATURE:
                raise TooLarge(f"the signature is larger than {MAX_SIGNATURE} bytes", limit=MAX_SIGNATURE)
            return
        self._text_bytes += len(data)
        limit = MAX_DESCRIPTION if self._part.name == "description" else MAX_FIELD
        if len(self._value) > limit:
            raise TooLarge(f"a text field of the upload is larger than {limit} bytes", limit=limit)
        if self._text_bytes > MAX_TEXT:
            raise TooLarge(f"the text fields of the upload are together larger than {MAX_TEXT} bytes", limit=MAX_TEXT)

    def _end(self) -> None:
        part, self._part = self._part, None
        assert part is not None
        value, self._value = bytes(self._value), bytearray()
        if part.name == "content":
            return
        if part.name == "gpg_signature":
            self.signature = value
            return
        try:
            self.pairs.append((part.name or "", value.decode()))
        except UnicodeDecodeError:
            raise Invalid("malformed upload: a text field is not UTF-8") from None


def body_limit(max_file_bytes: int) -> int:
    """How long the body of an upload may be at most, in bytes."""
    return max_file_bytes + _AROUND


def too_large(limit: int) -> TooLarge:
    """The file is over the limit, in bytes."""
    return TooLarge(f"the file is larger than the limit of {limit} bytes (max_file_bytes)", limit=limit)
