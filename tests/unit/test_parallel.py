"""Work in parallel: nothing that was done is lost to an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest

from caseus.importers.parallel import in_parallel


def collect(next_task: Callable[[], Callable[[], int] | None], into: list[int]) -> None:
    into.extend(in_parallel(3, next_task))  # keeps what came before an error


def test_what_was_begun_is_given_before_who_makes_tasks_fails() -> None:
    begun, results = [0], list[int]()

    def next_task() -> Callable[[], int]:
        if begun[0] == 3:
            raise InterruptedError("enough")
        begun[0] += 1
        return partial(int, begun[0])

    with pytest.raises(InterruptedError, match="enough"):
        collect(next_task, results)
    assert sorted(results) == [1, 2, 3]


def test_what_was_begun_is_given_before_the_error_of_a_task_and_nothing_new_begins() -> None:
    both, results = threading.Barrier(2, timeout=60), list[int]()

    def broken() -> int:
        both.wait()
        raise OSError("full")

    def whole() -> int:
        both.wait()
        return 1

    tasks: list[Callable[[], int]] = [broken, whole]

    def next_task() -> Callable[[], int] | None:
        if tasks:
            return tasks.pop()
        if not results:
            return None
        return lambda: 2

    with pytest.raises(OSError, match="full"):
        collect(next_task, results)
    assert results[0] == 1 and set(results[1:]) <= {2}


def test_results_make_more_tasks() -> None:
    tasks, results = [1], list[int]()

    def next_task() -> Callable[[], int] | None:
        return partial(int, tasks.pop()) if tasks else None

    for result in in_parallel(2, next_task):
        results.append(result)
        tasks.extend([result + 1] if result < 5 else [])
    assert results == [1, 2, 3, 4, 5]
