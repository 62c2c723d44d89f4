"""Fixtures every room may use."""

import os

import structlog
from hypothesis import HealthCheck, settings

from tests.postgres import (
    empty_postgres_url,
    postgres_server,
    postgres_url,
    private_postgres,
    timescale_server,
    timescale_url,
)
from tests.redis import private_redis, redis_server, redis_url
from tocsin.lib.log import WITHOUT_VALUES

__all__ = [
    "empty_postgres_url",
    "postgres_server",
    "postgres_url",
    "private_postgres",
    "private_redis",
    "redis_server",
    "redis_url",
    "timescale_server",
    "timescale_url",
]

# What the library does by itself shows every variable of every frame, and takes seconds for it.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.set_exc_info,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=WITHOUT_VALUES),
    ]
)

# How fast an example was says something about the machine's other work, and nothing about the code.
settings.register_profile("tocsin", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
# Examples nobody has tried yet: HYPOTHESIS_PROFILE=search pytest tests/core
settings.register_profile("search", settings.get_profile("tocsin"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tocsin"))
