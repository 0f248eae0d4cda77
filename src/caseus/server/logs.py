"""Logging to stderr: for people on a terminal, JSON lines otherwise, and never a secret."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from caseus.tokens import hide_tokens

_HIDDEN_KEYS = re.compile(r"authorization|cookie|password|passwd|secret|token\Z", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]*(?:@[^/?#\s@]*)*(?=@)")
_CREDENTIALS = re.compile(r"\b(Basic|Bearer|Digest) +[A-Za-z0-9+/=._~-]{4,}", re.IGNORECASE)
_HIDDEN = "***"

_plain: Lines | None = None


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Set up structlog, and route what libraries say by `logging` (from warning on) into it."""
    global _plain
    stream = sys.stderr if stream is None else stream
    lines = Lines(stream)
    _plain = None if stream.isatty() else lines
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[*shared, _renderer(stream)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, lines)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(stream)],
        )
    )
    handler.addFilter(_is_no_cancellation)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def plain_lines() -> Lines | None:
    """Where lines of JSON go that were made without structlog; None where it makes other ones of its events."""
    return _plain


def redact(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A structlog processor: hides values under telling keys, and what looks like a secret in any text."""
    return cast(EventDict, _clean_mapping(event))


def clean(text: str) -> str:
    """The text without tokens, credentials of an Authorization header and user information of URLs."""
    text = _CREDENTIALS.sub(rf"\1 {_HIDDEN}", hide_tokens(text))
    return _USERINFO.sub(_HIDDEN, text) if "@" in text else text


def _clean_mapping(mapping: Mapping[str, object]) -> dict[str, object]:
    return {
        key: _HIDDEN if isinstance(key, str) and _HIDDEN_KEYS.search(key) else _clean_value(value)
        for key, value in mapping.items()
    }


def _clean_value(value: object) -> object:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return _clean_mapping(value)
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean_value(item) for item in value]
    if isinstance(value, logging.LogRecord):  # ProcessorFormatter's own
        return value
    return clean(str(value))


class Lines:
    """A stream whose disk may be full, or whose reader gone: what is logged must not fail for that, it is answered.

    Thread-safe.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.waiting: deque[str] = deque()
        self.add = self.waiting.append
        """A whole line that may wait for the next `write` or `flush`."""

    def write(self, text: str) -> None:
        """Behind what waits."""
        earlier = []
        with suppress(IndexError):
            while True:
                earlier.append(self.waiting.popleft())
        with suppress(OSError, ValueError):
            self._stream.write("".join(earlier) + text)

    def flush(self) -> None:
        if self.waiting:
            self.write("")
        with suppress(OSError, ValueError):
            self._stream.flush()


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """uvicorn logs a traceback for each request that it cancels itself when the grace time is over."""
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _renderer(stream: TextIO) -> Processor:
    if stream.isatty():
        return structlog.dev.ConsoleRenderer(colors=True)
    return structlog.processors.JSONRenderer()
