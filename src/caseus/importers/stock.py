"""What another server keeps on its disk, as its importer reads it: projects, files, users."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import msgspec
from packaging.utils import NormalizedName

from caseus.importers.report import Result
from caseus.model import File


class StockFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a project. `file`: what is told of it there; its digests are those that its bytes must have.

    `path` is None where only its name is known there: it was never downloaded. `fault`: why it is taken for damaged
    without a look at it. `signature`: a detached one.
    """

    file: File
    path: Path | None = None
    signature: Path | None = None
    fault: str = ""


class Stock(msgspec.Struct, frozen=True, kw_only=True):
    """A project. `hosted`: published there; else it is a cache of what is published elsewhere.

    `owners`: users without whom nobody else uploads to it there.
    """

    project: NormalizedName
    hosted: bool
    files: tuple[StockFile, ...] = ()
    owners: tuple[str, ...] = ()


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """A user with the hash of the password, of a format that `caseus.passwords` can verify."""

    name: str
    hash: str
    admin: bool = False
    read_only: bool = False


class Reader(Protocol):
    """Reads the other server's folder. What it can't read it tells as a Result, and goes on."""

    @property
    def kind(self) -> str: ...  # the server's name, such as gocheese
    @property
    def place(self) -> str: ...  # where it is read, for people
    @property
    def aliases(self) -> list[str]: ...  # paths under which clients knew the index there
    @property
    def warnings(self) -> list[str]: ...  # what the owner should know, once all was read
    def accounts(self) -> Iterator[Account | Result]: ...
    def stocks(self) -> Iterator[Stock | Result]: ...
