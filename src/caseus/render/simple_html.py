"""The HTML of the Simple Repository API (PEP 503, 592, 629, 658, 714, 740, 792)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from caseus.model import File, Project
from caseus.render.links import Link, beside, best_hash
from caseus.render.page import ListForm
from caseus.render.text import API_VERSION, escaped, provenance_url


def project_html(project: Project, link: Link = beside) -> bytes:
    """The detail page. PEP 792: a quarantined project offers no file."""
    status = [f'    <meta name="pypi:project-status" content="{project.status}">']
    if project.status_reason:
        reason = escaped(project.status_reason)
        status.append(f'    <meta name="pypi:project-status-reason" content="{reason}">')
    files = () if project.status == "quarantined" else project.files
    anchors = (f"    <a{_attributes(file, link)}>{escaped(file.filename)}</a><br>" for file in files)
    return _document(f"Links for {project.name}", status, anchors)


def list_html(names: Iterable[str]) -> bytes:
    """The list of projects, by normalised names."""
    return b"".join((HTML_LIST.head, HTML_LIST.entries(names), HTML_LIST.tail))


def _entries(names: Iterable[str]) -> bytes:
    return "".join([f'    <a href="{name}/">{name}</a><br>\n' for name in names]).encode()


def _document(title: str, metas: Iterable[str], anchors: Iterable[str]) -> bytes:
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "  <head>",
        '    <meta charset="utf-8">',
        '    <meta name="viewport" content="width=device-width, initial-scale=1">',
        '    <meta name="color-scheme" content="light dark">',
        f'    <meta name="pypi:repository-version" content="{API_VERSION}">',
        *metas,
        f"    <title>{title}</title>",
        "  </head>",
        "  <body>",
        f"    <h1>{title}</h1>",
        *anchors,
        "  </body>",
        "</html>",
        "",
    ]
    return "\n".join(lines).encode()


_LIST_HEAD, _LIST_TAIL = _document("Simple index", (), ("\0",)).split(b"\0\n")
HTML_LIST = ListForm(head=_LIST_HEAD, entries=_entries, between=b"", tail=_LIST_TAIL)


_escaped_once = lru_cache(maxsize=256)(escaped)
"""For what a project says of most of its files."""


def _attributes(file: File, link: Link) -> str:
    """Put together by hand: pages have thousands of them."""
    fragment = best_hash(file.hashes)
    text = f' href="{escaped(link(file))}#{fragment}"' if fragment else f' href="{escaped(link(file))}"'
    if file.requires_python is not None:
        text += f' data-requires-python="{_escaped_once(file.requires_python)}"'
    if file.core_metadata:
        digest = (best_hash(file.core_metadata) if isinstance(file.core_metadata, dict) else None) or "true"
        # PEP 714: pip before 23.3 reads only the old name
        text += f' data-core-metadata="{digest}" data-dist-info-metadata="{digest}"'
    if file.yanked:
        text += f' data-yanked="{escaped(file.yanked) if isinstance(file.yanked, str) else ""}"'
    if file.gpg_sig is not None:
        text += ' data-gpg-sig="true"' if file.gpg_sig else ' data-gpg-sig="false"'
    if provenance := provenance_url(file.provenance):
        text += f' data-provenance="{escaped(provenance)}"'
    return text
