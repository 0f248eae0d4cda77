"""Parts of a site that do what a test tells them, and the web application over them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

from packaging.utils import NormalizedName

from caseus.access import RIGHTS, Principal
from caseus.catalog.rows import Totals
from caseus.checks.form import Form
from caseus.config import Config
from caseus.errors import Denied, NotFound
from caseus.model import Project, Validity
from caseus.render import JSON, ContentType, list_html, list_json
from caseus.storage import Blob, Staged, State
from caseus.storage.blobs import BytesBlob, resolve_range
from caseus.storage.memory import MemoryStorage
from caseus.upstreams import UpstreamConfig

if TYPE_CHECKING:
    from caseus.site import Site

NOW = 1_700_000_000.0


def make_config(root: Path, **changes: Any) -> Config:
    """A configuration without upstreams; `upstreams`: their URLs, or what UpstreamConfig takes."""
    values: dict[str, Any] = {
        "root": root, "host": "127.0.0.1", "port": 0, "upstreams": (), "upstream_ttl": 600.0, "upstream_stale": 60.0,
        "union": (), "keep_removed": False, "private": (), "watch": False,
        "read": "all", "max_file_bytes": 1 << 20, "cache_bytes": 1 << 30, "grace": 1.0, "public_url": None,
        "trusted_proxies": (), "workers": 1, "bind": (), "bind_mode": 0o660, "tls_cert": None, "tls_key": None,
        "passwd": None, "publish": None, "max_clients": None, "no_fsync": False, "http2": False,
    }  # fmt: skip
    told = [{"url": told} if isinstance(told, str) else told for told in changes.pop("upstreams", ())]
    changes["upstreams"] = tuple(UpstreamConfig(**each) for each in told)
    return Config(**(values | changes))


class ScriptedCatalog:
    """Serials that a test moves."""

    def __init__(self) -> None:
        self.now = NOW
        self.number = 1
        self.names = 1
        self.projects: dict[tuple[str, str], int] = {}
        self.asked = 0
        self.looked = 0
        self.broken: Exception | None = None

    def clock(self) -> float:
        return self.now

    def serial(self) -> int:
        return self.number

    def names_serial(self) -> int:
        return self.names

    def changed_since(self, serial: int, most: int) -> list[tuple[str, str, int]]:
        self.looked += 1
        if self.broken is not None:
            raise self.broken
        changed = [(tree, name, last) for (tree, name), last in self.projects.items() if last > serial]
        return sorted(changed, key=lambda change: change[2])[:most]

    def is_current(self, validity: Validity, now: float) -> bool:
        self.asked += 1
        fresh = validity.until is None or now < validity.until
        return fresh and all(self.projects.get((tree, name), 0) == serial for tree, name, serial in validity.serials)

    def knows(self, tree: str, name: str) -> bool:
        if self.broken is not None:
            raise self.broken
        return False

    def totals(self, tree: str) -> Totals:
        """Of two projects."""
        return Totals(
            projects=2, files=3000, bytes=1, tombstones=0, last_upload=None, fetched_files=0, users=1, tokens=0,
            journal_entries=1,
        )  # fmt: skip

    def alias(self, path: str) -> str | None:
        return None

    def change(self, tree: str, name: str) -> None:
        self.number += 1
        if (tree, name) not in self.projects:
            self.names = self.number
        self.projects[tree, name] = self.number


Answered = bytes | Exception | Callable[[int, int | None], Blob]


class ScriptedIndex:
    """Answers what it was told."""

    def __init__(self) -> None:
        self.known: dict[str, Project | Exception | Callable[[], Project]] = {}
        self.files: dict[str, Answered] = {}
        self.asked: list[str] = []

    def knows(self, name: NormalizedName) -> bool:
        return name in self.known

    def projects(self, after: str = "") -> Iterator[NormalizedName]:
        self.asked.append("")
        return iter(sorted(cast(Any, self.known)))

    def project(self, name: NormalizedName) -> Project:
        self.asked.append(name)
        found = self.known.get(name)
        if found is None:
            raise NotFound(f"no project {name}")
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, Project) else found()

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        found = self.files.get(filename)
        if found is None:
            raise NotFound(f"no file {filename} of {name}")
        if isinstance(found, Exception):
            raise found
        if isinstance(found, bytes):
            blob = BytesBlob(found, start, stop)
            blob.sha256 = hashlib.sha256(found).hexdigest()
            return blob
        return found(start, stop)


class ScriptedList:
    """The list of a ScriptedIndex, as `caseus.lists.ProjectList` gives short ones."""

    def __init__(self, index: ScriptedIndex) -> None:
        self._index = index

    def is_huge(self) -> bool:
        return False

    def body(self, content_type: ContentType) -> bytes:
        names = self._index.projects()
        return list_json(names) if content_type == JSON else list_html(names)


class FillingBlob:
    """A blob that others fill, at the pace of the test."""

    def __init__(self, start: int = 0, stop: int | None = None) -> None:
        self.sha256: str | None = None
        self.stored = False
        self.size: int | None = None
        self.closed = threading.Event()
        self.polled = threading.Semaphore(0)
        self._asked = (start, stop)
        self._state = State.WAITING
        self._data = b""
        self._at: int | None = None
        self._error: Exception | None = None
        self._lock = threading.Lock()

    @property
    def start(self) -> int:
        return 0 if self.size is None else resolve_range(self.size, *self._asked)[0]

    @property
    def stop(self) -> int | None:
        return None if self.size is None else resolve_range(self.size, *self._asked)[1]

    def begin(self, size: int | None) -> None:
        with self._lock:
            self.size, self._state = size, State.MORE

    def feed(self, data: bytes, *, end: bool = False) -> None:
        with self._lock:
            self._data += data
            self._state = State.END if end else State.MORE

    def fail(self, error: Exception) -> None:
        with self._lock:
            self._error = error

    def available(self, n: int = 262_144, /) -> tuple[bytes, State]:
        self.polled.release()
        with self._lock:
            if self._error is not None:
                raise self._error
            if self._state is State.WAITING:
                return b"", State.WAITING
            at = self.start if self._at is None else self._at
            end = len(self._data) if self.stop is None else min(self.stop, len(self._data))
            data = self._data[at : min(at + n, end)]
            self._at = at + len(data)
            finished = self._at == self.stop if self.stop is not None else self._state is State.END and self._at == end
            return data, State.END if finished else State.MORE

    def read(self, n: int = 262_144, /) -> bytes:
        raise AssertionError("no thread waits for a fill")

    def close(self) -> None:
        self.closed.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@dataclass
class Published:
    filename: str
    content: bytes
    form: Form
    signature: bytes | None
    actor: str


class ScriptedPublisher:
    """Keeps what is published; `outcome` is returned or raised."""

    tree = "files/main"

    def __init__(self) -> None:
        self.outcome: Literal["published", "unchanged"] | Exception = "published"
        self.published: list[Published] = []
        self.staged: list[WatchedStaged] = []

    def stage(self) -> Staged:
        staged = WatchedStaged(MemoryStorage().stage())
        self.staged.append(staged)
        return cast(Staged, staged)

    def prepare(self, act: Callable[[], object]) -> Future[None]:
        act()
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def begin(
        self, staged: WatchedStaged, form: Form, *, filename: str, signature: bytes | None, actor: str
    ) -> Future[Literal["published", "unchanged"]]:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        with staged.reader() as reader:
            self.published.append(Published(filename, reader.read(), form, signature, actor))
        future: Future[Literal["published", "unchanged"]] = Future()
        future.set_result(self.outcome)
        return future


class WatchedStaged:
    """Tells when it was closed, and how big the writes were."""

    def __init__(self, inner: Staged) -> None:
        self._inner = inner
        self.writes: list[int] = []
        self.closed = threading.Event()

    def write(self, data: bytes) -> None:
        self.writes.append(len(data))
        self._inner.write(data)

    def close(self) -> None:
        self._inner.close()
        self.closed.set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class ScriptedAccess:
    """`users` maps the header's value to a principal."""

    def __init__(self, *, open_reading: bool) -> None:
        self.open_reading = open_reading
        self.users: dict[str, Principal] = {
            "Basic bWlh": Principal("mia", RIGHTS["upload"]),
            "Basic cmVh": Principal("rea", RIGHTS["read"]),
        }
        self.asked: list[str | None] = []

    def recall(self, authorization: str | None) -> Principal | None:
        self.asked.append(authorization)
        if authorization is None:
            return Principal(None, RIGHTS["read"] if self.open_reading else frozenset())
        return None

    def fingerprint(self, authorization: str) -> bytes:
        return authorization.encode()

    def recall_by(self, fingerprint: bytes) -> Principal | None:
        return self.recall(fingerprint.decode())

    def principal(self, authorization: str | None, client: str = "") -> Principal:
        assert threading.current_thread() is not threading.main_thread()
        if authorization is None or authorization not in self.users:
            raise Denied("wrong user name, password or token: check the credentials", anonymous=True)
        return self.users[authorization]


@dataclass
class Hosted:
    """As `caseus.site.HostedIndex`."""

    name: str
    index: ScriptedIndex
    list: ScriptedList
    publisher: ScriptedPublisher
    views: Mapping[str, ScriptedIndex] = field(default_factory=dict)


@dataclass
class Doubles:
    """A site of doubles, and the application's server."""

    config: Config
    catalog: ScriptedCatalog = field(default_factory=ScriptedCatalog)
    index: ScriptedIndex = field(default_factory=ScriptedIndex)
    publisher: ScriptedPublisher = field(default_factory=ScriptedPublisher)
    access: ScriptedAccess = field(init=False)

    def __post_init__(self) -> None:
        self.access = ScriptedAccess(open_reading=self.config.read == "all")

    @property
    def site(self) -> Site:
        return cast("Site", self)

    @property
    def indexes(self) -> Mapping[str, Hosted]:
        return {"main": Hosted("main", self.index, ScriptedList(self.index), self.publisher)}
