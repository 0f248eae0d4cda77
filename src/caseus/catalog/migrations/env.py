"""Alembic's entry: it runs in the transaction of the connection that `caseus.catalog.migration` gives it."""

from __future__ import annotations

from alembic import context

from caseus.catalog.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
context.run_migrations()
