"""The table of roles: what each loads, and that all of them together stop in time."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

from tocsin.bus import linked
from tocsin.main import ROLES, clock, health, own_machine

STOP_S = 10.0

WITHOUT = {
    "keeper": {"fastapi", "starlette", "pycurl", "apprise", "aiosmtplib", "grpc", "redis"},
    "alerts": {"fastapi", "starlette", "grpc", "redis"},
    "api": {"tocsin.services", "grpc", "redis"},
    "worker": {"fastapi", "starlette", "apprise", "aiosmtplib", "grpc", "redis"},
    "aggregator": {"fastapi", "starlette", "apprise", "aiosmtplib", "grpc", "redis"},
}
"""Of the aggregator gRPC itself is loaded when everything else is at work."""
NEVER = {"alembic"}
"""Loaded where a schema is brought up to date, and nowhere else."""


def loaded(*modules: str) -> set[str]:
    """Everything in a fresh interpreter once these are imported."""
    program = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    )


@pytest.mark.parametrize("role", ROLES)
def test_a_role_loads_only_what_it_needs(role: str) -> None:
    there = loaded("tocsin.main.process", "tocsin.main.clock", "tocsin.main.health", ROLES[role].module)
    assert ROLES[role].module in there
    assert not (WITHOUT[role] | NEVER) & there


def test_the_table_itself_loads_nothing() -> None:
    assert not {"sqlalchemy", "pydantic", "asyncio"} & loaded("tocsin.main")


def test_all_of_them_together_stop_in_time() -> None:
    roles_s = sum(role.stop_s for role in ROLES.values())
    assert roles_s + clock.STOP_S + own_machine.STOP_S + linked.LAST_S <= STOP_S
    assert max(role.stop_s for role in ROLES.values()) + health.STOP_S + clock.STOP_S + linked.LAST_S <= STOP_S


@pytest.mark.parametrize("role", ROLES)
def test_every_role_is_started_in_the_same_way(role: str) -> None:
    start = importlib.import_module(ROLES[role].module).start
    assert list(inspect.signature(start).parameters) == ["house", "ends"]
