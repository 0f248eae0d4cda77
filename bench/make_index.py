"""A catalog as large as the public index: `python -m bench.make_index ROOT`. It takes about a minute.

700,000 projects and 8,000,000 files unless told otherwise; see `support.big_index` for what they are.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from support.big_index import make_index

PROJECTS = 700_000
FILES = 8_000_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="make_index", description=__doc__)
    parser.add_argument("root", type=Path, help="the data folder, which must have no catalog yet")
    parser.add_argument("--projects", type=int, default=PROJECTS)
    parser.add_argument("--files", type=int, default=FILES)
    options = parser.parse_args()
    if (options.root / "catalog.sqlite").exists():
        sys.exit(f"make_index: {options.root} has a catalog already: give another folder")
    begin = time.perf_counter()
    make_index(options.root, options.projects, options.files)
    size = (options.root / "catalog.sqlite").stat().st_size / 1e9
    seconds = time.perf_counter() - begin
    print(f"{options.projects} projects, {options.files} files: {size:.2f} GB in {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
