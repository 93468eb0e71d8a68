"""Alembic's entry point: migrates on the connection it is given, inside the caller's transaction."""

from __future__ import annotations

from alembic import context

from services.registry.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
