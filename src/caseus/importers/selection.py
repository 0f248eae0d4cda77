"""Which projects of another index are meant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packaging.utils import NormalizedName

from caseus.errors import Invalid, NotFound
from caseus.names import NamePatterns, normalize

MIRROR = 200
"""With more projects than these, not chosen by name, an index looks like a mirror of a public one."""

TOO_MANY = 2000
"""More projects than these are taken only if somebody says so."""

_WILD = frozenset("*?[")


class Selection:
    """Names and patterns that are taken (all, where there is none), and patterns of what is left out.

    Patterns are as `private` has them (`acme-*`). Invalid for a name that no project can have.
    """

    def __init__(self, chosen: Sequence[str] = (), excluded: Sequence[str] = ()) -> None:
        self.chosen = tuple(chosen)
        self._literal = tuple(normalize(word) for word in chosen if not _WILD & set(word))
        self._patterns = NamePatterns(word for word in chosen if _WILD & set(word))
        self._excluded = NamePatterns(excluded)

    @property
    def needs_list(self) -> bool:
        """Whether the other index has to tell its projects; there are indexes that don't."""
        return not self.chosen or bool(self._patterns.patterns)

    def names_in_full(self, name: NormalizedName) -> bool:
        """Whether somebody wrote this very name."""
        return name in self._literal

    def match(self, name: NormalizedName) -> bool:
        if self._excluded.match(name):
            return False
        return not self.chosen or name in self._literal or self._patterns.match(name)

    def names(self, listed: Iterable[NormalizedName]) -> list[NormalizedName]:
        """Those of the list that are meant, and every name that was given in full, sorted."""
        meant = {name for name in (*listed, *self._literal) if self.match(name)}
        return sorted(meant)

    def check(self, names: Sequence[NormalizedName], *, everything: bool) -> None:
        """NotFound if nothing is left; Invalid for more than TOO_MANY that nobody chose, unless `everything`."""
        if not names:
            raise NotFound("the other index lists no project that is meant: look at --project and --exclude")
        if not self.chosen and not everything and len(names) > TOO_MANY:
            raise Invalid(
                f"the other index lists {len(names)} projects, as a mirror of a public index does; every name that is "
                "imported becomes yours: choose by --project NAME or --project 'acme-*', or give --all if all are meant"
            )

    def looks_like_mirror(self, names: Sequence[NormalizedName]) -> bool:
        return not self.chosen and len(names) > MIRROR
