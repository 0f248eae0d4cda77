"""The one place that puts concrete parts together."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from caseus.access import Access
from caseus.catalog import Catalog, Changes
from caseus.config import Config
from caseus.index import FirstFound, Index, Local
from caseus.lists import ProjectList
from caseus.names import NamePatterns
from caseus.packages import PackageLists
from caseus.proxy import Proxy
from caseus.publish import Publisher
from caseus.storage import hosted_tree
from caseus.storage.filesystem import FilesystemStorage
from caseus.upstreams import open_upstream
from caseus.views import KeepRemoved, Kept, Only, Union

MAIN = "main"
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
    ) -> None:
        self.config, self.catalog, self.store, self.access = config, catalog, store, access
        self.indexes: Mapping[str, HostedIndex] = MappingProxyType(dict(indexes))
        self._proxies = proxies

    def close(self) -> None:
        """Finish what runs, then let go of everything."""
        for proxy in self._proxies:
            proxy.close()
        self.catalog.close()


def build(config: Config, *, clock: Callable[[], float] = time.time) -> Site:
    """Open ROOT (made if absent) with one index, `main`: what is published here first, then the upstream.

    Invalid, Unavailable or OSError if it can't be opened; then nothing stays open.
    """
    config.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = FilesystemStorage(config.root)
    catalog = Catalog.open(config.root, clock=clock)
    try:
        return _assemble(config, catalog, store, clock)
    except BaseException:
        catalog.close()
        raise


def _assemble(config: Config, catalog: Catalog, store: FilesystemStorage, clock: Callable[[], float]) -> Site:
    proxies = _proxies(config, catalog, store, clock)
    local = Local(catalog, store, MAIN, config.private)
    publisher = Publisher(catalog, store, MAIN, displaces=[proxy.tree for proxy in proxies], clock=clock)
    lists = PackageLists(catalog, store)
    if catalog.presence.try_alone():
        # Nobody else serves this root, so what is under way there is of the dead.
        store.clean()
        for proxy in proxies:
            proxy.clean()
        catalog.clear_claims()
        catalog.written = catalog.listed  # after a power cut the lists may not be what was written
        catalog.presence.share()
    lists.catch_up(_LISTS_AT_START)
    catalog.writer.after_commit = partial(_committed, lists, proxies)
    catalog.writer.settle = lists.settle
    access = Access(catalog, open_reading=config.read == "all", clock=clock)
    index = _compose(config, local, proxies)
    listed = ProjectList(catalog, MAIN, index, made_by=_made_by(config, proxies))
    main = HostedIndex(MAIN, index, listed, publisher)
    return Site(config, catalog, store, access, {MAIN: main}, tuple(proxies))


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


def _compose(config: Config, local: Local, proxies: Sequence[Proxy]) -> Index:
    """What is ours; what `union` names, merged from all upstreams; then the first upstream that knows the name."""
    limits = [NamePatterns(upstream.projects or ("*",)) for upstream in config.upstreams]
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
    for tree, name in changes:
        if tree == hosted_tree(MAIN):
            for proxy in proxies:
                proxy.forget_absence(name)
    lists.write(changes, durable=False)


def cache_limit(config: Config) -> int:
    """Bytes of fetched files that are kept: as was set, else the smaller of 20 GiB and half of what is free now."""
    if config.cache_bytes is not None:
        return config.cache_bytes
    return min(_MOST_CACHE, shutil.disk_usage(config.root).free // 2)
