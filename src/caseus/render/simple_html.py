"""The HTML of the Simple Repository API (PEP 503, 592, 629, 658, 714, 740, 792)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from caseus.model import File, Project
from caseus.render.links import Link, beside, best_hash
from caseus.render.page import ListForm, ProjectForm
from caseus.render.text import API_VERSION, escaped, provenance_url


def project_html(project: Project, link: Link = beside) -> bytes:
    """The detail page. PEP 792: a quarantined project offers no file."""
    return HTML_PROJECT.page(project, link)


def _project_head(project: Project) -> bytes:
    status = [f'    <meta name="pypi:project-status" content="{project.status}">']
    if project.status_reason:
        reason = escaped(project.status_reason)
        status.append(f'    <meta name="pypi:project-status-reason" content="{reason}">')
    return "\n".join([*_head(f"Links for {project.name}", status), ""]).encode()


def _files(files: Iterable[File], link: Link) -> bytes:
    return "".join([f"    <a{_attributes(file, link)}>{escaped(file.filename)}</a><br>\n" for file in files]).encode()


def list_html(names: Iterable[str]) -> bytes:
    """The list of projects, by normalised names."""
    return b"".join((HTML_LIST.head, HTML_LIST.entries(names), HTML_LIST.tail))


def _entries(names: Iterable[str]) -> bytes:
    return "".join([f'    <a href="{name}/">{name}</a><br>\n' for name in names]).encode()


def _head(title: str, metas: Iterable[str]) -> list[str]:
    """The lines before what a page is for."""
    return [
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
    ]


_TAIL = b"  </body>\n</html>\n"
HTML_LIST = ListForm(
    head="\n".join([*_head("Simple index", ()), ""]).encode(), entries=_entries, between=b"", tail=_TAIL
)
HTML_PROJECT = ProjectForm(head=_project_head, entries=_files, between=b"", tail=_TAIL)


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
