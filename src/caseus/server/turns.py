"""For how long a thread keeps the interpreter while another one waits for it."""

from __future__ import annotations

import sys
from typing import Final

BRIEF: Final = 0.0005
"""Seconds for which a thread that checks an upload or renders a page may hold up the loop, and each page with it.
Python's own value is ten times that."""
_LOOKS: Final = 10


class Turns:
    """Brief ones while ready pages are read; else those that Python has, since a switch costs both threads.

    `look`, ten times a second: turns are brief from when pages were read until none was for a second.
    """

    def __init__(self) -> None:
        self._usual = sys.getswitchinterval()
        self._answered = 0
        self._left = 0

    def look(self, answered: int) -> None:
        """`answered`: how many pages and files were until now."""
        if answered != self._answered:
            self._answered = answered
            self._take(_LOOKS)
        elif self._left:
            self._take(self._left - 1)

    def _take(self, left: int) -> None:
        if bool(left) != bool(self._left):
            sys.setswitchinterval(BRIEF if left else self._usual)
        self._left = left
