"""Alembic's entry: runs the revisions on the connection that ``upgrade`` put into the configuration."""

from __future__ import annotations

from alembic import context

from tocsin.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
