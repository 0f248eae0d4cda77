"""Unix sockets that listen: made with their mode in place of one that a killed server left, taken away at the end."""

from __future__ import annotations

import errno
import os
import pathlib
import socket
import stat
from contextlib import suppress
from typing import NamedTuple

from caseus.errors import Unavailable


class Path(NamedTuple):
    """A path that we made, and what lies there."""

    path: pathlib.Path
    device: int
    inode: int

    def remove(self) -> None:
        """Unless it is another's by now."""
        with suppress(OSError):
            there = os.lstat(self.path)
            if (there.st_dev, there.st_ino) == (self.device, self.inode):
                os.unlink(self.path)


def listen(path: pathlib.Path, mode: int, backlog: int) -> tuple[socket.socket, Path]:
    """Unavailable with the reason."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(os.fspath(path))
        os.chmod(path, mode)  # nobody can connect before it listens
        sock.listen(backlog)
        sock.setblocking(False)
        made = os.lstat(path)
    except OSError as error:
        sock.close()
        raise Unavailable(_explain(error, path), kind="local") from None
    except BaseException:
        sock.close()
        raise
    return sock, Path(path, made.st_dev, made.st_ino)


def _remove_stale(path: pathlib.Path) -> None:
    """A socket at which nobody listens any more. Unavailable for anything else."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(there.st_mode):
        raise Unavailable(f"{path} is there, and no socket: give another --bind, or take it away", kind="local")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(os.fspath(path))
    if code == errno.ECONNREFUSED:
        os.unlink(path)
    elif code != errno.ENOENT:  # connected, or its backlog is full
        raise Unavailable(f"{path} is in use: stop what listens there, or give another --bind", kind="local")


def _explain(error: OSError, path: pathlib.Path) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{path} is in use: stop what listens there, or give another --bind"
    return f"can't listen on {path}: {error.strerror}: see its folder, and who may write there"
