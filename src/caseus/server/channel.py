"""What a supervisor and a worker tell each other: one is ready, the other has read a new state, either has ended."""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator

from caseus.server.state import State

_READY, _STATE = b"ready", b"state"
_LONGEST = 16


class SupervisorEnd:
    """Never blocks: a worker that hangs must not hold up the others."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def is_ready(self) -> bool:
        """Whether the worker has said so; to be asked when there is something to read."""
        try:
            return self._socket.recv(_LONGEST) == _READY
        except OSError:
            return False

    def send(self, state: State) -> None:
        """OSError if the worker is gone, or does not listen. What is sent is a descriptor, so it is always short."""
        descriptor = os.memfd_create("caseus-state", os.MFD_CLOEXEC)
        with open(descriptor, "wb", buffering=0) as file:
            file.write(pickle.dumps(state))
            socket.send_fds(self._socket, [_STATE], [descriptor])

    def close(self) -> None:
        self._socket.close()


class WorkerEnd:
    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def say_ready(self) -> None:
        """OSError if the supervisor is gone."""
        self._socket.send(_READY)

    def close(self) -> None:
        self._socket.close()

    def states(self) -> Iterator[State]:
        """Each new state as it comes; ends when the supervisor does."""
        while True:
            message, descriptors, _, _ = socket.recv_fds(self._socket, _LONGEST, 1)
            if not message:
                return
            with open(descriptors[0], "rb") as file:
                file.seek(0)  # the offset is shared with who wrote it
                yield pickle.load(file)  # noqa: S301  (of the process that forked this one)


def make_channel() -> tuple[SupervisorEnd, WorkerEnd]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return SupervisorEnd(ours), WorkerEnd(theirs)
