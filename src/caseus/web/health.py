"""Whether this process can do its work."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from packaging.utils import NormalizedName

from caseus.errors import CaseusError
from caseus.storage import hosted_tree

if TYPE_CHECKING:
    from caseus.site import Site


def why_not_ready(site: Site) -> str | None:
    """None if the catalog answers and the store can be written to, else what is wrong. Blocks."""
    try:
        site.catalog.knows(hosted_tree("main"), NormalizedName("readyz"))
    except CaseusError as error:
        return f"the catalog does not answer: {error}"
    try:
        with tempfile.TemporaryFile(dir=site.config.root) as probe:  # as root, os.access would say yes to anything
            probe.write(b"caseus")
            probe.flush()
    except OSError as error:
        return f"the data folder can't be written to: {error.strerror or error}"
    return None
