"""Every fact that `files/` tells, written into a catalog that knows nothing yet."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import groupby

import msgspec

from caseus.catalog import Catalog, HostedFile
from caseus.errors import CaseusError, Invalid, NotFound
from caseus.names import check_index_name, is_normalized, split_sidecar
from caseus.packages import Line, PackageLists, read_lines
from caseus.storage import MARKERS, file_key, packages_key
from caseus.storage.filesystem import FilesystemStorage
from caseus.upkeep import facts
from caseus.verify import Damage, Kind, compare

_LIST = "packages.jsonl"


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """How much was found. `unlisted`: keys of files that no list knew."""

    projects: int
    files: int
    tombstones: int
    unlisted: tuple[str, ...]
    damages: tuple[Damage, ...]


class Gatherer:
    """`seen` is called for each file, sidecar and list. Without `check_digests` only lengths are compared."""

    def __init__(
        self,
        catalog: Catalog,
        store: FilesystemStorage,
        *,
        check_digests: bool,
        actor: str,
        seen: Callable[[], None] = lambda: None,
    ) -> None:
        self._catalog, self._store = catalog, store
        self._lists = PackageLists(catalog, store)
        self._check_digests, self._actor, self._seen = check_digests, actor, seen
        self._damages: list[Damage] = []
        self._unlisted: list[str] = []

    def run(self) -> Gathered:
        for folder, keys in groupby(self._store.keys("files/"), key=lambda key: key.rpartition("/")[0]):
            names = [key.rpartition("/")[2] for key in keys]
            tree, _, project = folder.rpartition("/")
            if _is_project(tree, project):
                self._project(tree, project, names)
            else:
                for name in names:
                    self._damage("extra", f"{folder}/{name}", "not taken: it does not lie in files/INDEX/PROJECT/")
            for _ in names:
                self._seen()
        totals = self._catalog.totals()
        return Gathered(
            projects=sum(1 for _ in self._catalog.all_changes()),
            files=totals.files,
            tombstones=totals.tombstones,
            unlisted=tuple(self._unlisted),
            damages=tuple(self._damages),
        )

    def _project(self, tree: str, project: str, names: list[str]) -> None:
        lines = self._lines(tree, project) if _LIST in names else {}
        graves = [facts.tombstone(tree, project, line) for line in lines.values() if line.deleted is not None]
        files = [self._listed(tree, project, line) for line in lines.values() if line.deleted is None]
        others = (_LIST, *MARKERS)
        rest = [name for name in names if name not in others and split_sidecar(name)[0] not in lines]
        files += [self._unknown(tree, project, name, names) for name in rest]
        taken = self._catalog.reinstate([file for file in files if file is not None], graves, actor=self._actor)
        for name in taken:
            self._damage("extra", file_key(tree, project, name), "not taken: another project has a file of that name")
        if not set(MARKERS).isdisjoint(names):
            self._catalog.mark(tree, project, marked=True, actor=self._actor)
        if not self._lists.is_current(tree, project):
            self._store.keep_aside(packages_key(tree, project))  # it may tell an expert more than we understood
            self._lists.write([(tree, project)])

    def _lines(self, tree: str, project: str) -> dict[str, Line]:
        """By filename. A name that was deleted stays so, whatever other line there is of it."""
        key = packages_key(tree, project)
        try:
            with self._store.open(key) as blob:
                found, broken = read_lines(b"".join(iter(blob.read, b"")))
        except CaseusError as error:
            self._damage("unreadable", key, str(error))
            return {}
        for number in broken:
            self._damage("unreadable", key, f"line {number} can't be understood: what it said is lost")
        lines: dict[str, Line] = {}
        for line in found:
            fault = facts.check_line(line)
            if fault is not None:
                self._damage("unreadable", key, f"what it said is lost: {fault}")
            elif line.filename not in lines or line.deleted is not None:
                lines[line.filename] = line
        return lines

    def _listed(self, tree: str, project: str, line: Line) -> HostedFile | None:
        """As its list tells it, whatever became of its bytes: the name stays bound to the digest."""
        key = file_key(tree, project, line.filename)
        if not facts.complete(line):
            return self._half_listed(tree, project, line, key)
        file = facts.listed_file(tree, project, line)
        self._store.stamp(key, file.uploaded)  # a copy of the folder may have lost it
        self._check(key, file.sha256, file.size)
        if file.metadata_sha256 is not None:
            self._check(f"{key}.metadata", file.metadata_sha256)
        if file.has_sig:
            self._check(f"{key}.asc")
        return file

    def _half_listed(self, tree: str, project: str, line: Line, key: str) -> HostedFile | None:
        """By its bytes, if they are those that the list means."""
        file = self._read(tree, project, line.filename)
        if file is not None and file.sha256 != facts.sha256_of(line.hash):
            self._damage(
                "wrong digest", key, f"not taken: sha256 {file.sha256} instead of {facts.sha256_of(line.hash)}"
            )
            return None
        return facts.amended(file, line) if file is not None else None

    def _unknown(self, tree: str, project: str, name: str, names: list[str]) -> HostedFile | None:
        """A file that no list knows: an upload was cut off, or the list was behind or is lost."""
        base, ending = split_sidecar(name)
        if ending:
            if base not in names:
                self._damage("extra", file_key(tree, project, name), "not taken: its file is not there")
            return None
        file = self._read(tree, project, name)
        if file is not None:
            self._unlisted.append(file_key(tree, project, name))
        return file

    def _read(self, tree: str, project: str, name: str) -> HostedFile | None:
        """By its bytes, with a METADATA beside it that is its own; None, and a damage, for what is no package."""
        key = file_key(tree, project, name)
        try:
            file, metadata = facts.read_file(self._store, tree, project, name)
            if file.metadata_sha256 and compare(self._store, f"{key}.metadata", file.metadata_sha256) is not None:
                self._store.replace(f"{key}.metadata", io.BytesIO(metadata))
            signed = compare(self._store, f"{key}.asc") is None
        except NotFound:
            self._damage("missing", key, "its list has it, the store does not")
            return None
        except CaseusError as error:
            self._damage("extra" if isinstance(error, Invalid) else "unreadable", key, f"not taken: {error}")
            return None
        return msgspec.structs.replace(file, has_sig=signed)

    def _check(self, key: str, sha256: str | None = None, size: int | None = None) -> None:
        """Whether the bytes are there as they should be."""
        damage = compare(self._store, key, sha256, size) if self._check_digests else self._compare_size(key, size)
        if damage is not None:
            self._damages.append(damage)

    def _compare_size(self, key: str, size: int | None) -> Damage | None:
        try:
            with self._store.open(key) as blob:
                if size is not None and blob.size != size:
                    return Damage("wrong size", key, f"{blob.size} bytes instead of {size}")
        except NotFound:
            return Damage("missing", key, "its list has it, the store does not")
        except CaseusError as error:
            return Damage("unreadable", key, str(error))
        return None

    def _damage(self, kind: Kind, key: str, detail: str) -> None:
        self._damages.append(Damage(kind, key, detail))


def _is_project(tree: str, project: str) -> bool:
    top, _, index = tree.partition("/")
    try:
        return top == "files" and check_index_name(index) == index and is_normalized(project)
    except Invalid:
        return False
