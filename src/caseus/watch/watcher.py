"""The thread that hears of changes in the folder of an index, and has them taken over."""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import structlog
import watchfiles
from watchfiles._rust_notify import WatchfilesRustInternalError

from caseus.catalog import Catalog
from caseus.errors import CaseusError, Unavailable
from caseus.packages import PackageLists
from caseus.publish import Publisher
from caseus.storage.filesystem import FilesystemStorage
from caseus.storage.folders import told
from caseus.upkeep.repair import Repairer
from caseus.watch.intake import Intake
from caseus.watch.reconciler import Reconciler, Work
from caseus.watch.tree import Tree, is_package, why_no_project

LOCK = "watch.lock"

_STEP, _TICK, _GROUP = 50, 100, 200  # milliseconds: of silence, without a change, at most for a group of changes
_POLL = 500  # milliseconds, where the system can't tell of changes
_RETRY = 1.0  # seconds
_FOLLOW = 1.0  # seconds after a change: files in a folder that is new may have come before it was watched
_RESCAN = 600.0  # seconds: what the system forgot to tell
_MOST_AT_ONCE = 0.2  # seconds of looking, before new changes are heard of
_THREADS = 4
_MOST_CHANGES = 5000

_log = structlog.get_logger(__name__)


class Watcher:
    """Watches the folder of one index. Of several on one ROOT, in whatever processes, one works and the others wait."""

    def __init__(
        self,
        catalog: Catalog,
        store: FilesystemStorage,
        publisher: Publisher,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._catalog, self._name = catalog, publisher.tree
        self._tree = Tree(store.root, publisher.tree)
        self._lock_path, self._lock = store.root / LOCK, -1
        self._stop = threading.Event()
        intake = Intake(catalog, store, publisher, clock=clock, stop=self._stop.is_set)
        lists = PackageLists(catalog, store)
        self._reconciler = Reconciler(catalog, self._tree, self._name, intake, Repairer(catalog, store), lists)
        self._due: dict[str, float] = {}  # when each project is to be looked at, by time.monotonic
        self._follow: dict[str, float] = {}  # until when it is looked at once more
        self._finished: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._told: set[str] = set()
        self._distrusted: tuple[int, int] | None = None
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="intake")
        self._thread = threading.Thread(target=self._run, name="caseus-folder", daemon=True)
        logging.getLogger("watchfiles").setLevel(logging.WARNING)

    def begin(self) -> None:
        """Heed the markers, before anybody is answered; then go on in a thread until `close`. Unavailable."""
        with told(f"open {LOCK}"):
            self._lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            self._prepare()
            there = {project for project in self._tree.marked() if why_no_project(project) is None}
            for project in there ^ self._catalog.marked(self._name):
                self._reconciler.mark(project, marked=project in there)
        except CaseusError as error:
            self._tell("folder.unreadable", error=str(error))
        self._thread.start()

    def close(self) -> None:
        """Waits for what is being published."""
        self._stop.set()
        self._thread.join()
        self._pool.shutdown(cancel_futures=True)
        os.close(self._lock)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if _take(self._lock):
                    self._watch()
            except CaseusError as error:
                self._tell("folder.unreadable", error=str(error))
            except Exception:
                _log.exception("folder.failed")
            self._stop.wait(_RETRY)

    def _prepare(self) -> None:
        """Make the folder of an index that has none yet. Unavailable if it is gone."""
        has_files = self._catalog.totals(self._name).files > 0
        if not has_files and not self._tree.path.exists():
            self._tree.make()
        identity = self._tree.adopt()
        if has_files and not self._tree.projects():
            self._distrusted = identity
        self._reconciler.removes = identity != self._distrusted
        if not self._reconciler.removes:
            self._tell(
                "folder.empty", reason="every file is gone, is a disk missing? Nothing is deleted until a restart"
            )

    def _watch(self) -> None:
        """Until we are to stop. Unavailable if the folder is gone, or is another one."""
        self._prepare()
        serial, scan = self._catalog.serial(), 0.0
        for changes in self._changes():
            self._tree.check()
            now = time.monotonic()
            if now >= scan or len(changes) > _MOST_CHANGES:
                scan = now + _RESCAN
                self._note_all()
            else:
                self._note_changes(path for _, path in changes)
            before, serial = serial, self._catalog.serial()
            if serial != before:  # published or forgotten by somebody else
                self._note(project for tree, project, _ in self._catalog.all_changes(before) if tree == self._name)
            self._work_off()

    def _changes(self) -> Iterator[set[watchfiles.main.FileChange]]:
        """Also nothing, ten times a second. Where the system can't tell of changes, by looking at everything."""
        for polling in (False, True):
            try:
                yield from watchfiles.watch(
                    self._tree.path,
                    watch_filter=None,
                    debounce=_GROUP,
                    step=_STEP,
                    rust_timeout=_TICK,
                    yield_on_timeout=True,
                    stop_event=self._stop,
                    raise_interrupt=False,
                    force_polling=polling or None,
                    poll_delay_ms=_POLL,
                )
            except FileNotFoundError:
                raise Unavailable("the folder can't be watched: it is gone", kind="local") from None
            except (OSError, WatchfilesRustInternalError) as error:
                if polling:
                    raise Unavailable(f"the folder can't be watched: {error}", kind="local") from None
                self._tell("folder.polled", reason=f"raise fs.inotify.max_user_watches: {error}")
            else:
                return

    # What is to be looked at.

    def _projects(self) -> Iterator[str]:
        return (name for name in self._tree.projects() if self._judge(name) is None)

    def _note_all(self) -> None:
        for name in self._tree.strays():
            self._judge(name)
        known = (project for tree, project, _ in self._catalog.all_changes() if tree == self._name)
        now = time.monotonic()
        for project in {*known, *self._projects()}:
            self._due.setdefault(project, now)

    def _note_changes(self, paths: Iterable[str]) -> None:
        names = {os.path.relpath(path, self._tree.path).partition("/")[0] for path in paths}
        for name in names:
            self._judge(name)
        self._note(names)

    def _judge(self, name: str) -> str | None:
        """Why nothing can be published from there, which is told; None if something can."""
        why = why_no_project(name)
        if why is not None and (is_package(name) or (self._tree.path / name).is_dir()):
            self._tell("folder.not_published", project=name, reason=why)
        return why

    def _note(self, projects: Iterable[str]) -> None:
        """To be looked at before those that were only found in a scan."""
        follow = time.monotonic() + _FOLLOW
        for project in projects:
            if why_no_project(project) is None:
                self._due[project] = 0.0
                self._follow[project] = follow

    # Looking.

    def _work_off(self) -> None:
        while not self._finished.empty():
            self._due[self._finished.get()] = 0.0
        began = time.monotonic()
        for project in sorted((name for name, due in self._due.items() if due <= began), key=self._due.__getitem__):
            self._look(project)
            if time.monotonic() - began > _MOST_AT_ONCE:
                return

    def _look(self, project: str) -> None:
        del self._due[project]
        try:
            work, again = self._reconciler.look(project)
        except CaseusError as error:
            self._tree.check()  # Unavailable if it is the whole folder that is gone
            self._tell("folder.unreadable", project=project, error=str(error))
            work, again = [], _RETRY
        except Exception:
            _log.exception("folder.failed", project=project)
            work, again = [], _RESCAN
        for each in work:
            self._pool.submit(self._do, each)
        now = time.monotonic()
        if again is None and self._follow.pop(project, 0.0) > now:
            again = _FOLLOW
        if again is not None:
            self._due[project] = now + again

    def _do(self, work: Work) -> None:
        work.do()
        self._finished.put(work.project)

    def _tell(self, event: str, **facts: str) -> None:
        """Once: it may be so for long."""
        text = f"{event} {facts}"
        if text not in self._told:
            self._told.add(text)
            _log.error(event, folder=self._name, **facts)


def _take(fd: int) -> bool:
    """Whether the lock is ours."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
