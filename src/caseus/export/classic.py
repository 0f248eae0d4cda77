"""HTML as dumb-pypi's users know it: the page at the top with its filter, pages of projects, the changelog."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from caseus.export.found import Found
from caseus.export.options import Options
from caseus.export.releases import Release
from caseus.render.text import API_VERSION, escaped, provenance_url

_ROWS: Final = "\0"  # no text in a page has it

_STYLE: Final = """\
body { margin: 0; font: 15px/1.4 Helvetica, Arial, sans-serif; color: #111; }
header { display: flex; gap: 15px; align-items: center; position: sticky; top: 0; padding: 20px; background: #e6f8ff;
  border-bottom: 1px solid #e2e2e2; }
header h1 { margin: 0; font-size: 24px; white-space: nowrap; }
header input { flex: 1; min-width: 0; padding: 4px; font-size: 16px; border: 0; }
main { max-width: 960px; margin: 20px auto; padding: 0 10px; overflow-x: auto; }
a.package { display: block; padding: 10px; font-size: 14px; color: #111; text-decoration: none; }
a.odd { background: #fefefe; } a.even { background: #f8f8f8; } a.package:hover { background: #ebf1ff; }
table { border-collapse: collapse; } th, td { border: 1px solid #333; padding: 5px; text-align: left; }
th { background: #e7e7e7; } td a { color: #111; overflow-wrap: anywhere; } .nowrap { white-space: nowrap; }
.pagination { padding: 10px; text-align: center; font-size: 18px; background: #ddd; }
.pagination a { padding: 3px 8px; color: #111; text-decoration: none; } .pagination a[href] { background: #efefef; }
"""

_FILTER: Final = """\
(function () {
  var search = document.getElementById("search"), rows = document.getElementsByClassName("package");
  function normalize(text) { return text.toLowerCase().replace(/[._-]+/g, "-"); }
  function filter() {
    var words = search.value.split(/\\s+/).filter(Boolean).map(normalize), odd = true;
    for (var i = 0; i < rows.length; i++) {
      var name = rows[i].dataset.name;
      var shown = words.every(function (word) { return name.includes(word); });
      rows[i].style.display = shown ? "block" : "none";
      if (shown) { rows[i].className = odd ? "package odd" : "package even"; odd = !odd; }
    }
  }
  search.oninput = filter;
  addEventListener("pageshow", filter);
})();
"""

_SELECT: Final = 'document.getElementById("requirement").onfocus = function (e) { e.target.select(); };'


def home_page(rows: Iterable[tuple[str, str | None]], options: Options) -> bytes:
    """`index.html`: (project, latest version) each."""
    search = '<input id="search" type="text" autofocus placeholder="Filter" aria-label="Filter" value="">'
    more = '<p><a href="changelog/page1.html">Changelog</a></p>\n' if options.changelog else ""
    body = f'{more}<div id="packages">\n{"".join(_home_rows(rows))}</div>\n<script>\n{_FILTER}</script>'
    return _document(escaped(options.title), body, options, search)


def _home_rows(rows: Iterable[tuple[str, str | None]]) -> Iterator[str]:
    for number, (name, version) in enumerate(rows):
        told = f" (latest version: {escaped(version)})" if version is not None else ""
        yield (
            f'<a class="package {"even" if number % 2 else "odd"}" href="simple/{name}/index.html" '
            f'data-name="{name}"><strong>{name}</strong>{told}</a>\n'
        )


def list_page(names: Iterable[str], generated: str | None) -> bytes:
    """`simple/index.html`."""
    items = "".join(f'<li><a href="{name}/index.html">{name}</a></li>\n' for name in names)
    return _plain("Simple index", f"{_generated(generated)}<ul>\n{items}</ul>")


def project_page(found: Found, links: Sequence[str], generated: str | None) -> bytes:
    """`simple/PROJECT/index.html`: the newest file first. `links` of the files."""
    latest = found.latest
    requirement = escaped(found.name if latest is None else f"{found.name}=={latest}")
    metas = f'<meta name="pypi:project-status" content="{found.status}">\n' if found.status != "active" else ""
    if found.status_reason:
        metas += f'<meta name="pypi:project-status-reason" content="{escaped(found.status_reason)}">\n'
    items = "".join(map(_item, reversed(found.offered), reversed(links)))
    return _plain(
        found.name,
        f'<p><label for="requirement">Latest version:</label> <input type="text" value="{requirement}" '
        f'id="requirement" style="font-family: monospace; width: {len(requirement)}ch;" readonly="readonly"></p>\n'
        f"{_generated(generated)}<ul>\n{items}</ul>\n<script>{_SELECT}</script>",
        metas,
    )


def _item(release: Release, link: str) -> str:
    entry = release.entry
    told = release.version if release.version is not None else "unknown version"
    if entry.version is not None:  # else it is of letters that filenames have
        told = escaped(told)
    if release.uploaded is not None:
        told = f"{told}, {release.uploaded}"
    if entry.uploaded_by is not None:
        told = f"{told}, {_often(entry.uploaded_by)}"
    return f'<li><a href="{link}"{_attributes(release)}>{entry.filename}</a> ({told})</li>\n'


def _attributes(release: Release) -> str:
    entry, told = release.entry, ""
    if entry.requires_python:
        told += f' data-requires-python="{_often(entry.requires_python)}"'
    if entry.core_metadata:
        told += f' data-core-metadata="{entry.core_metadata}" data-dist-info-metadata="{entry.core_metadata}"'
    if release.yanked:
        told += f' data-yanked="{escaped(entry.yanked_reason or "")}"'
    if entry.gpg_sig is not None:
        told += f' data-gpg-sig="{"true" if entry.gpg_sig else "false"}"'
    if entry.provenance is not None and (provenance := provenance_url(entry.provenance)):
        told += f' data-provenance="{escaped(provenance)}"'
    return told


def changelog_frame(number: int, count: int, options: Options) -> tuple[bytes, bytes]:
    """`changelog/pageN.html`: what stands before its rows, and behind them."""
    pages = _pagination(number, count)
    body = (
        f'<h2>Package Changelog</h2>\n{pages}<table class="changelog">\n'
        f"<tr><th>Filename</th><th>Upload Time</th><th>Uploaded By</th></tr>\n{_ROWS}</table>\n{pages}"
    )
    head, _, tail = _document(f"Changelog | {escaped(options.title)}", body, options).partition(_ROWS.encode())
    return head, tail


def changelog_rows(releases: Iterable[Release], links: Iterable[str]) -> list[bytes]:
    """A line of a page for each."""
    return [
        (
            f'<tr><td><a href="{link}">{release.entry.filename}</a></td>'
            f'<td class="nowrap">{release.uploaded if release.entry.uploaded else ""}</td>'
            f'<td class="nowrap">{_often(release.entry.uploaded_by or "")}</td></tr>\n'
        ).encode()
        for release, link in zip(releases, links, strict=True)
    ]


def _pagination(number: int, count: int) -> str:
    def step(page: int, sign: str, there: bool) -> str:
        return f'<a href="page{page}.html">{sign}</a>' if there else f"<a>{sign}</a>"

    first, last = number > 1, number < count
    steps = [
        step(1, "&laquo;", first), step(number - 1, "&larr;", first), f"Page {number}/{count}",
        step(number + 1, "&rarr;", last), step(count, "&raquo;", last),
    ]  # fmt: skip
    return f'<p class="pagination">{" ".join(steps)}</p>\n'


def not_found_page(options: Options) -> bytes:
    """`404.html`."""
    body = "<h2>Not found</h2>\n<p>There is nothing here. The project or file may have been removed.</p>"
    return _document(f"Not found | {escaped(options.title)}", body, options)


def _document(title: str, body: str, options: Options, header: str = "") -> bytes:
    style = _STYLE
    if options.logo:
        url = options.logo.translate({ord(sign): f"%{ord(sign):02X}" for sign in "\"'()<>\\"})
        style += (
            f'header h1 {{ padding-left: {options.logo_width}px; background: url("{url}") no-repeat left center; }}\n'
        )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"<header><h1>{escaped(options.title)}</h1>{header}</header>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    ).encode()


def _plain(title: str, body: str, metas: str = "") -> bytes:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="pypi:repository-version" content="{API_VERSION}">\n{metas}<title>{title}</title>\n</head>\n'
        f'<body style="overflow-wrap: anywhere">\n<h1>{title}</h1>\n{body}\n</body>\n</html>\n'
    ).encode()


def _generated(moment: str | None) -> str:
    return f"<p>Generated on {moment}.</p>\n" if moment is not None else ""


@lru_cache(10_000)
def _often(text: str) -> str:
    """Escaped text of which many files have the same."""
    return escaped(text)
