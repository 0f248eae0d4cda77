"""Work for a few threads that makes more work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")


def in_parallel(threads: int, next_task: Callable[[], Callable[[], T] | None]) -> Iterator[T]:
    """What the tasks return, as they end, at most `threads` at a time.

    `next_task` is called in the caller's thread and gives None where there is no task now; between two results the
    caller may make more. After an error, of it or of a task, nothing new begins: what was begun is waited for and
    given, and then the error is raised.
    """
    running: set[Future[T]] = set()
    failed: BaseException | None = None
    with ThreadPoolExecutor(threads, thread_name_prefix="import") as pool:
        while True:
            try:
                while failed is None and len(running) < threads and (task := next_task()) is not None:
                    running.add(pool.submit(task))
            except Exception as error:
                failed = error
            if not running:
                break
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                broken = future.exception()
                failed = failed or broken
                if broken is None:
                    yield future.result()
    if failed is not None:
        raise failed
