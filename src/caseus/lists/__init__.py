"""`/simple/` of an index of many projects: rendered in shards, kept in a file, followed as names come and go."""

from __future__ import annotations

from caseus.lists.files import ListFile, Opened
from caseus.lists.listing import Coding, Listing, Part
from caseus.lists.of_index import HUGE, SHORT, ProjectList

__all__ = ["HUGE", "SHORT", "Coding", "ListFile", "Listing", "Opened", "Part", "ProjectList"]
