"""Files of an upstream on their way into the cache: fetched once, however many ask, and verified before they end.

`.fill/<sha256 of key>.part` grows under an exclusive flock of its filler, a thread of some process. Everybody who
reads, the first too, follows it: `pread` and look again. A killed filler leaves its lock free; a follower takes over.
"""

from __future__ import annotations

from caseus.fill.filling import Source
from caseus.fill.fills import Fills
from caseus.fill.follower import HOLD_BACK, Follower

__all__ = ["HOLD_BACK", "Fills", "Follower", "Source"]
