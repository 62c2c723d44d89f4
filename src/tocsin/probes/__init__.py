"""Is it up? One file per kind of target, and this table."""

from __future__ import annotations

from typing import Any

from tocsin.probes.base import ProbeKind
from tocsin.probes.http import HTTP

PROBES: dict[str, ProbeKind[Any]] = {row.kind: row for row in (HTTP,)}
