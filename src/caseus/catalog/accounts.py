"""Users and tokens. What the journal says of them never holds a secret."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import BindParameter, bindparam, delete, insert, select, update

from caseus.catalog import schema, sql
from caseus.catalog.database import Database
from caseus.catalog.rows import Token, User
from caseus.catalog.transaction import Transaction
from caseus.errors import Conflict, NotFound

_u, _k = schema.users.c, schema.tokens.c
_name: BindParameter[str] = bindparam("user_name")

_user = sql.Statement(select(schema.users).where(_u.name == _name))
_users = sql.Statement(select(schema.users).order_by(_u.name))
_add_user = sql.Statement(insert(schema.users))
_remove_user = sql.Statement(delete(schema.users).where(_u.name == _name))
_set_password = sql.Statement(update(schema.users).where(_u.name == _name).values(password_hash=bindparam("hash")))
_columns = [column for column in _k if column.name != "digest"]
_token = sql.Statement(select(*_columns).where(_k.digest == bindparam("token_digest")))
_token_id = sql.Statement(select(*_columns).where(_k.id == bindparam("token_id")))
_tokens = sql.Statement(select(*_columns).order_by(_k.user, _k.id))
_add_token = sql.Statement(
    insert(schema.tokens), columns=("digest", "user", "prefix", "scope", "created", "expires", "last_used")
)
_revoke = sql.Statement(delete(schema.tokens).where(_k.id == bindparam("token_id")))
_set_used = sql.Statement(
    update(schema.tokens).where(_k.id == bindparam("token_id")).values(last_used=bindparam("time"))
)


class Accounts(Database):
    """Reads answer at once; writes return when they are durable, but for `token_used`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tokens_used: dict[int, float] = {}

    def users_serial(self) -> int:
        """The number that moves with every change of users and tokens; costs 0.1 us."""
        return self._serial.users

    def user(self, name: str) -> User | None:
        row = self._row(_user, user_name=name)
        return _to_user(row) if row else None

    def users(self) -> list[User]:
        return [_to_user(row) for row in self._rows(_users)]

    def add_user(
        self, name: str, *, password_hash: str, admin: bool = False, read_only: bool = False, actor: str
    ) -> None:
        """Conflict if there is one of that name."""
        kind = " (admin)" if admin else " (read-only)" if read_only else ""

        def job(transaction: Transaction) -> None:
            if transaction.row(_user, {"user_name": name}):
                raise Conflict(f"user {name} exists: change the password by `caseus user passwd {name}`")
            row = {"name": name, "password_hash": password_hash, "admin": admin, "read_only": read_only}
            transaction.execute(_add_user, row | {"created": transaction.now})
            transaction.add("users")
            transaction.journal("user-add", actor=actor, detail=f"{name}{kind}")

        self.writer.write(job)

    def remove_user(self, name: str, *, actor: str) -> None:
        """The user's tokens go too. NotFound."""
        self._change_user(name, "user-remove", actor, lambda tx: tx.execute(_remove_user, {"user_name": name}))

    def set_password(self, name: str, *, password_hash: str, actor: str) -> None:
        """NotFound."""
        params = {"user_name": name, "hash": password_hash}
        self._change_user(name, "user-passwd", actor, lambda tx: tx.execute(_set_password, params))

    def _change_user(self, name: str, action: str, actor: str, change: Callable[[Transaction], int]) -> None:
        def job(transaction: Transaction) -> None:
            if not change(transaction):
                raise NotFound(f"no user {name}: `caseus user list` shows them")
            transaction.add("users")
            transaction.journal(action, actor=actor, detail=name)

        self.writer.write(job)

    def add_token(self, *, user: str, digest: str, prefix: str, scope: str, expires: float | None, actor: str) -> Token:
        """NotFound if there is no such user."""

        def job(transaction: Transaction) -> None:
            if not transaction.row(_user, {"user_name": user}):
                raise NotFound(f"no user {user}: `caseus user list` shows them")
            row = {"digest": digest, "user": user, "prefix": prefix, "scope": scope, "expires": expires}
            transaction.execute(_add_token, row | {"created": transaction.now, "last_used": None})
            transaction.add("users")
            transaction.journal("token-create", actor=actor, detail=f"{prefix}… for {user}, scope {scope}")

        self.writer.write(job)
        token = self.token(digest)
        if token is None:
            raise NotFound("the token was revoked while it was made")
        return token

    def token(self, digest: str) -> Token | None:
        """The token with that sha256 (hex)."""
        row = self._row(_token, token_digest=digest)
        return Token(**dict(row)) if row else None

    def tokens(self, user: str | None = None) -> list[Token]:
        found = [Token(**dict(row)) for row in self._rows(_tokens)]
        return [token for token in found if user is None or token.user == user]

    def revoke_token(self, id: int, *, actor: str) -> None:
        """NotFound."""

        def job(transaction: Transaction) -> None:
            row = transaction.row(_token_id, {"token_id": id})
            if row is None:
                raise NotFound(f"no token {id}: `caseus token list` shows them")
            transaction.execute(_revoke, {"token_id": id})
            transaction.add("users")
            transaction.journal("token-revoke", actor=actor, detail=f"{row['prefix']}… of {row['user']}")

        self.writer.write(job)

    def token_used(self, id: int) -> None:
        """Kept in memory and written with the next change, or within half a minute."""
        self._tokens_used[id] = self.clock()

    def write_tokens_used(self, transaction: Transaction) -> None:
        """The writer's idle work."""
        used, self._tokens_used = self._tokens_used, {}
        for id, time in used.items():
            transaction.execute(_set_used, {"token_id": id, "time": time})


def _to_user(row: Any) -> User:
    return User(**{**dict(row), "admin": bool(row["admin"]), "read_only": bool(row["read_only"])})
