"""A process that reads one file through a proxy: fill_worker.py ROOT UPSTREAM FILENAME. Prints the sha256."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from caseus.catalog import Catalog
from caseus.names import normalize
from caseus.proxy import Proxy
from caseus.storage.filesystem import FilesystemStorage
from caseus.upstream import Upstream


def main(root: Path, url: str, filename: str) -> None:
    catalog = Catalog.open(root)
    proxy = Proxy(catalog, FilesystemStorage(root), Upstream(url, proxies={}), ttl=600, cache_bytes=1 << 30)
    hasher = hashlib.sha256()
    with proxy.open(normalize("alpha"), filename) as blob:
        while data := blob.read():
            hasher.update(data)
    print(hasher.hexdigest())
    proxy.close()
    catalog.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
