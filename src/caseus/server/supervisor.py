"""Several workers on the same sockets: started, replaced when they die, told of reloads, ended in good order.

The supervisor has one thread and no event loop, opens no database and answers nothing, so that there is little in it to
fail. Workers are forked from it: they start in a tenth of a second and share what it has imported.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn

import structlog

from caseus.errors import CaseusError
from caseus.server.channel import SupervisorEnd, WorkerEnd, make_channel
from caseus.server.engine import OVERTIME, end
from caseus.server.reload import Hangups, Reloader, Terminal
from caseus.server.state import State
from caseus.server.worker import forward_hangup

Work = Callable[[int, State, WorkerEnd], None]
"""What a worker does until its end, by its number; CaseusError or OSError if it can't start."""

QUICK: Final = 10.0
"""Seconds: a worker that lives less died at once."""
PAUSES: Final = (0.0, 0.25, 0.5, 1.0, 2.0)
"""Seconds before a worker is started again after so many deaths at once in a row; one more ends the server."""

_STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_SIGNALS: Final = (*_STOPPING, signal.SIGHUP, signal.SIGCHLD)
_FAILED: Final = 1
"""Exit code of a worker that could not start, and has logged why."""
_LATE: Final = 1.0  # seconds that a worker gets to end itself beyond its own overtime

_log: structlog.stdlib.BoundLogger = structlog.get_logger("caseus.server")


class WorkersDie(CaseusError):
    """One worker after the other died. `started`: whether all had been ready before."""

    def __init__(self, message: str, *, started: bool) -> None:
        super().__init__(message)
        self.started = started


@dataclass
class _Slot:
    """A place for a worker, by its number. `pid`: None while there is none; `due`: when the next one is started;
    `quick`: how many died at once, in a row."""

    number: int
    pid: int | None = None
    channel: SupervisorEnd | None = None
    since: float = 0.0
    due: float = 0.0
    quick: int = 0
    ready: bool = False


