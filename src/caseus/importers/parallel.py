"""Work for a few threads that makes more work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def in_parallel(threads: int, next_task: Callable[[], Callable[[], T] | None]) -> Iterator[T]:
    """What the tasks return, as they end, at most `threads` at a time; an error of one ends it once the others end.

    `next_task` is called in the caller's thread and gives None where there is no task now; between two results the
    caller may make more.
    """
    running: set[Future[T]] = set()
    with ThreadPoolExecutor(threads, thread_name_prefix="import") as pool:
        while True:
            while len(running) < threads and (task := next_task()) is not None:
                running.add(pool.submit(task))
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
