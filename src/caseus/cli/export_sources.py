"""The sources of `caseus export` that are no lists; what they need loads slower."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from caseus.cli import quiet_logs
from caseus.cli.common import Where, existing_root, find_root, load_config, open_catalog
from caseus.cli.progress import showing
from caseus.errors import NotFound
from caseus.export.checking import Difference
from caseus.export.folder_source import PackageFolder
from caseus.export.hosted_source import HostedIndex
from caseus.export.options import Options
from caseus.export.remote_source import SimpleIndex
from caseus.export.sources import Source


@contextmanager
def folder(path: Path, options: Options, remembered: Path) -> Iterator[Source]:
    with showing("reading packages") as progress:
        yield PackageFolder(
            path, url=options.packages_url, remember=remembered, sidecars=options.files, progress=progress
        )


@contextmanager
def hosted(name: str, root: str | None, config: str | None, *, cached: bool) -> Iterator[Source]:
    """NotFound for an index that is not there."""
    from caseus.site import MAIN

    if name != MAIN:
        raise NotFound(f"no index {name!r}: see `caseus index list`")
    where = Where(root=root, config=config)
    folder = existing_root(find_root(where))
    with quiet_logs(), open_catalog(where) as catalog:
        trees = sorted({tree.tree for tree in catalog.cached_trees()}) if cached else []
        yield HostedIndex(catalog, folder, name, cached=trees)


def as_configured(options: Options, root: str | None, config: str | None) -> Options:
    """What the page at the top of an index says of it."""
    settings = load_config(Where(root=root, config=config)).config
    return msgspec.structs.replace(options, closed=settings.read != "all", proxied=bool(settings.upstreams))


def check_published(folder: Path, name: str, root: str | None, config: str | None) -> list[Difference]:
    """Of the tree that `publish` keeps current."""
    from caseus import site
    from caseus.export.checking import check_live
    from caseus.index import Local
    from caseus.storage.filesystem import FilesystemStorage

    where = Where(root=root, config=config)
    settings = load_config(where).config
    with quiet_logs(), open_catalog(where) as catalog:
        local = Local(catalog, FilesystemStorage(settings.root), name, settings.private)
        return check_live(site.live_pages(settings, catalog, local), folder)


@contextmanager
def remote(url: str, chosen: Sequence[str], excluded: Sequence[str]) -> Iterator[Source]:
    from caseus.importers.credentials import find_credentials, source_url
    from caseus.importers.selection import Selection
    from caseus.importers.source import Source as Pages
    from caseus.upstream import Timeouts, Upstream

    url = source_url(url)
    credentials = find_credentials(url, None, os.environ)
    upstream = Upstream(url, credentials=credentials, timeouts=Timeouts(connect=10, read=30, page=300))
    try:
        with quiet_logs(), showing("reading pages") as progress:
            pages = Pages(upstream, max_file_bytes=0, stop=threading.Event())
            yield SimpleIndex(pages, Selection(chosen, excluded), progress=progress)
    finally:
        upstream.close()


def store_folders(root: str | None, config: str | None, name: str, *, cached: bool) -> list[Path]:
    """The folders PROJECT/FILE of an index; of upstreams too, where these are exported."""
    from caseus.storage import hosted_tree

    folder = find_root(Where(root=root, config=config))
    fetched = sorted((folder / "fetched").iterdir()) if cached and (folder / "fetched").is_dir() else []
    return [folder / hosted_tree(name), *fetched]
