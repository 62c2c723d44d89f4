"""What the kinds that hold a connection share: their fields, their TLS values, and faults turned into failures.

Knows no kind by name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from tocsin.lib.expressions import Kind, Value
from tocsin.lib.faults import ContactFailure
from tocsin.lib.http_request import host_of
from tocsin.lib.resolve import IpVersion
from tocsin.lib.starttls import StartTls
from tocsin.lib.stream import Progress
from tocsin.lib.tls import TlsOptions, TlsSession, TlsVersion
from tocsin.probes.base import Failure, ProbeSettings, failure_of
from tocsin.probes.trust import AuthorityPem, ClientKey, Pem

Host = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(host_of)]
OptionalHost = Annotated[str, Field(max_length=253), AfterValidator(lambda text: host_of(text) if text else "")]
Port = Annotated[int, Field(ge=1, le=65535)]


class ConnectionSettings(ProbeSettings):
    """Where to connect, and how to speak TLS there."""

    host: Host = Field(description="A name or an IP address.", examples=["mail.example.com"])
    port: Port = Field(description="The port to connect to.", examples=[25])
    ip_version: IpVersion = Field("any", description="Connect over IPv4 or IPv6 only.")
    starttls: StartTls = Field("none", description="Begin TLS the way this protocol does.")
    verify_tls: bool = Field(True, description="Fail when the certificate is not one to trust for this name.")
    server_name: OptionalHost = Field("", description="The name to ask for and to verify; empty: the host.")
    minimum_tls_version: TlsVersion = Field("1.2", description="Accept nothing older.")
    ca_certificate: AuthorityPem = Field("", description="Trust this instead of the system's authorities. PEM.")
    client_certificate: Pem = Field("", description="What to show a server that asks for a certificate. PEM.")
    client_key: ClientKey = Field(
        "", validate_default=True, description="The client certificate's key. PEM, without passphrase."
    )

    @property
    def tls_options(self) -> TlsOptions:
        return TlsOptions(
            verify=self.verify_tls,
            ca_certificate=self.ca_certificate,
            client_certificate=self.client_certificate,
            client_key=self.client_key.get_secret_value(),
            minimum_version=self.minimum_tls_version,
        )

    @property
    def tls_name(self) -> str:
        return self.server_name or self.host


async def attempt(work: Awaitable[None], *, timeout_s: float, progress: Progress) -> Failure | None:
    """Why ``work`` did not come to its end within ``timeout_s``; None when it did."""
    try:
        async with asyncio.timeout(timeout_s):
            await work
    except TimeoutError:
        return Failure("timeout", f"timed out after {timeout_s:g} s while {progress.doing}", network=True)
    except ContactFailure as fault:
        return failure_of(fault)
    return None


TLS_VARIABLES = {
    "tls.expires_in": Kind.DURATION,
    "tls.version": Kind.STRING,
    "tls.cipher": Kind.STRING,
}


def tls_values(session: TlsSession) -> dict[str, Value]:
    """``TLS_VARIABLES`` of a session. ``tls.expires_in`` is the leaf's, and negative once it has expired."""
    now_ms = time.time_ns() // 1_000_000
    left = [timedelta(milliseconds=certificate.not_after_ms - now_ms) for certificate in session.certificates[:1]]
    return {
        "tls.expires_in": left[0] if left else timedelta(0),
        "tls.version": session.version,
        "tls.cipher": session.cipher,
    }


def shown(text: str, limit_characters: int = 120) -> str:
    r"""What a server said, quoted for a message: one line, with ``\r\n`` and the like written out."""
    start = text[:limit_characters]
    printable = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in start
    )
    return f"“{printable}{'…' if len(text) > limit_characters else ''}”"
