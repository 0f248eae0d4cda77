"""The index as static files: a list of files in, a tree of pages out.

from caseus.export import Options, PackageList, export
export(PackageList(Path("packages.json")), Path("public"), Options(packages_url="../../pool/"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from caseus.export.exporting import BadLines, export
from caseus.export.options import Options
from caseus.export.report import Fault, Report
from caseus.export.sources import PackageList, Source

if TYPE_CHECKING:
    from caseus.export.checking import Difference, check

__all__ = ["BadLines", "Difference", "Fault", "Options", "PackageList", "Report", "Source", "check", "export"]


def __getattr__(name: str) -> object:
    """Loaded at the first use: an export of a list does not need it."""
    if name in ("Difference", "check"):
        from caseus.export import checking

        return getattr(checking, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
