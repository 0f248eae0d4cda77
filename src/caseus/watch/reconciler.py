"""One project's folder against what the catalog says of it, and what follows of each difference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import structlog
from packaging.utils import NormalizedName

from caseus.catalog import Catalog, HostedFile, Tombstone
from caseus.catalog.rows import CHANGED, REMOVED
from caseus.errors import Busy, CaseusError, Conflict, Invalid, NotFound, Unavailable
from caseus.packages import PackageLists
from caseus.storage import MARKERS, file_key
from caseus.upkeep.repair import Repairer
from caseus.verify import Damage
from caseus.watch.in_place import Stopped
from caseus.watch.intake import ACTOR, Intake
from caseus.watch.notes import Note, Notes, Verdict
from caseus.watch.tree import NOT_PLAIN, Seen, Tree, is_package

_BUSY, _TROUBLED = 1.0, 5.0  # seconds until what could not be done is tried again
_LIST = "packages.jsonl"
_USED = "the name was used before: delete the file, or see `caseus project forget`"
_log = structlog.get_logger(__name__)


class Work(NamedTuple):
    """Something that takes longer than a look, because a file has to be read; `do` may be called in any thread."""

    project: str
    do: Callable[[], None]


class Look(NamedTuple):
    """What is to be done now, and the seconds after which another look is due (None: when something changes)."""

    work: list[Work]
    again: float | None


class Reconciler:
    """The folders of the index whose files are under `tree`. `clock`: seconds, going forward only."""

    def __init__(
        self,
        catalog: Catalog,
        tree: Tree,
        name: str,
        intake: Intake,
        repairer: Repairer,
        lists: PackageLists,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog, self._tree, self._name = catalog, tree, name
        self._intake, self._repairer, self._lists = intake, repairer, lists
        self._clock = clock
        self._notes: dict[str, Notes] = {}
        self.removes = True
        """Whether what is missing was removed; False where it may be a disk that is missing."""

    def look(self, project: str) -> Look:
        """Markers and removals are in force when this returns. Unavailable. For one thread."""
        rows = {row.filename: row for row in self._catalog.hosted_files(self._name, project)}  # before the folder
        graves = {grave.filename: grave for grave in self._catalog.tombstones(self._name, project)}
        found = self._tree.look(project)
        notes = self._notes.setdefault(project, Notes(self._clock))
        self._heed(project, found, notes)
        work: list[Work] = []
        for row in rows.values():
            if row.filename in found:
                work += self._known(row, found, notes)
        for filename, seen in sorted(found.items()):
            if filename not in rows and is_package(filename):
                work += self._new(project, filename, seen, notes, graves.get(filename))
        gone = [row for row in rows.values() if row.filename not in found]
        self._remove([row for row in gone if self._is_gone(notes, row.filename)])
        if (rows or graves) and not gone and _LIST not in found and notes.is_ripe(notes.meet(_LIST, None)):
            self._write_list(project)
        again = notes.finish()
        if not notes:
            del self._notes[project]
        return Look(work, again)

    def mark(self, project: str, *, marked: bool) -> None:
        """Say that the folder has a marker, or none."""
        if marked != self._catalog.is_marked(self._name, project) and (marked or self.removes):
            self._catalog.mark(self._name, project, marked=marked, actor=ACTOR)
            _log.info("folder.marked" if marked else "folder.unmarked", project=project)

    def _heed(self, project: str, found: Iterable[str], notes: Notes) -> None:
        """A marker is in force at once; that it is gone is believed a moment later, as of files."""
        gone = set(MARKERS).isdisjoint(found)
        if gone and not (self.removes and self._catalog.is_marked(self._name, project)):
            return
        if not gone or notes.is_ripe(notes.meet(MARKERS[0], None)):
            self.mark(project, marked=not gone)

    # What lies there and is not published.

    def _new(self, project: str, filename: str, seen: Seen, notes: Notes, grave: Tombstone | None) -> Iterator[Work]:
        note = notes.meet(filename, seen)
        if note.verdict is Verdict.BURIED and grave is None:  # forgotten meanwhile
            note.verdict = Verdict.OPEN
        if seen == NOT_PLAIN:
            note.verdict = Verdict.JUDGED
        if not notes.is_ripe(note):
            return
        if grave is None:
            yield self._work(project, filename, notes, note, partial(self._take, project, filename))
        elif grave.reason in (REMOVED, CHANGED):
            yield self._work(project, filename, notes, note, partial(self._restore, grave))
        else:
            note.verdict = Verdict.BURIED
            if seen.changed_ns / 1e9 > grave.deleted + 1:  # else it is what the deletion left
                _log.warning("folder.not_published", project=project, filename=filename, reason=_USED)

    def _take(self, project: str, filename: str) -> Verdict:
        self._intake.take(NormalizedName(project), filename)
        return Verdict.JUDGED

    def _restore(self, grave: Tombstone) -> Verdict:
        if self._intake.restore(grave):
            return Verdict.JUDGED
        _log.warning("folder.not_published", project=grave.project, filename=grave.filename, reason=_USED)
        return Verdict.BURIED

    # What is published and lies there.

    def _known(self, row: HostedFile, found: Mapping[str, Seen], notes: Notes) -> Iterator[Work]:
        seen = found[row.filename]
        if seen.is_of(row.size, row.uploaded):
            yield from self._signature(row, found, notes)
            yield from self._metadata(row, found, notes)
            return
        note = notes.meet(row.filename, seen)
        if not notes.is_ripe(note):
            return
        if seen == NOT_PLAIN:
            self._refuse(row.project, row.filename, note, "it is no plain file any more: links are not followed")
        else:
            yield self._work(row.project, row.filename, notes, note, partial(self._compare, row))

    def _compare(self, row: HostedFile) -> Verdict:
        return Verdict.JUDGED if self._intake.compare(row) else Verdict.BURIED

    def _signature(self, row: HostedFile, found: Mapping[str, Seen], notes: Notes) -> Iterator[Work]:
        name = f"{row.filename}.asc"
        if (name in found) == row.has_sig:
            return
        note = notes.meet(name, found.get(name))
        if not notes.is_ripe(note):
            return
        if name in found:
            yield self._work(row.project, name, notes, note, partial(self._take_signature, row))
        else:
            self._catalog.sign(row, signed=False, actor=ACTOR)

    def _take_signature(self, row: HostedFile) -> Verdict:
        self._intake.take_signature(row)
        return Verdict.JUDGED

    def _metadata(self, row: HostedFile, found: Mapping[str, Seen], notes: Notes) -> Iterator[Work]:
        """Made again where somebody took it away: without it, clients can't install the wheel."""
        name = f"{row.filename}.metadata"
        if row.metadata_sha256 is None or name in found:
            return
        note = notes.meet(name, None)
        if notes.is_ripe(note):
            yield self._work(row.project, name, notes, note, partial(self._make_metadata, row, name))

    def _make_metadata(self, row: HostedFile, name: str) -> Verdict:
        damage = Damage("missing", file_key(row.tree, row.project, name), "")
        repair = self._repairer.repair(damage)
        if not repair.done:
            raise Unavailable(repair.outcome, kind="local")
        return Verdict.OPEN  # it may be taken away again before anybody has seen it

    # What was published and is gone.

    def _is_gone(self, notes: Notes, filename: str) -> bool:
        note = notes.meet(filename, None)
        if not notes.is_ripe(note):
            return False
        if not self.removes:
            note.verdict = Verdict.JUDGED
        return self.removes

    def _remove(self, gone: list[HostedFile]) -> None:
        if not gone:
            return
        try:
            self._catalog.delete(gone, REMOVED, actor=ACTOR)
        except NotFound:  # somebody deleted one of them: the next look is without it
            return
        for row in gone:
            _log.info("folder.removed", project=row.project, filename=row.filename)

    def _write_list(self, project: str) -> None:
        self._catalog.alone(lambda: self._lists.write([(self._name, project)]))

    # Work, and what comes of it.

    def _work(self, project: str, filename: str, notes: Notes, note: Note, act: Callable[[], Verdict]) -> Work:
        note.verdict = Verdict.WORKING

        def do() -> None:
            try:
                note.verdict = act()
            except (Busy, NotFound, Stopped):  # it changes, or somebody else is at it
                notes.put_off(note, _BUSY)
            except (Invalid, Conflict) as error:
                self._refuse(project, filename, note, str(error))
            except CaseusError as error:
                if not note.not_before:  # it may be so for long
                    _log.warning("folder.troubled", project=project, filename=filename, error=str(error))
                notes.put_off(note, _TROUBLED)
            except Exception:
                _log.exception("folder.failed", project=project, filename=filename)
                note.verdict = Verdict.JUDGED

        return Work(project, do)

    def _refuse(self, project: str, filename: str, note: Note, why: str) -> None:
        note.verdict = Verdict.JUDGED
        _log.warning("folder.not_published", project=project, filename=filename, reason=why)
