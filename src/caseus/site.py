"""The one place that puts concrete parts together."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog
from packaging.utils import NormalizedName

from caseus import __version__, durability
from caseus.access import Access
from caseus.catalog import Catalog, Changes
from caseus.config import Config
from caseus.index import FirstFound, Index, Local
from caseus.lists import ProjectList
from caseus.names import NamePatterns
from caseus.packages import PackageLists
from caseus.passwords import Entry
from caseus.proxy import Proxy
from caseus.publish import Publisher
from caseus.signatures import Fetching, Signatures
from caseus.storage import hosted_tree
from caseus.storage.filesystem import FilesystemStorage
from caseus.upstreams import open_upstream
from caseus.views import KeepRemoved, Kept, Only, Refreshing, Union

if TYPE_CHECKING:
    from caseus.export.live import LivePages, LiveTree

MAIN = "main"
_log = structlog.get_logger(__name__)
_MOST_CACHE = 20 * 1024**3
_LISTS_AT_START = 10
"""Hundreds of lists that a start makes good; the rest is done when it serves."""


@dataclass(frozen=True, slots=True)
class HostedIndex:
    """A named index: what readers see of it, its list of projects, and what uploads go to."""

    name: str
    index: Index
    list: ProjectList
    publisher: Publisher
    views: Mapping[str, Index]
    """By the segment of a URL: `refresh`, `norefresh`."""
    signatures: Signatures


class Site:
    """Everything that one ROOT serves. `indexes` maps names to indexes; `main` is the default one."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        store: FilesystemStorage,
        access: Access,
        indexes: Mapping[str, HostedIndex],
        proxies: tuple[Proxy, ...],
        live: LiveTree | None = None,
    ) -> None:
        self.config, self.catalog, self.store, self.access = config, catalog, store, access
        self.indexes: Mapping[str, HostedIndex] = MappingProxyType(dict(indexes))
        self.proxies = proxies
        self._live = live

    def publish(self) -> None:
        """From now on the folder of `publish`, if there is one, is kept current; for a process that serves."""
        if self._live is not None:
            self._live.start()

    def stop_publishing(self) -> None:
        """What was not written yet is, soon."""
        if self._live is not None:
            self._live.halt()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While it lasts, what people do in the folders of files is taken over, if the configuration says so."""
        with ExitStack() as stack:
            if self.config.watch:
                from caseus.watch import Watcher

                for hosted in self.indexes.values():
                    watcher = Watcher(self.catalog, self.store, hosted.publisher, clock=self.catalog.clock)
                    watcher.begin()
                    stack.callback(watcher.close)
            yield

    def close(self) -> None:
        """Finish what runs, then let go of everything."""
        self.retire()
        self.catalog.close()
        if self.config.no_fsync:
            os.sync()  # from now on a power cut does no more harm

    def retire(self) -> None:
        """Another site has taken this one's place on the same catalog: let go of what is its own."""
        if self._live is not None:
            self._live.stop()
        for proxy in self.proxies:
            proxy.close()

    def clean(self) -> None:
        """Take away what is under way here. Only where nobody else serves this root: then it is of the dead."""
        self.store.clean()
        for proxy in self.proxies:
            proxy.clean()
        self.catalog.clear_claims()
        self.catalog.written = self.catalog.listed  # after a power cut the lists may not be what was written

    def cache_tree(self, name: NormalizedName) -> str | None:
        """The tree of the first upstream that is asked for the name; None if none is."""
        if NamePatterns(self.config.private).match(name):
            return None
        asked = zip(_limits(self.config), self.proxies, strict=True)
        return next((proxy.tree for limit, proxy in asked if limit.match(name)), None)


def build(
    config: Config, *, listed: Mapping[str, Entry] = MappingProxyType({}), clock: Callable[[], float] = time.time
) -> Site:
    """Open ROOT (made if absent) with one index, `main`: what is published here first, then the upstream.

    `listed`: users of the password file. Invalid, Unavailable or OSError if it can't be opened; then all is closed.
    """
    durability.configure(waits=not config.no_fsync)
    if config.no_fsync:
        _log.critical("no_fsync: a power cut loses what is published from now on, and may damage the catalog")
    config.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = FilesystemStorage(config.root)
    catalog = Catalog.open(config.root, clock=clock)
    try:
        site = _assemble(config, catalog, store, clock, listed)
        if catalog.presence.try_alone():
            site.clean()
            catalog.presence.share()
        _keep_lists(site, PackageLists(catalog, store))
    except BaseException:
        catalog.close()
        raise
    return site


def rebuild(site: Site, config: Config, listed: Mapping[str, Entry]) -> Site:
    """Another site on the same catalog, which must not change its root; the old one goes on until `Site.retire`.

    Invalid or OSError if it can't be made; then everything stays as it was.
    """
    new = _assemble(config, site.catalog, site.store, site.catalog.clock, listed, site.access)
    _keep_lists(new, PackageLists(site.catalog, site.store))
    return new


