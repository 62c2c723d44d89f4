"""Is it up? One file per kind of target, and this table."""

from __future__ import annotations

from typing import Any

from tocsin.probes.base import ProbeKind
from tocsin.probes.dns import DNS
from tocsin.probes.heartbeat import HEARTBEAT
from tocsin.probes.http import HTTP
from tocsin.probes.icmp import ICMP
from tocsin.probes.tcp import TCP
from tocsin.probes.tls import TLS

PROBES: dict[str, ProbeKind[Any]] = {row.kind: row for row in (HTTP, TCP, ICMP, DNS, TLS, HEARTBEAT)}
