"""What a host is: attributes of an OpenTelemetry resource, which hardly ever change.

https://opentelemetry.io/docs/specs/semconv/resource/host/ and …/resource/os/
"""

from __future__ import annotations

import os

from tocsin.sensors.base import Host, text_of

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i686": "x86", "i386": "x86", "armv7l": "arm32"}
"""Of uname, in the words of the conventions; others go as they are."""


def facts(host: Host, name: str) -> dict[str, str]:
    """What cannot be told is left out."""
    system = os.uname()
    release = _os_release(host)
    found = {
        "host.name": name,
        "host.arch": _ARCHITECTURES.get(system.machine, system.machine),
        "host.cpu.model.name": _cpu_model(host),
        "os.type": system.sysname.lower(),
        "os.name": release.get("NAME", ""),
        "os.version": release.get("VERSION_ID", ""),
        "os.description": release.get("PRETTY_NAME", ""),
        "os.kernel.release": system.release,
    }
    return {key: value[:250] for key, value in found.items() if value}


def _os_release(host: Host) -> dict[str, str]:
    """https://www.freedesktop.org/software/systemd/man/latest/os-release.html"""
    for name in ("etc/os-release", "usr/lib/os-release"):
        text = text_of(host.root / name)
        if text is not None:
            pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
            return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}
    return {}


def _cpu_model(host: Host) -> str:
    """ARM has no such line; its device tree names the board instead."""
    for line in (text_of(host.proc("cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "cpu model"):
            return value.strip()
    return (text_of(host.proc("device-tree/model")) or "").strip("\0")
