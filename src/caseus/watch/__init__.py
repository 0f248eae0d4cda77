"""A folder of files that a person can touch: what is done there with cp, mv, rm and touch is taken over."""

from __future__ import annotations

from caseus.watch.intake import Intake
from caseus.watch.watcher import Watcher

__all__ = ["Intake", "Watcher"]
