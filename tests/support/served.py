"""The application over doubles, served: what the tests of HTTP share."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from packaging.utils import NormalizedName

from caseus.model import File, Project
from caseus.web import create_app
from support.live import FORM_TYPE, LiveServer, serving
from support.web import Doubles, make_config

DATA = bytes(range(256)) * 4000  # 1,024,000 bytes: more than three reads
SHA256 = hashlib.sha256(DATA).hexdigest()
WHEEL = "acme-1.0-py3-none-any.whl"
FILE = f"/simple/acme/{WHEEL}"
FOREVER = "max-age=365000000, immutable"
MIA = {"Authorization": "Basic bWlh"}
ACTION = {":action": "file_upload", "name": "acme", "version": "1.0"}


Log = list[dict[str, Any]]


class World:
    """Doubles being served. Changes to the doubles are seen at once."""

    def __init__(self, doubles: Doubles, server: LiveServer, log: Log) -> None:
        self.doubles, self.server, self.log = doubles, server, log
        self.catalog, self.index, self.publisher = doubles.catalog, doubles.index, doubles.publisher

    def get(self, path: str, **headers: str) -> Any:
        return self.server.get(path, **headers)

    def upload(self, body: bytes | Iterator[bytes], path: str = "/legacy/", **headers: str) -> Any:
        return self.server.request(
            "POST",
            path,
            {**MIA, "Content-Type": FORM_TYPE, **{k.replace("_", "-"): v for k, v in headers.items()}},
            body,
        )


def world_of(root: Path, **changes: Any) -> Iterator[World]:
    doubles = Doubles(make_config(root, **changes))
    files = tuple(File(filename=f"acme-1.{i}-py3-none-any.whl", hashes={"sha256": SHA256}) for i in range(20))
    doubles.index.known["acme"] = Project(name=NormalizedName("acme"), files=files)
    doubles.index.files[WHEEL] = DATA
    doubles.index.files[f"{WHEEL}.metadata"] = b"Metadata-Version: 2.1\n"
    doubles.index.files["acme-1.0.tar.gz"] = b"\x1f\x8b"
    doubles.index.files[f"{WHEEL}.asc"] = b"-----BEGIN PGP SIGNATURE-----"
    doubles.index.files["acme-0.zip"] = b""
    with captured_log() as log, serving(create_app(doubles.site)) as server:
        yield World(doubles, server, log)


@contextmanager
def captured_log() -> Iterator[Log]:
    """What is logged meanwhile, as the loggers get it: events with their data."""
    events: Log = []

    def keep(_logger: object, _name: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        events.append(dict(event))
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[keep], wrapper_class=structlog.make_filtering_bound_logger(0), cache_logger_on_first_use=False
    )
    try:
        yield events
    finally:
        structlog.configure(**before)


def logged(log: Log, count: int = 1) -> Log:
    """The lines of that many requests; each comes after its answer."""
    for _ in range(2000):
        lines = [event for event in log if event["event"] == "request"]
        if len(lines) >= count:
            return lines
        threading.Event().wait(0.005)
    raise AssertionError(f"not {count} requests in {log}")
