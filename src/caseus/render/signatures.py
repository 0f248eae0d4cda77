"""What became of a search for signatures, for people and for scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from caseus.model import Signature
from caseus.render.text import file_url


def signatures_text(found: Sequence[Signature]) -> bytes:
    """A line for each file, and a last one that sums them up."""
    lines = [
        f"{each.outcome:8}{each.filename}" + (f": {' '.join(each.detail.split())}" if each.detail else "")
        for each in found
    ]
    return "".join(f"{line}\n" for line in [*lines, _summary(found)]).encode()


def signatures_html(project: str, found: Sequence[Signature]) -> bytes:
    """The same, with links to the files and to the signatures that are here."""
    rows = "".join(f"    <tr>{_cells(project, each)}</tr>\n" for each in found)
    title = f"Signatures of {project}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n  <head>\n    <meta charset="utf-8">\n'
        '    <meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '    <meta name="color-scheme" content="light dark">\n'
        f"    <title>{title}</title>\n  </head>\n  <body>\n    <h1>{title}</h1>\n    <p>{_summary(found)}</p>\n"
        f"    <table>\n{rows}    </table>\n  </body>\n</html>\n"
    ).encode()


def _cells(project: str, each: Signature) -> str:
    url = f"../../simple/{project}/{file_url(each.filename)}"
    signature = f'<a href="{url}.asc">signature</a>' if each.outcome in ("fetched", "here") else ""
    cells = (f'<a href="{url}">{escape(each.filename)}</a>', signature, each.outcome, escape(each.detail))
    return "".join(f"<td>{cell}</td>" for cell in cells)


def _summary(found: Sequence[Signature]) -> str:
    count = Counter(each.outcome for each in found)
    return (
        f"{len(found)} files here: {count['fetched']} signatures fetched, {count['here']} were here, "
        f"{count['none']} have none, {count['failed']} failed"
    )
