from __future__ import annotations

import errno
import io
import json
import logging
import os
from collections.abc import Iterator

import pytest
import structlog

from caseus.server import logs
from caseus.tokens import make_token


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_where_no_terminal_is() -> None:
    stream = io.StringIO()
    logs.configure(stream)
    structlog.get_logger().info("request", status=200, path="/simple/")
    (line,) = lines(stream)
    assert line.pop("timestamp")
    assert line == {"event": "request", "status": 200, "path": "/simple/", "level": "info"}


def test_text_on_a_terminal() -> None:
    stream = Terminal()
    logs.configure(stream)
    structlog.get_logger().info("request", status=200)
    assert "request" in stream.getvalue() and not stream.getvalue().startswith("{")


def test_libraries_are_heard_from_warning_on() -> None:
    stream = io.StringIO()
    logs.configure(stream)
    logging.getLogger("uvicorn.error").info("hello")
    logging.getLogger("uvicorn.error").warning("trouble with %s", "https://bob:s3cret@pkgs.example.com/")
    (line,) = lines(stream)
    assert line["event"] == "trouble with https://***@pkgs.example.com/"
    assert line["level"] == "warning" and line["logger"] == "uvicorn.error"


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_no_secret_in_a_traceback(stream: io.StringIO) -> None:
    token = make_token()
    logs.configure(stream)
    try:
        raise ValueError(f"bad {token} of https://bob:s3cret@pkgs.example.com/")
    except ValueError:
        structlog.get_logger().exception("failed", note=token)
        logging.getLogger("uvicorn.error").exception("failed too")
    assert "ValueError" in stream.getvalue() and stream.getvalue().count("Traceback") == 2
    assert token not in stream.getvalue() and "s3cret" not in stream.getvalue()


@pytest.mark.parametrize(
    "event",
    [
        {"authorization": "SECRET"},
        {"Authorization": ["SECRET"]},
        {"headers": {"Cookie": "SECRET", "proxy-authorization": "SECRET"}},
        {"password": "SECRET", "new_password": "SECRET", "client_secret": "SECRET", "token": "SECRET"},
        {"event": "got Authorization: Basic SECRET=="},
        {"event": "sent bearer SECRET"},
        {"event": "caseus_SECRET"},
        {"rows": [("https://SECRET@pkgs.example.com/", {"x": "https://a:SECRET@pkgs.example.com"})]},
        {"url": "https://a:p@SECRET@pkgs.example.com/simple/"},
        {"raw": b"Basic SECRET"},
        {"error": ValueError("https://a:SECRET@pkgs.example.com/")},
    ],
)
def test_secrets_are_hidden(event: dict[str, object]) -> None:
    assert "SECRET" not in repr(logs.redact(None, "info", dict(event)))


@pytest.mark.parametrize(
    "text", ["/simple/acme/", "caseus: ready", "mail bob@example.com", "https://pkgs.example.com/simple/@x", "Basic"]
)
def test_other_text_stays(text: str) -> None:
    assert logs.clean(text) == text


def test_a_full_disk_or_a_reader_that_left_fails_nobody() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    logs.configure(Full())
    structlog.get_logger().info("request", status=200)
    closed = io.StringIO()
    logs.configure(closed)
    closed.close()
    structlog.get_logger().info("request", status=200)
