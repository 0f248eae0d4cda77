"""The index as static files: a list of files in, a tree of pages out.

from caseus.export import Options, PackageList, export
export(PackageList(Path("packages.json")), Path("public"), Options(packages_url="../../pool/"))
"""

from __future__ import annotations

from caseus.export.checking import Difference, check
from caseus.export.exporting import BadLines, export
from caseus.export.options import Options
from caseus.export.report import Fault, Report
from caseus.export.sources import PackageList, Source

__all__ = ["BadLines", "Difference", "Fault", "Options", "PackageList", "Report", "Source", "check", "export"]