class Supervisor:
    """Runs `work` in as many processes as the settings say, until a signal. Its process must have no other thread.

    `stop_listening` closes its own sockets, so that nobody connects to them once the workers have closed theirs;
    `on_ready` is called when all workers are ready for the first time, `on_death` with the pid of each that died.
    """

    def __init__(
        self,
        work: Work,
        reloader: Reloader,
        hangups: Hangups,
        *,
        stop_listening: Callable[[], None],
        on_ready: Callable[[], None],
        on_death: Callable[[int], None],
    ) -> None:
        self._work, self._reloader, self._hangups = work, reloader, hangups
        self._stop_listening, self._on_ready, self._on_death = stop_listening, on_ready, on_death
        self._slots = [_Slot(number) for number in range(reloader.state.config.workers)]
        self._selector = selectors.PollSelector()
        self._woken, self._wakes = socket.socketpair()
        self._terminal = Terminal()
        self._deadline: float | None = None  # when what is left of the workers is killed
        self._was_ready = False
        self._failure: WorkersDie | None = None

    def run(self) -> None:
        """Until the last worker has ended. WorkersDie if they would not live."""
        try:
            self._take_signals()
            if self._hangups.came():
                self._handle(signal.SIGHUP)
            self._supervise()
        finally:
            self._forget()
        if self._failure is not None:
            raise self._failure

    def _supervise(self) -> None:
        for slot in self._slots:
            self._start(slot)
        while self._deadline is None or any(slot.pid for slot in self._slots):
            for number in self._next_signals():
                self._handle(number)
            self._reap()
            if self._deadline is None:
                self._start_due()
            elif time.monotonic() >= self._deadline:
                _log.warning("killed workers that did not end within the grace time")
                self._signal(signal.SIGKILL)

    # Signals

    def _take_signals(self) -> None:
        """They only wake the loop up, so that each is handled in its turn."""
        for sock in (self._woken, self._wakes):
            sock.setblocking(False)
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        for number in _SIGNALS:
            signal.signal(number, lambda number, frame: None)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def _next_signals(self) -> Iterator[int]:
        """Waits for whatever comes first: a signal, a worker that is ready, or the time for something."""
        for key, _ in self._selector.select(self._patience()):
            if key.fileobj is self._woken:
                yield from dict.fromkeys(self._woken.recv(4096))
            else:
                self._hear(key.data)

    def _patience(self) -> float | None:
        """Seconds until there is something to do unasked."""
        due = [slot.due for slot in self._slots if slot.pid is None] if self._deadline is None else [self._deadline]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _handle(self, number: int) -> None:
        if number in _STOPPING:
            if self._deadline is not None:  # a second one
                self._signal(signal.SIGKILL)
                end(128 + number)
            self._stop()
        elif number == signal.SIGHUP and self._deadline is None:
            if self._terminal.is_gone():
                self._stop()
            elif self._reloader.reload():
                self._tell_all()

    def _tell_all(self) -> None:
        for slot in self._slots:
            if slot.channel is not None:
                try:
                    slot.channel.send(self._reloader.state)
                except OSError as error:
                    _log.error("a worker could not be told of the reload", pid=slot.pid, reason=str(error))

    def _stop(self) -> None:
        self._deadline = time.monotonic() + self._reloader.state.config.grace + OVERTIME + _LATE
        self._stop_listening()
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        for slot in self._slots:
            if slot.pid is not None:
                os.kill(slot.pid, number)  # it is not reaped yet, so the number is still its own

    # Workers

    def _start_due(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.pid is None and now >= slot.due:
                self._start(slot)

    def _start(self, slot: _Slot) -> None:
        ours, theirs = make_channel()
        # A signal between fork and the worker's own handlers would be told to the supervisor by the wakeup socket.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._become_worker(slot.number, theirs, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        slot.pid, slot.channel, slot.since, slot.ready = pid, ours, time.monotonic(), False
        self._selector.register(ours, selectors.EVENT_READ, slot)

    def _become_worker(self, worker: int, channel: WorkerEnd, signals: set[int]) -> NoReturn:
        code = _FAILED
        try:
            self._forget()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: all get it, and the supervisor acts on it
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            forward_hangup()
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
            self._work(worker, self._reloader.state, channel)
            code = 0
        except (CaseusError, OSError) as error:
            _log.error("a worker could not start", reason=str(error), pid=os.getpid())
        except BaseException:
            _log.exception("a worker failed", pid=os.getpid())
        finally:
            end(code)

    def _forget(self) -> None:
        """Let go of what is the supervisor's own, at its end and in a worker."""
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for sock in (self._woken, self._wakes):
            sock.close()
        for slot in self._slots:
            if slot.channel is not None:
                slot.channel.close()

    def _hear(self, slot: _Slot) -> None:
        assert slot.channel is not None
        self._selector.unregister(slot.channel)
        slot.ready = slot.channel.is_ready()
        if not self._was_ready and all(each.ready for each in self._slots):
            self._was_ready = True
            self._on_ready()

    def _reap(self) -> None:
        """Also what is nobody's: as process 1 of a container it inherits children of workers that died."""
        slots = {slot.pid: slot for slot in self._slots}
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                slot = slots.get(found[0])
                if slot is not None:
                    self._bury(slot, os.waitstatus_to_exitcode(found[1]))

    def _bury(self, slot: _Slot, code: int) -> None:
        assert slot.channel is not None and slot.pid is not None
        if slot.channel.fileno() in self._selector.get_map():
            self._selector.unregister(slot.channel)
        slot.channel.close()
        now, pid = time.monotonic(), slot.pid
        slot.pid = slot.channel = None
        if self._deadline is not None:
            return
        self._on_death(pid)
        slot.quick = slot.quick + 1 if now - slot.since < QUICK else 1
        cause = f"signal {-code}" if code < 0 else f"exit code {code}"
        if slot.quick > len(PAUSES):
            self._give_up(cause)
            return
        slot.due = now + PAUSES[slot.quick - 1]
        _log.error("a worker died, and is replaced", pid=pid, cause=cause, pause=PAUSES[slot.quick - 1])

    def _give_up(self, cause: str) -> None:
        self._failure = WorkersDie(
            f"workers die as soon as they are started ({cause}): the log above tells why", started=self._was_ready
        )
        _log.error("workers die as soon as they are started: the server stops", cause=cause)
        self._stop()
