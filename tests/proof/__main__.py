"""python -m proof [FIGURES PAGE]: without arguments, prints the tests that show the promises."""

from __future__ import annotations

import sys
from pathlib import Path

from proof.page import NotShown, read, write
from proof.promises import PROMISES


def main(arguments: list[str]) -> int:
    if not arguments:
        named = dict.fromkeys(test for promise in PROMISES for test in promise.tests)
        print(*(test for test in named if test.partition("::")[0] not in named or "::" not in test), sep="\n")
        return 0
    figures, page = map(Path, arguments)
    try:
        page.write_text(write(read(figures), PROMISES))
    except NotShown as error:
        print(f"{page} was not written: {error}", file=sys.stderr)
        return 1
    print(f"wrote {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
