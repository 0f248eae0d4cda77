"""A real site behind the server's own protocol with its fast lane, in this process."""

from __future__ import annotations

import base64
import logging
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from caseus.catalog import HostedFile, holdings
from caseus.catalog.transaction import Transaction
from caseus.server.access_log import AccessLog
from caseus.server.http import Protocol
from caseus.server.lane import Lane
from caseus.server.limits import Limits
from caseus.site import Site, build
from caseus.web import create_app
from support.certificates import Certificates
from support.live import FORM_TYPE, LiveServer, form_body
from support.packages import make_wheel, sha256
from support.raw import Answer, Raw, connected, request
from support.served import Log, captured_log
from support.web import make_config

PASSWORD = "camembert"
MIA = "Basic " + base64.b64encode(f"mia:{PASSWORD}".encode()).decode()
PAGE = "/simple/acme/"
WHEEL, DATA = make_wheel("acme", "1.0", content=b"# " + b"x" * 20_000, compress=False)
FILE = f"{PAGE}{WHEEL}"
BIG, BIG_DATA = make_wheel("big", "1.0", content=bytes(range(256)) * 12_000, compress=False)
BIG_FILE = f"/simple/big/{BIG}"
LIMITS = Limits(head_seconds=10, idle_seconds=10)


class LaneWorld:
    """`slow` serves the same site by uvicorn's own protocol, without a lane. The projects: acme and big, a wheel
    each."""

    def __init__(
        self, site: Site, server: LiveServer, slow: LiveServer, lane: Lane, log: Log, tls: ssl.SSLContext | None
    ) -> None:
        self.site, self.server, self.slow, self.lane, self.log, self.tls = site, server, slow, lane, log, tls
        self.port = server.port

    def publish(self, filename: str, data: bytes) -> None:
        """By an upload to the other server."""
        name, version = filename.split("-")[:2]
        fields = {
            ":action": "file_upload", "protocol_version": "1", "metadata_version": "2.1", "name": name,
            "version": version, "filetype": "bdist_wheel", "pyversion": "py3", "sha256_digest": sha256(data),
        }  # fmt: skip
        headers = {"Authorization": MIA, "Content-Type": FORM_TYPE}
        reply = self.slow.request("POST", "/legacy/", headers, form_body(fields, ("content", filename, data)))
        assert reply.status == 200, reply

    def warm(self, *requests: bytes) -> None:
        """Ask until the lane answers each."""
        with connected(self.port, tls=self.tls) as raw:
            for data in requests:
                for _ in range(200):
                    before = self.lane.answered
                    raw.send(data)
                    assert raw.answer(head=data.startswith(b"HEAD")) is not None
                    if self.lane.answered > before:
                        break
                else:
                    raise AssertionError(f"the lane never answers {data!r}")

    @contextmanager
    def by_lane(self, count: int = 1) -> Iterator[None]:
        """So many of the requests that are answered within are answered by the lane."""
        before = self.lane.answered
        yield
        assert self.lane.answered - before == count

    def ask(self, data: bytes) -> Answer:
        """On a connection of its own."""
        with connected(self.port, tls=self.tls) as raw:
            return answer(raw, data)


def answer(raw: Raw, data: bytes) -> Answer:
    raw.send(data)
    found = raw.answer(head=data.startswith(b"HEAD"))
    assert found is not None, data
    return found


def same(one: Answer, other: Answer) -> bool:
    """Whether these are one answer, but for the time and the request's id."""
    return one.status == other.status and one.body == other.body and told(one.headers) == told(other.headers)


def told(headers: Mapping[str, str]) -> dict[str, str]:
    """Without what is another each time."""
    assert set(headers) >= {"date"}
    return {name: value for name, value in headers.items() if name not in ("date", "x-request-id")}


def get(target: str, *headers: str) -> bytes:
    return request("GET", target, *headers)


@contextmanager
def nothing_said_by(*names: str) -> Iterator[None]:
    """No error, by these loggers of libraries."""
    said: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(f"{record.getMessage()} {record.exc_info}")

    handler = Keep(logging.ERROR)
    for name in names:
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)
    assert said == []


@contextmanager
def lane_world(
    root: Path, *, limits: Limits = LIMITS, certificates: Certificates | None = None, **changes: Any
) -> Iterator[LaneWorld]:
    """`certificates`: the lane's server speaks TLS; `changes` of the configuration."""
    with ExitStack() as stack:
        stack.enter_context(nothing_said_by("asyncio", "uvicorn.error"))
        log = stack.enter_context(captured_log())
        site = build(make_config(root, max_file_bytes=1 << 26, **changes))
        stack.callback(site.close)
        site.catalog.add_user("mia", password_hash=site.access.passwords.hash(PASSWORD), admin=False, actor="test")
        app = create_app(site)
        lane = Lane(app, AccessLog(None, app.metrics))
        limited = cast(type[Protocol], type("Limited", (Protocol,), {"limits": limits}))
        protocol = limited.for_at_most(limits.connections, lane)
        served: dict[str, Any] = {"http": protocol, "loop": "uvloop", "timeout_keep_alive": int(limits.idle_seconds)}
        tls = None
        if certificates is not None:
            served["ssl_certfile"], served["ssl_keyfile"] = map(str, certificates.files())
            tls = ssl.create_default_context(cafile=str(certificates.ca))
        server = LiveServer(app, **served)
        stack.callback(server.close)
        slow = LiveServer(create_app(site), loop="uvloop")
        stack.callback(slow.close)
        world = LaneWorld(site, server, slow, lane, log, tls)
        world.publish(WHEEL, DATA)
        world.publish(BIG, BIG_DATA)
        yield world


def shorter(**limits: Any) -> Limits:
    return msgspec.structs.replace(LIMITS, **limits)


def many_files(transaction: Transaction) -> None:
    """A project whose page is too long for one piece."""
    for number in range(16_000):
        row: dict[str, Any] = {
            "tree": "files/main", "filename": f"many-{number}-py3-none-any.whl", "project": "many",
            "version": str(number), "sha256": f"{number:064x}", "size": 1, "md5": "0" * 32, "blake2b_256": "0" * 64,
            "uploaded": 0.0, "uploader": "mia", "requires_python": ">=3.9", "metadata_sha256": None, "has_sig": False,
            "yanked": None,
        }  # fmt: skip
        holdings.put(transaction, HostedFile(**row))
    transaction.change("files/main", "many", listed=True)
