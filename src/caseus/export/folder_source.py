"""A folder of packages as a list: what each file says of itself, remembered between runs."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Protocol

import msgspec

from caseus.checks.archive import read_metadata, read_wheel_metadata
from caseus.checks.metadata import CoreMetadata, parse_metadata
from caseus.errors import CaseusError, Invalid, NotFound, Unavailable
from caseus.export.entries import Entry, decode_json
from caseus.export.found import quoted
from caseus.export.sources import Lines
from caseus.export.spool import Spool
from caseus.names import SIDECARS, is_filename

_FORMAT: Final = 1
_THREADS: Final = 8


class Progress(Protocol):
    """As `caseus.upkeep.progress.Progress`."""

    def begin(self, doing: str, total: int) -> None: ...
    def step(self) -> None: ...


class _Seen(msgspec.Struct, array_like=True):
    """A file as it was when it was read; `told` by its sidecar, if that is what tells its metadata."""

    size: int
    modified: int
    sidecar: int
    entry: Entry


class _Memory(msgspec.Struct):
    format: int
    files: dict[str, _Seen]


class PackageFolder:
    """Wheels, sdists and whatever else an index may list, in `folder` and the folders in it.

    `url`: where the folder is to be found, for files that are deeper in it; without one they are known by their names.
    `remember`: a file that keeps what was read; the next run reads only what has another size or time. `sidecars`:
    METADATA is advertised for every wheel, for who writes it too; else where `FILE.metadata` is there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        remember: Path | None = None,
        sidecars: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._folder, self._url, self._remember = folder, url, remember
        self._sidecars, self._progress = sidecars, progress
        self._paths: dict[str, Path] = {}

    @contextmanager
    def lines(self) -> Iterator[Lines]:
        """NotFound, Unavailable; Invalid where two folders have a file of one name."""
        if not self._folder.is_dir():
            raise NotFound(f"there is no folder {self._folder}: check the path")
        found = sorted(self._walk())
        known = self._recall()
        with ThreadPoolExecutor(_THREADS) as pool:
            if self._progress is not None:
                self._progress.begin("reading packages", len(found))
            files = dict(zip(found, pool.map(lambda path: self._look(path, known.get(path)), found), strict=True))
        if files != known:
            self._keep(files)
        with tempfile.TemporaryFile(prefix="caseus-export-") as file:
            for path, seen in files.items():
                entry = seen.entry
                if self._url is not None and "/" in path:
                    entry = msgspec.structs.replace(entry, url=self._url_of(path))
                file.write(msgspec.json.encode(entry) + b"\n")
            file.flush()
            yield Lines(Spool(file), decode_json)

    def path(self, project: str, entry: Entry) -> Path | None:
        return self._paths.get(entry.filename)

    def _walk(self) -> Iterator[str]:
        """Paths of files that an index may list, relative to the folder."""
        self._paths.clear()
        for folder, folders, names in os.walk(self._folder, onerror=_refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if name.startswith(".") or not is_filename(name) or name.endswith(SIDECARS):
                    continue
                path = Path(folder, name)
                if name in self._paths:
                    raise Invalid(f"{name} is there twice: {self._paths[name]} and {path}; move one of them away")
                self._paths[name] = path
                yield str(path.relative_to(self._folder))

    def _look(self, path: str, known: _Seen | None) -> _Seen:
        whole = self._folder / path
        try:
            with whole.open("rb") as file:
                status = os.fstat(file.fileno())
                sidecar = self._sidecar(whole)
                told = sidecar.stat().st_mtime_ns if sidecar else int(self._sidecars)
                if known is not None and (known.size, known.modified, known.sidecar) == (
                    status.st_size, status.st_mtime_ns, told,
                ):  # fmt: skip
                    return known
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                metadata = _metadata(whole.name, file)
        except OSError as error:
            raise Unavailable(f"can't read {whole}: {error.strerror}", kind="local") from None
        entry = Entry(filename=whole.name, hash=f"sha256={digest}", size=status.st_size)
        entry.upload_timestamp = int(status.st_mtime)
        self._tell_metadata(entry, metadata, sidecar)
        if Path(f"{whole}.asc").exists():
            entry.gpg_sig = True
        if self._progress is not None:
            self._progress.step()
        return _Seen(status.st_size, status.st_mtime_ns, told, entry)

    def _tell_metadata(self, entry: Entry, metadata: bytes | None, sidecar: Path | None) -> None:
        core = _parsed(metadata)
        if core is not None:
            entry.requires_python = core.requires_python
            entry.requires_dist = list(core.requires_dist)
        if not entry.filename.endswith(".whl"):
            return
        beside = sidecar.read_bytes() if sidecar else metadata if self._sidecars else None
        if beside is not None:
            entry.core_metadata = f"sha256={hashlib.sha256(beside).hexdigest()}"

    def _sidecar(self, path: Path) -> Path | None:
        sidecar = Path(f"{path}.metadata")
        return sidecar if sidecar.is_file() else None

    def _url_of(self, path: str) -> str:
        return "/".join([(self._url or "").rstrip("/"), *map(quoted, path.split("/"))])

    def _recall(self) -> dict[str, _Seen]:
        if self._remember is None:
            return {}
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            memory = msgspec.msgpack.decode(self._remember.read_bytes(), type=_Memory)
            return memory.files if memory.format == _FORMAT else {}
        return {}

    def _keep(self, files: dict[str, _Seen]) -> None:
        """What can't be kept is read again the next time."""
        if self._remember is None:
            return
        beside = self._remember.with_name(f".{self._remember.name}.new")
        with suppress(OSError):
            self._remember.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(msgspec.msgpack.encode(_Memory(_FORMAT, files)))
            beside.replace(self._remember)


def metadata_of(path: Path) -> bytes | None:
    """METADATA of a wheel, byte for byte; None if it has none that can be read. OSError."""
    with path.open("rb") as file:
        return _metadata(path.name, file)


def _metadata(filename: str, reader: BinaryIO) -> bytes | None:
    try:
        return read_wheel_metadata(reader, filename) if filename.endswith(".whl") else read_metadata(filename, reader)
    except CaseusError:
        return None  # what clients make of it is theirs: the file is listed all the same


def _parsed(metadata: bytes | None) -> CoreMetadata | None:
    try:
        return parse_metadata(metadata) if metadata is not None else None
    except Invalid:
        return None


def _refuse(error: OSError) -> None:
    raise Unavailable(f"can't read {error.filename}: {error.strerror}", kind="local") from None
