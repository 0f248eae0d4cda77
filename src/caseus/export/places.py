"""Where a tree gets its place: in a folder that has one already, in an empty one, or by exchange with the old one."""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Final, Protocol

from caseus.errors import Busy, Invalid, Unavailable
from caseus.export.fresh import FreshFolder
from caseus.export.state import KEY, RUNNING
from caseus.export.target import FolderTarget, StoredTarget, StrPath, Target

if TYPE_CHECKING:
    from caseus.storage import Storage

_NEW: Final = ".caseus-export.new"
_LATER: Final = ("changelog", "rss", "404.html", "robots.txt", "index.html", "packages.json", KEY)
"""What gets its place after everything that it leads to."""
_TEMPORARY: Final = (
    r"\.(caseus-(export|publish)\.[a-z]+|index\.html|packages\.json|404\.html|robots\.txt|\.nojekyll)(\.gz|\.zst)?\.new"
)
_EXCHANGE: Final = 2  # RENAME_EXCHANGE of renameat2(2)
_HERE: Final = -100  # AT_FDCWD


class Place(Protocol):
    """A tree that is exported to. `aside`: a copy of it, which takes its place when the context ends well."""

    @property
    def target(self) -> Target: ...
    def aside(self) -> AbstractContextManager[Target]: ...


@contextmanager
def opened(target: StrPath | Storage, *, sync: bool) -> Iterator[Place]:
    """Nobody else exports there while it is open. Busy, Unavailable."""
    if not isinstance(target, (str, os.PathLike)):
        yield _Store(StoredTarget(target))
        return
    folder = os.path.realpath(target)
    with locked(folder) as names:
        if not {"simple", "pypi", *_LATER}.isdisjoint(names):
            yield _Folder(folder, FolderTarget(folder, sync=sync))
            return
        # Nobody reads what is not there yet: it is made aside and then gets its place, whole.
        new = f"{folder}/{_NEW}"
        os.mkdir(new)
        try:
            with FreshFolder(new, sync=sync) as fresh:
                yield _Store(fresh)
            running = FolderTarget(folder)
            running.write(RUNNING, b"")  # of two folders one may have its place when a kill comes
            for name in sorted(os.listdir(new), key=lambda name: _LATER.index(name) if name in _LATER else -1):
                os.rename(f"{new}/{name}", f"{folder}/{name}")
            running.delete(RUNNING)
        finally:
            _remove(new)


class _Store:
    """A place that can't be exchanged, or need not be."""

    def __init__(self, target: Target) -> None:
        self.target = target

    def aside(self) -> AbstractContextManager[Target]:
        if not self.target.empty:
            raise Invalid("only a folder can be exchanged: leave out --atomic")
        return nullcontext(self.target)


class _Folder:
    def __init__(self, folder: str, target: FolderTarget) -> None:
        self._folder, self.target = folder, target

    @contextmanager
    def aside(self) -> Iterator[Target]:
        """Links to the old files, of which those that change are replaced. Unavailable."""
        import shutil

        new = _beside(self._folder)
        try:
            shutil.copytree(self._folder, new, copy_function=os.link, symlinks=True)
        except (OSError, shutil.Error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "links can't be made"
            raise Unavailable(f"can't make {new} for an exchange: {reason}; leave out --atomic", kind="local") from None
        try:
            yield FolderTarget(new, sync=self.target.sync)
            _exchange(new, self._folder)
        finally:
            _remove(new)


def _cleaned(folder: str) -> list[str]:
    """Names in the folder, once what a writer that was killed left here is taken away.

    What it left deeper is for `Target.sweep`.
    """
    _remove(f"{folder}/{_NEW}")
    _remove(_beside(folder))
    names = os.listdir(folder)
    for name in names:
        if name.endswith(".new") and re.fullmatch(_TEMPORARY, name):
            with suppress(OSError):
                os.unlink(f"{folder}/{name}")
    return names


def _remove(folder: str) -> None:
    """With all that is in it, if it is there."""
    try:
        os.rmdir(folder)
    except FileNotFoundError:
        return
    except OSError:  # it is not empty
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def _beside(folder: str) -> str:
    above, name = os.path.split(folder)
    return os.path.join(above, f".{name}{_NEW}")


@contextmanager
def locked(folder: StrPath) -> Iterator[list[str]]:
    """What is in the folder, which is made if it is missing. Busy if another export writes there; Unavailable."""
    folder = os.fspath(folder)
    try:
        os.makedirs(folder, exist_ok=True)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"can't write to {folder}: {error.strerror}", kind="local") from None
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another export writes to {folder}: wait for it", retry_after=60) from None
        yield _cleaned(folder)
    finally:
        os.close(fd)


def check_publishable(folder: StrPath, root: StrPath) -> None:
    """Whether a server with the data folder `root` can keep pages there; it is made. Invalid, Unavailable."""
    import tempfile
    from pathlib import Path

    real, data = Path(os.path.realpath(folder)), Path(os.path.realpath(root))
    if real == data or data in real.parents:
        raise Invalid(f"publish: {folder} is in the data folder {root}: give a folder of its own")
    if real in data.parents:
        raise Invalid(f"publish: {folder} has the data folder {root} in it, with its users: give a folder of its own")
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, prefix=".caseus-publish-"):
            pass
    except OSError as error:
        raise Unavailable(
            f"publish: can't write to {folder}: {error.strerror}: make it a folder that this user may write to",
            kind="local",
        ) from None


def _exchange(one: str, other: str) -> None:
    """Both folders change places in one step: whoever looks sees the one or the other. Unavailable."""
    import ctypes

    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise Unavailable("this system can't exchange folders: leave out --atomic", kind="local")
    if renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE):
        code = ctypes.get_errno()
        why = "it is a mount point of its own" if code in (errno.EBUSY, errno.EXDEV) else os.strerror(code)
        raise Unavailable(f"{other} can't be exchanged: {why}; leave out --atomic", kind="local")
