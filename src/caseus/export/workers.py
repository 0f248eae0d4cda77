"""Work for all cores: forked helpers that share what is in memory, and hand their results back.

What the tasks read is there already when the helpers start, so nothing of it is copied; only results travel.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, TypeVar

from caseus.errors import Unavailable

try:
    import _pickle as pickle  # what is in C of `pickle`, which takes three times as long to load
except ImportError:
    import pickle  # type: ignore[no-redef]

T = TypeVar("T")
R = TypeVar("R")

_Error = tuple[type[BaseException], tuple[Any, ...], dict[str, Any]]
_NUMBER = struct.Struct("<I")
_PROTOCOL: Final = 5
_number = 0
_ending: list[int] = []  # helpers that gave all they had
_MOST_TASKS = 4096  # of 4 bytes each: they fit into a pipe of 64 KiB that nobody reads yet


def most_jobs() -> int:
    """As many as there are cores for us; 1 where threads run, for a fork takes none of them along, only their locks."""
    return len(os.sched_getaffinity(0)) if len(sys._current_frames()) == 1 else 1


def number() -> int:
    """Of this process among those that work: 0 is who called `run`."""
    return _number


def run(jobs: int, tasks: Sequence[T], work: Callable[[T], R], meanwhile: Callable[[], None] | None = None) -> list[R]:
    """What `work` makes of each task, in the order of the tasks. The first error that is met ends it.

    `work` runs here, and in `jobs` - 1 helpers; what it changes in memory stays in its own process. `meanwhile`: what
    is to be done here only, once the helpers work. Unavailable if a helper is killed.
    """
    if len(tasks) > _MOST_TASKS:
        raise ValueError(f"{len(tasks)} tasks are too many: make them larger")
    jobs = min(jobs, len(tasks))
    meanwhile = meanwhile or (lambda: None)
    if jobs <= 1:
        meanwhile()
        return [work(task) for task in tasks]
    numbers, feed = os.pipe()
    helpers: list[_Helper] = []
    try:
        os.write(feed, b"".join(map(_NUMBER.pack, range(len(tasks)))))
        os.close(feed)
        for _ in range(jobs - 1):
            helpers.append(_start(numbers, tasks, work, helpers))
        meanwhile()
        found = dict(_take(numbers, tasks, work))
        for helper in helpers:
            found.update(_results(helper))
    except BaseException:
        for helper in helpers:
            with suppress(ProcessLookupError):
                os.kill(helper.pid, 9)
        raise
    finally:
        os.close(numbers)
        for helper in helpers:
            os.close(helper.results)
            _ending.append(helper.pid)
    return [found[number] for number in range(len(tasks))]


@contextmanager
def settled() -> Iterator[None]:
    """Helpers of what runs in it are gone behind it, as `run` does not wait for the end of theirs."""
    try:
        yield
    finally:
        while _ending:
            os.waitpid(_ending.pop(), 0)


class _Helper(NamedTuple):
    pid: int
    results: int
    """A descriptor to read them from."""


def _start(numbers: int, tasks: Sequence[T], work: Callable[[T], R], others: Sequence[_Helper]) -> _Helper:
    results, answer = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(answer)
        return _Helper(pid, results)
    global _number
    _number = len(others) + 1
    code = 1
    try:
        for descriptor in (results, *(helper.results for helper in others)):
            os.close(descriptor)
        told: tuple[Any, _Error | None]
        try:
            told = list(_take(numbers, tasks, work, parent)), None
        except BaseException as error:
            told = None, (type(error), error.args, error.__dict__)
        with open(answer, "wb") as file:
            pickle.dump(told, file, _PROTOCOL)
        code = 0
    finally:
        os._exit(code)


def _take(
    numbers: int, tasks: Sequence[T], work: Callable[[T], R], parent: int | None = None
) -> Iterator[tuple[int, R]]:
    """The next task that nobody took yet, until there is none, or the process that wants the results is gone."""
    while parent in (None, os.getppid()) and (packed := os.read(numbers, _NUMBER.size)):
        number = _NUMBER.unpack(packed)[0]
        yield number, work(tasks[number])


def _results(helper: _Helper) -> list[tuple[int, Any]]:
    with open(helper.results, "rb", closefd=False) as file:
        try:
            results, error = pickle.load(file)  # noqa: S301  (our own child wrote it)
        except (EOFError, pickle.UnpicklingError):
            raise Unavailable("a helper process was killed: is there enough memory?", kind="local") from None
    if error is not None:
        raise _again(error)
    found: list[tuple[int, Any]] = results
    return found


def _again(error: _Error) -> BaseException:
    """The error as it was raised, whatever its class is made by."""
    kind, args, attributes = error
    found = kind.__new__(kind, *args)
    found.__dict__.update(attributes)
    return found
