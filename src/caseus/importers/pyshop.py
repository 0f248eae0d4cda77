"""The database of pyshop 1.3 (SQLite) and its repository, `<first letter, lower>/<filename>`.

Packages with `local` were uploaded, by their owners and maintainers alone; all others were mirrored. MD5 is the only
digest that it knows, and of some files not even that.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from caseus.errors import Invalid
from caseus.importers.report import Outcome, Result
from caseus.importers.stock import Account, Stock, StockFile
from caseus.model import File
from caseus.names import check_filename, check_user_name, normalize
from caseus.passwords import verify
from caseus.upstream.digests import known_hashes

_PACKAGES = "SELECT id, name, local FROM package ORDER BY name"
_FILES = """
    SELECT release_file.* FROM release_file JOIN release ON release.id = release_file.release_id
    WHERE release.package_id = ? ORDER BY release_file.filename
"""
_OWNERS = """
    SELECT package__owner.package_id AS package_id, user.login AS login
    FROM package__owner JOIN user ON user.id = package__owner.owner_id WHERE user.local
    UNION
    SELECT package__maintainer.package_id, user.login
    FROM package__maintainer JOIN user ON user.id = package__maintainer.maintainer_id WHERE user.local
"""
_USERS = "SELECT id, login, password FROM user WHERE local ORDER BY login"
_PERMISSIONS = """
    SELECT user__group.user_id AS user_id, permission.name AS name FROM user__group
    JOIN group__permission ON group__permission.group_id = user__group.group_id
    JOIN permission ON permission.id = group__permission.permission_id
"""
_ADMIN, _UPLOAD, _DOWNLOAD = "admin_view", "upload_releasefile", "download_releasefile"


class Pyshop:
    """Reads both; neither is changed. Invalid if the database is none of pyshop."""

    kind = "pyshop"

    def __init__(self, database: Path, repository: Path) -> None:
        self.place = str(database)
        self.warnings: list[str] = []
        self.aliases: list[str] = []
        self._database, self._repository = database, repository
        with self._connected() as connection:  # before anything is taken
            for statement in (_PACKAGES, _FILES.replace("?", "0"), _USERS, _PERMISSIONS):
                connection.execute(f"EXPLAIN {statement}")
        self._owners = self._read_owners()

    def accounts(self) -> Iterator[Account | Result]:
        """Those who log in: others are authors of mirrored packages. Rights are those of their groups."""
        permissions: defaultdict[int, set[str]] = defaultdict(set)
        with self._connected() as database:
            for row in database.execute(_PERMISSIONS):
                permissions[row["user_id"]].add(row["name"])
            users = database.execute(_USERS).fetchall()
        for row in users:
            yield _account(str(row["login"]), row["password"], permissions[row["id"]])

    def stocks(self) -> Iterator[Stock | Result]:
        with self._connected() as database:
            packages = database.execute(_PACKAGES).fetchall()
            for row in packages:
                try:
                    project = normalize(str(row["name"]))
                except Invalid as error:
                    name = ascii(str(row["name"]))[1:-1]
                    yield Result(outcome=Outcome.SKIPPED, project=name, reason=str(error))
                    continue
                files = tuple(self._file(file) for file in database.execute(_FILES, (row["id"],)))
                hosted = bool(row["local"])
                yield Stock(
                    project=project,
                    hosted=hosted,
                    files=files,
                    owners=self._owners.get(row["id"], ()) if hosted else (),
                )

    def _file(self, row: sqlite3.Row) -> StockFile:
        filename, md5 = str(row["filename"]), str(row["md5_digest"] or "")
        hashes = known_hashes({"md5": md5})
        size = row["size"] if isinstance(row["size"], int) else None
        path = None
        with suppress(Invalid):  # told when its name is looked at
            path = self._repository / check_filename(filename)[0].lower() / filename
        return StockFile(
            file=File(filename=filename, hashes=hashes, size=size, upload_time=_created(row)),
            path=path if path is not None and path.is_file() else None,
            fault="" if hashes or not md5 else "its md5 in the database is none",
        )

    def _read_owners(self) -> Mapping[int, tuple[str, ...]]:
        owners: defaultdict[int, list[str]] = defaultdict(list)
        with self._connected() as database:
            for row in database.execute(_OWNERS):
                if _can_be_user(str(row["login"])):
                    owners[row["package_id"]].append(row["login"])
        return {package: tuple(sorted(logins)) for package, logins in owners.items()}

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        uri = f"{self._database.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                connection.row_factory = sqlite3.Row
                connection.text_factory = lambda data: data.decode("utf-8", "replace")
                yield connection
        except sqlite3.Error as error:
            raise Invalid(
                f"{self._database.name} is no SQLite database of pyshop 1.3 that can be read ({error})"
            ) from None


def _created(row: sqlite3.Row) -> datetime | None:
    """When it was uploaded there; SQLAlchemy wrote it, in UTC."""
    try:
        return datetime.fromisoformat(str(row["created_at"])).replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return None


def _account(login: str, password: str | None, permissions: set[str]) -> Account | Result:
    rights = permissions & {_ADMIN, _UPLOAD, _DOWNLOAD}
    reason = ""
    if not rights:
        reason = "its groups give it no rights there"
    elif not password or verify(password, ""):
        reason = "it has no password of its own there (LDAP?): add it by `caseus user add`"
    if reason:
        return Result(outcome=Outcome.SKIPPED, user=ascii(login)[1:-1], reason=reason)
    return Account(
        name=login,
        hash=password or "",
        admin=_ADMIN in rights,
        read_only=rights == {_DOWNLOAD},
    )


def _can_be_user(login: str) -> bool:
    try:
        check_user_name(login)
    except Invalid:
        return False
    return True
