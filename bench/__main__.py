"""`python -m bench`, or `make bench`: caseus beside nginx and other index servers, on this machine.

A whole run takes about a quarter of an hour and writes docs/benchmarks.md; quick ones and single parts print their
tables only.
"""

from __future__ import annotations

import argparse
import compileall
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import caseus
from bench.page import page, results, show
from bench.parts import PARTS
from bench.peers import PeerError
from bench.results import Row, Run

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="two minutes: fewer and shorter rounds, no devpi, no large file"
    )
    parser.add_argument("--only", metavar="PART,…", type=some_parts, help=f"of {', '.join(PARTS)}")
    parser.add_argument(
        "--output", type=Path, help="where to write the page (default: a whole run, docs/benchmarks.md)"
    )
    options = parser.parse_args(words)
    output: Path | None = options.output or (None if options.quick or options.only else PAGE)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # else servers and folders would be left
    console = Console()
    if not console.is_terminal:
        console.width = 160
    begin = time.perf_counter()
    compileall.compile_dir(Path(caseus.__file__).parent, quiet=1)  # as what is installed is, which the others are
    try:
        names = options.only or [name for name, part in PARTS.items() if not (options.quick and part.long)]
        found = measure(names, quick=options.quick, console=console)
    except PeerError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: ended", file=sys.stderr)
        return 130
    if any(row.goals for rows in found.values() for row in rows):
        console.print(results(found))
    console.print(f"{(time.perf_counter() - begin) / 60:.1f} minutes")
    if output is not None:
        output.write_text(page(found))
        console.print(f"written: {output}")
    return 0


def some_parts(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(PARTS):
        raise argparse.ArgumentTypeError(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


def measure(names: Sequence[str], *, quick: bool, console: Console) -> dict[str, list[Row]]:
    """The rows of each part; its table is shown when it has ended.

    What parts leave stays until all have ended: for minutes after thousands of files were deleted, ext4 without a
    journal takes longer for each new one, and the next part would be blamed for it.
    """
    found: dict[str, list[Row]] = {}
    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with (
        tempfile.TemporaryDirectory(prefix="caseus-bench-") as top,
        Progress(*columns, console=console, transient=True) as progress,
    ):
        task = progress.add_task("", total=len(names))
        for name in names:
            part, rows = PARTS[name], found.setdefault(name, [])

            def tell(text: str, part: str = part.title) -> None:
                progress.update(task, description=f"{part}: {text}")

            folder = Path(top) / name
            folder.mkdir()
            rows += part.rows(Run(folder, quick, tell))
            progress.advance(task)
            console.print(show(part, rows))
    return found


if __name__ == "__main__":
    sys.exit(main())
