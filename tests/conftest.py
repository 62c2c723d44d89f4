"""Fixtures every room may use."""

from tests.postgres import empty_postgres_url, postgres_server, postgres_url, private_postgres

__all__ = ["empty_postgres_url", "postgres_server", "postgres_url", "private_postgres"]
