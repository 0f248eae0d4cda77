"""A catalog with thousands of projects, for what only shows in a large index."""

from __future__ import annotations

from caseus.catalog import Catalog, HostedFile

TREE = "files/main"


def file_of(project: str, version: str = "1.0") -> HostedFile:
    """Facts of a file; there are no bytes behind it."""
    return HostedFile(
        tree=TREE,
        project=project,
        filename=f"{project.replace('-', '_')}-{version}-py3-none-any.whl",
        version=version,
        sha256="a" * 64,
        size=10,
        md5="m",
        blake2b_256="b",
        uploaded=1_700_000_000.0,
        uploader="alice",
    )


def list_projects(catalog: Catalog, *names: str) -> None:
    """Publish a file of each."""
    assert catalog.reinstate([file_of(name) for name in names], [], actor="alice") == []


def withdraw(catalog: Catalog, *names: str) -> None:
    """Delete all files of each."""
    catalog.delete([file for name in names for file in catalog.hosted_files(TREE, name)], "", actor="alice")
