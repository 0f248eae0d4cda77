"""An index kept current as static files: its pages are written again after each change, by one thread.

The bytes are the server's, so whoever reads the tree reads what the server would answer. Of several processes that
serve one index, the one that holds the folder's lock writes; if it dies, another goes on from the serial that is noted
in the tree. Pages are on the disk before the note is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
import structlog
from packaging.utils import NormalizedName

from caseus import __version__
from caseus.catalog import Catalog
from caseus.errors import Busy, CaseusError, NotFound
from caseus.export.places import locked
from caseus.export.target import FolderTarget, Target
from caseus.export.writing import Writer
from caseus.index import Index
from caseus.names import is_normalized
from caseus.render import home_html, list_html, list_json, project_html, project_json

LIVE_KEY: Final = "caseus-publish.state"

_LOOK: Final = 0.1  # seconds between two looks at the serial
_SETTLED: Final = 0.2  # seconds without another change, after which pages are written
_LATEST: Final = 2.0  # seconds after which they are, whatever happens
_AGAIN: Final = 5.0  # seconds after which what failed is tried again

_log: Any = structlog.get_logger(__name__)


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """`serial`: up to which all pages are written; `look`: digest of what else they depend on."""

    serial: int
    look: bytes


class LivePages:
    """The pages of an index as its server has them. `tree` is its tree in the catalog.

    `home`: what `home_html` is to be told for the page at the top, but for its counts; None leaves that out.
    """

    def __init__(self, catalog: Catalog, index: Index, tree: str, home: dict[str, Any] | None) -> None:
        self._catalog, self._index, self._tree, self._home = catalog, index, tree, home
        self.look = blake2b(msgspec.json.encode((__version__, home)), digest_size=16).digest()
        self._listed: set[str] | None = None

    def write(self, target: Target, since: int) -> None:
        """What changed after that serial; 0 writes all, and deletes pages of projects that nobody knows."""
        writer = Writer(target, ())
        names = {name for tree, name, _ in self._catalog.all_changes(since) if tree == self._tree}
        if not since:
            self._listed = None
            names |= {name[:-1] for name in target.names("simple") if name.endswith("/") and is_normalized(name[:-1])}
        gone = [name for name in sorted(names) if not self._write_project(writer, NormalizedName(name))]
        self._write_lists(writer, names)
        for name in gone:
            for form in ("html", "json"):
                writer.delete(f"simple/{name}/index.{form}")

    def _write_project(self, writer: Writer, name: NormalizedName) -> bool:
        """False where nobody knows the name (any more)."""
        try:
            project = self._index.project(name)
        except NotFound:
            return False
        writer.put(f"simple/{name}/index.html", project_html(project))
        writer.put(f"simple/{name}/index.json", project_json(project))
        return True

    def _write_lists(self, writer: Writer, changed: Iterable[str]) -> None:
        if self._listed is None:
            self._listed = set(self._index.projects())
        for name in changed:
            if self._catalog.hosted_files(self._tree, name):
                self._listed.add(name)
            else:
                self._listed.discard(name)
        listed = sorted(self._listed)
        writer.put("simple/index.html", list_html(listed))
        writer.put("simple/index.json", list_json(listed))
        if self._home is not None:
            totals = self._catalog.totals(self._tree)
            writer.put("index.html", home_html(projects=totals.projects, files=totals.files, **self._home))


class LiveTree:
    """Keeps `folder` current from `start` to `stop`; a change is there a moment after it was answered."""

    def __init__(self, catalog: Catalog, pages: LivePages, folder: Path) -> None:
        self._catalog, self._pages, self._folder = catalog, pages, folder
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """More than once is fine."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="caseus-publish", daemon=True)
            self._thread.start()

    def halt(self) -> None:
        """Write what is not written yet, and end, soon."""
        self._stopping.set()

    def stop(self) -> None:
        """As `halt`, and wait for the end."""
        self.halt()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        told = ""
        while True:
            try:
                with locked(self._folder):
                    told = ""
                    self._follow(FolderTarget(self._folder, sync=True))
                return
            except Busy:
                pause = _LOOK * 10  # another process keeps it current
            except (CaseusError, OSError) as error:
                if str(error) != told:
                    _log.error("publish.failed", folder=str(self._folder), reason=str(error))
                told, pause = str(error), _AGAIN
            if self._stopping.wait(pause):
                return

    def _follow(self, target: FolderTarget) -> None:
        """Until it is stopped; once more then."""
        target.sweep(("simple",))
        done: int | None = None
        while True:
            last = self._stopping.is_set()
            serial = self._catalog.serial()
            if serial != done:
                if not last:
                    serial = self._settled(serial)
                done = self._written(target)  # again each time: somebody may have emptied the folder
            if serial != done:
                self._pages.write(target, 0 if done is None or serial < done else done)
                state = _State(serial=serial, look=self._pages.look)
                target.write(LIVE_KEY, msgspec.msgpack.encode(state))
                done = serial
                _log.info("publish.written", folder=str(self._folder), serial=serial)
            if last:
                return
            self._stopping.wait(_LOOK)

    def _written(self, target: FolderTarget) -> int | None:
        """The serial that was noted; None where all is to be written."""
        data = target.read(LIVE_KEY)
        with suppress(msgspec.MsgspecError):
            if data is not None:
                state = msgspec.msgpack.decode(data, type=_State)
                return state.serial if state.look == self._pages.look else None
        return None

    def _settled(self, serial: int) -> int:
        """The serial when it has stood still for a moment, so that many uploads are one round."""
        end = time.monotonic() + _LATEST
        while time.monotonic() < end and not self._stopping.wait(_SETTLED):
            before, serial = serial, self._catalog.serial()
            if before == serial:
                break
        return serial
