"""Where the synchronous core runs: bounded pools, one for each kind of waiting.

Kept apart so that a slow upstream, which blocks a thread for as long as its timeout, takes no thread from those that
read files from disk, hash an upload or check a password.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Threads:
    """The pools of one application."""

    def __init__(self) -> None:
        self.pages = ThreadPoolExecutor(64, thread_name_prefix="page")  # may wait for an upstream
        self.opens = ThreadPoolExecutor(32, thread_name_prefix="open")  # files; may wait for an upstream
        self.files = ThreadPoolExecutor(8, thread_name_prefix="file")  # disk reads, never wait for others
        self.uploads = ThreadPoolExecutor(16, thread_name_prefix="upload")  # write, hash, check, publish
        self.people = ThreadPoolExecutor(4, thread_name_prefix="people")  # passwords
        self.signatures = ThreadPoolExecutor(1, thread_name_prefix="signatures")  # many requests to an upstream each

    def close(self) -> None:
        for pool in (self.pages, self.opens, self.files, self.uploads, self.people, self.signatures):
            pool.shutdown(wait=False, cancel_futures=True)


async def in_thread(
    pool: ThreadPoolExecutor, function: Callable[[], T], *, undo: Callable[[T], object] | None = None
) -> T:
    """The function's result. When cancelled it still waits for the thread: what the function works on must not be
    closed under it. `undo` then takes the result back, as nobody else will."""
    running = pool.submit(function)
    future = asyncio.wrap_future(running)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if not running.cancel():
            await asyncio.wait([future])
            if not future.cancelled() and future.exception() is None and undo is not None:
                undo(future.result())
        raise


async def in_thread_and_on(
    submit: Callable[[Callable[[], None]], Future[None]], function: Callable[[], Future[T]]
) -> T:
    """The result of the future that the function gives, which others see to: meanwhile it keeps no thread.

    `submit`: a pool's, or what else hands it to a thread. When cancelled it still waits for that.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[T] = loop.create_future()

    def tell(done: Future[T]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_hand_over, done, ended)

    def run() -> None:
        future: Future[T]
        try:
            future = function()
        except BaseException as error:
            future = Future()
            future.set_exception(error)
        future.add_done_callback(tell)

    running = submit(run)
    try:
        return await asyncio.shield(ended)
    except asyncio.CancelledError:
        if not running.cancel():
            await asyncio.wait([ended])
            ended.exception()  # it is nobody's any more
        raise


def _hand_over(done: Future[T], ended: asyncio.Future[T]) -> None:
    error = done.exception()
    if error is None:
        ended.set_result(done.result())
    else:
        ended.set_exception(error)
