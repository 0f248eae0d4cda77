"""An index is a composition: the protocol, and the wrappers that put indexes together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from packaging.utils import NormalizedName

from caseus.model import Project
from caseus.storage import Blob


class Index(Protocol):
    """What a client points at: projects under one base URL."""

    def knows(self, name: NormalizedName) -> bool:
        """Whether the name is this index's: published, claimed, tombstoned, reserved. Unavailable if unsure."""
        ...

    def projects(self) -> Iterator[NormalizedName]:
        """Names of the projects, sorted, lazy."""
        ...

    def project(self, name: NormalizedName) -> Project:
        """The project as it is now. NotFound if the name is nobody's here, Unavailable if that can't be said."""
        ...

    def open(self, name: NormalizedName, filename: str, start: int = 0, stop: int | None = None) -> Blob:
        """A file of the project or a sidecar of it (FILE.metadata, FILE.asc); negative `start` counts from the end.

        NotFound, Unavailable, BadRange.
        """
        ...
