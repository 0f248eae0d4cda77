"""What lies in a project's folder made facts: published, given another time, or buried."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

import structlog
from packaging.utils import NormalizedName

from caseus.catalog import Catalog, HostedFile, Tombstone
from caseus.catalog.rows import CHANGED
from caseus.checks.armour import check_signature
from caseus.checks.found import check_found
from caseus.checks.limits import MAX_SIGNATURE
from caseus.errors import CaseusError, Conflict, Invalid, NotFound
from caseus.publish import Publisher
from caseus.storage import file_key
from caseus.storage.filesystem import FilesystemStorage
from caseus.watch.in_place import InPlace
from caseus.watch.tree import Seen

ACTOR = "folder"
"""Who the journal says did what a person did in the folder."""

_log = structlog.get_logger(__name__)


class Intake:
    """Reads files of one index where they lie. Thread-safe.

    `clock`: Unix seconds. `stop` says that reading is to end soon (`in_place.Stopped`).
    """

    def __init__(
        self,
        catalog: Catalog,
        store: FilesystemStorage,
        publisher: Publisher,
        *,
        clock: Callable[[], float] = time.time,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._catalog, self._store, self._publisher = catalog, store, publisher
        self._clock, self._stop = clock, stop

    def take(
        self,
        project: NormalizedName,
        filename: str,
        *,
        actor: str = ACTOR,
        owner: str | None = None,
        yanked: str | None = None,
    ) -> None:
        """Publish the file, uploaded when it was last changed.

        `owner` and `yanked` as of `Publisher.take`. Invalid if it is no whole package of the project, Conflict if the
        name was used before, Busy or NotFound if it changes meanwhile, Unavailable.
        """
        with self._open(project, filename) as file:
            with file.reader() as reader:
                found = check_found(project, filename, reader)
            signature, why_not = self._signature(project, filename)
            self._publisher.take(
                file,
                found.checked,
                filename=filename,
                actor=actor,
                signature=signature,
                uploaded=self._uploaded(file.seen),
                owner=owner,
                yanked=yanked,
            )
            row = self._catalog.hosted_file(self._publisher.tree, project, filename)
            if row is None or row.sha256 != file.digests["sha256"]:
                raise Conflict("another project has a file of that name")
        _log.info("folder.published", project=project, filename=filename, remarks=found.remarks, signature=why_not)

    def compare(self, row: HostedFile) -> bool:
        """A published file whose length or time is not what it was; whether it has the same bytes.

        Those get the other time. Other bytes are never served: the name is buried. NotFound, Busy, Unavailable.
        """
        with self._open(row.project, row.filename) as file:
            if file.digests["sha256"] == row.sha256:
                uploaded = self._uploaded(file.seen)
                file.stamp(uploaded)
                self._catalog.redate(row, uploaded, actor=ACTOR)
                return True
            self._catalog.delete([row], CHANGED, actor=ACTOR)
            _log.warning("folder.changed", project=row.project, filename=row.filename)
            return False

    def take_signature(self, row: HostedFile) -> None:
        """Take over a FILE.asc that appeared beside a published file. Invalid if it is none, NotFound, Unavailable."""
        data, why_not = self._signature(row.project, row.filename)
        if why_not is not None:
            raise Invalid(why_not)
        if data is None:
            raise NotFound(f"{row.filename} has no signature")
        self._catalog.sign(row, signed=True, actor=ACTOR)

    def restore(self, grave: Tombstone) -> bool:
        """Publish again what was taken away or changed in the folder, if its bytes are back; whether they are.

        Busy, NotFound, Unavailable.
        """
        project, filename = NormalizedName(grave.project), grave.filename
        with self._open(project, filename) as file:
            if file.digests["sha256"] != grave.sha256:
                return False
        owner = secrets.token_hex(8)
        self._catalog.forget(grave.tree, filename, actor=ACTOR, owner=owner)
        self.take(project, filename, owner=owner, yanked=grave.yanked)
        return True

    def forget(self, grave: Tombstone, *, actor: str) -> CaseusError | None:
        """Let a name be used again, and publish what lies under it now; why that was not published, if it was not.

        NotFound if the tombstone is gone.
        """
        project, filename = NormalizedName(grave.project), grave.filename
        try:
            with self._open(project, filename) as file, file.reader() as reader:
                check_found(project, filename, reader)
        except CaseusError as error:
            self._catalog.forget(grave.tree, filename, actor=actor)
            return error
        owner = secrets.token_hex(8)
        self._catalog.forget(grave.tree, filename, actor=actor, owner=owner)
        try:
            self.take(project, filename, actor=actor, owner=owner)
        except CaseusError as error:
            self._catalog.release(grave.tree, filename, owner)
            return error
        return None

    def _open(self, project: str, filename: str) -> InPlace:
        return InPlace(self._store.root, file_key(self._publisher.tree, project, filename), stop=self._stop)

    def _uploaded(self, seen: Seen) -> float:
        """A time that pages can tell: not in the future, where a clock was wrong, and not before 1970."""
        return min(max(seen.modified, 0.0), self._clock())

    def _signature(self, project: str, filename: str) -> tuple[bytes | None, str | None]:
        """FILE.asc, if it is one; else why it is none."""
        try:
            with self._store.open(file_key(self._publisher.tree, project, f"{filename}.asc")) as blob:
                data = b""
                while len(data) <= MAX_SIGNATURE and (more := blob.read(MAX_SIGNATURE + 1)):
                    data += more
        except NotFound:
            return None, None
        try:
            check_signature(data)
        except Invalid as error:
            return None, f"{filename}.asc {error}"
        return data, None
