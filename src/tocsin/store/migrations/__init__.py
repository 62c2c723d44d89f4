"""Alembic migrations, for every engine."""
