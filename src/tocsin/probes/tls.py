"""The tls kind: the certificate a server shows, for how long it holds, and what was agreed in the handshake.

Knows no target and no verdict; what is wrong with a certificate is put into words by ``lib.tls``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import Field

from tocsin.lib.certificates import Certificate
from tocsin.lib.expressions import Kind, Value
from tocsin.lib.net import Network
from tocsin.lib.starttls import prepare_tls
from tocsin.lib.stream import Progress, connect, place
from tocsin.lib.tls import CertificateRefused, TlsOptions, TlsSession
from tocsin.probes.base import ProbeKind, Reading, failure_of
from tocsin.probes.connection import TLS_VARIABLES, ConnectionSettings, Port, attempt, tls_values


class TlsSettings(ConnectionSettings):
    """A server's certificate."""

    port: Port = Field(443, description="The port to connect to.")


@dataclass(slots=True)
class _Seen:
    """How far a probe came."""

    certificates: tuple[Certificate, ...] = ()
    tls: Mapping[str, Value] = field(default_factory=dict)
    refusal: CertificateRefused | None = None
    latency_us: int | None = None


async def probe(settings: TlsSettings, timeout_s: float, network: Network) -> Reading:
    """Verify as anybody would. Where that fails, connect once more without verifying, to see the whole session."""
    progress, seen = Progress(), _Seen()
    work = _look(settings, timeout_s, network, progress, seen)
    failure = await attempt(work, timeout_s=timeout_s, progress=progress)
    if seen.refusal is not None and settings.verify_tls:
        # Outweighs whatever went wrong with the second connection: this is what visitors see.
        failure = failure_of(seen.refusal)
    return Reading(
        latency_us=None if failure else seen.latency_us,
        phases=progress.phases,
        values={
            "latency_ms": (seen.latency_us or progress.total_us) / 1000,
            "ip": progress.address or "",
            **seen.tls,
        },
        failure=failure,
        address=progress.address,
        certificates=seen.certificates,
        details=lambda: _details(seen),
    )


async def _look(settings: TlsSettings, timeout_s: float, network: Network, progress: Progress, seen: _Seen) -> None:
    verifying = replace(settings.tls_options, verify=True)
    try:
        session = await _greet(settings, verifying, timeout_s, network, progress)
    except CertificateRefused as refusal:
        seen.refusal, seen.certificates = refusal, refusal.certificates
        seen.latency_us = progress.total_us
        progress.end()
        again = Progress()
        session = await _greet(settings, replace(verifying, verify=False), timeout_s, network, again)
    else:
        seen.latency_us = progress.total_us
        progress.end()
    seen.certificates = session.certificates
    seen.tls = tls_values(session) | {
        "tls.hostname_ok": seen.refusal is None or seen.refusal.hostname_ok,
        "tls.chain_ok": seen.refusal is None or seen.refusal.chain_ok,
    }


async def _greet(
    settings: TlsSettings,
    options: TlsOptions,
    timeout_s: float,
    network: Network,
    progress: Progress,
) -> TlsSession:
    with await connect(
        network, settings.host, settings.port, ip_version=settings.ip_version, timeout_s=timeout_s, progress=progress
    ) as stream:
        progress.begin("tls", f"waiting for {stream.where} to begin TLS")
        await prepare_tls(stream, settings.starttls)
        progress.begin("tls", f"greeting {stream.where} in TLS")
        return await stream.start_tls(options, settings.tls_name)


def _details(seen: _Seen) -> dict[str, object]:
    names = ("tls.version", "tls.cipher", "tls.hostname_ok", "tls.chain_ok")
    return {name.removeprefix("tls."): seen.tls[name] for name in names} if seen.tls else {}


TLS = ProbeKind(
    kind="tls",
    title="TLS certificate",
    settings=TlsSettings,
    variables={
        "latency_ms": Kind.NUMBER,
        "ip": Kind.STRING,
        **TLS_VARIABLES,
        "tls.hostname_ok": Kind.BOOL,
        "tls.chain_ok": Kind.BOOL,
    },
    default_assertions=('tls.expires_in > duration("0s")',),
    probe=probe,
    endpoint=lambda settings: place(settings.host, settings.port),
)