def _assemble(
    config: Config,
    catalog: Catalog,
    store: FilesystemStorage,
    clock: Callable[[], float],
    listed: Mapping[str, Entry],
    before: Access | None = None,
) -> Site:
    proxies = _proxies(config, catalog, store, clock)
    local = Local(catalog, store, MAIN, config.private)
    publisher = Publisher(catalog, store, MAIN, displaces=[proxy.tree for proxy in proxies], clock=clock)
    access = Access(catalog, open_reading=config.read == "all", clock=clock, listed=listed, before=before)
    main = _hosted_index(config, local, proxies, publisher, catalog)
    return Site(config, catalog, store, access, {MAIN: main}, tuple(proxies), _live(config, catalog, local))


def _live(config: Config, catalog: Catalog, local: Local) -> LiveTree | None:
    """What is published here as static files, where somebody wants that."""
    if config.publish is None:
        return None
    from caseus.export.live import LiveTree

    if config.read != "all":
        _log.warning("publish: whoever may read the folder reads this closed index", folder=str(config.publish))
    return LiveTree(catalog, live_pages(config, catalog, local), config.publish)


def live_pages(config: Config, catalog: Catalog, local: Local) -> LivePages:
    """The page at the top is among them where its links are known."""
    from caseus.export.live import LivePages

    home = {"closed": config.read != "all", "proxied": bool(config.upstreams), "version": __version__}
    told = home | {"base_url": config.public_url} if config.public_url is not None else None
    return LivePages(catalog, local, local.tree, told)


def _keep_lists(site: Site, lists: PackageLists) -> None:
    """From now on after each commit; first those that are behind."""
    lists.catch_up(_LISTS_AT_START)
    site.catalog.writer.after_commit = partial(_committed, lists, site.proxies)
    site.catalog.writer.settle = lists.settle
    site.catalog.writer.during = site.store.keeping_folders


def _proxies(
    config: Config, catalog: Catalog, store: FilesystemStorage, clock: Callable[[], float]
) -> tuple[Proxy, ...]:
    """One for each upstream, in their order."""
    clients = [open_upstream(upstream, clock=clock) for upstream in config.upstreams]
    limit = cache_limit(config)
    return tuple(
        Proxy(
            catalog,
            store,
            client,
            ttl=config.upstream_ttl if upstream.ttl is None else upstream.ttl,
            stale=config.upstream_stale,
            cache_bytes=limit,
            clock=clock,
        )
        for upstream, client in zip(config.upstreams, clients, strict=True)
    )


def _hosted_index(
    config: Config, local: Local, proxies: Sequence[Proxy], publisher: Publisher, catalog: Catalog
) -> HostedIndex:
    index = _compose(config, local, proxies)
    anew = _compose(config, local, [proxy.refreshing() for proxy in proxies])
    views = {
        "refresh": Refreshing(index, anew),
        "norefresh": _compose(config, local, [proxy.resting() for proxy in proxies]),
    }
    signatures = Signatures(anew, [Fetching(*pair) for pair in zip(proxies, _limits(config), strict=True)])
    names = ProjectList(catalog, MAIN, index, made_by=_made_by(config, proxies))
    return HostedIndex(MAIN, index, names, publisher, views, signatures)


def _limits(config: Config) -> list[NamePatterns]:
    """For each upstream the names that it is asked for."""
    return [NamePatterns(upstream.projects or ("*",)) for upstream in config.upstreams]


def _compose(config: Config, local: Local, proxies: Sequence[Proxy]) -> Index:
    """What is ours; what `union` names, merged from all upstreams; then the first upstream that knows the name."""
    limits = _limits(config)
    upstreams = [Only(proxy, limit) for proxy, limit in zip(proxies, limits, strict=True)]
    merged = [Only(Union(upstreams), NamePatterns(config.union))] if config.union else []
    index: Index = FirstFound([local, *merged, *upstreams])
    if config.keep_removed:
        index = KeepRemoved(index, local, [Kept(*pair) for pair in zip(proxies, limits, strict=True)])
    return index


def _made_by(config: Config, proxies: Sequence[Proxy]) -> str:
    """What decides, besides the catalog, which names `_compose` lists."""
    return repr([(proxy.tree, upstream.projects) for proxy, upstream in zip(proxies, config.upstreams, strict=True)])


def _committed(lists: PackageLists, proxies: Sequence[Proxy], changes: Changes) -> None:
    """After each commit of this process, before it is answered."""
    for tree, name in changes.projects:
        if tree == hosted_tree(MAIN):
            for proxy in proxies:
                proxy.forget_absence(name)
    lists.follow(changes)


def cache_limit(config: Config) -> int:
    """Bytes of fetched files that are kept: as was set, else the smaller of 20 GiB and half of what is free now."""
    if config.cache_bytes is not None:
        return config.cache_bytes
    return min(_MOST_CACHE, shutil.disk_usage(config.root).free // 2)
