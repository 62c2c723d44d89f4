"""The tcp kind: a connection is made, something may be said, and what comes back may be looked at.

Knows no target and no verdict; how to connect and to begin TLS is ``lib.stream``'s business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from tocsin.lib.certificates import Certificate
from tocsin.lib.expressions import EvaluationError, Kind, Value, fit_text
from tocsin.lib.faults import ContactFailure
from tocsin.lib.net import Network
from tocsin.lib.starttls import prepare_tls
from tocsin.lib.stream import Progress, Stream, connect, place
from tocsin.lib.tls import CertificateRefused
from tocsin.probes.base import Failure, ProbeKind, Reading
from tocsin.probes.connection import TLS_VARIABLES, ConnectionSettings, attempt, shown, tls_values

MAX_RECEIVED_BYTES = 64 * 1024
_SHOWN_CHARACTERS = 4096

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.?)", re.DOTALL)
_ESCAPED = {"n": b"\n", "r": b"\r", "t": b"\t", "0": b"\0", "\\": b"\\"}


def unescaped(text: str) -> bytes:
    r"""The bytes that ``text`` stands for: UTF-8, with ``\r \n \t \0 \\`` and ``\x1b``. Raises ``ValueError``."""
    data = bytearray()
    end = 0
    for found in _ESCAPE.finditer(text):
        data += text[end : found.start()].encode()
        name = found[1]
        if name in _ESCAPED:
            data += _ESCAPED[name]
        elif len(name) == 3:
            data.append(int(name[1:], 16))
        else:
            raise ValueError(
                rf"“{found[0]}” at character {found.start() + 1} is no escape; there are \r \n \t \0 \\ and \x1b"
            )
        end = found.end()
    return bytes(data + text[end:].encode())


def _checked(text: str) -> str:
    unescaped(text)
    return text


Escaped = Annotated[str, Field(max_length=8192), AfterValidator(_checked)]


class TcpSettings(ConnectionSettings):
    """A connection to a port."""

    send: Escaped = Field(
        "", description=r"Text to send once connected, with \r \n \t \0 \\ and \x1b.", examples=[r"PING\r\n"]
    )
    expect: Escaped = Field(
        "", description="Text that must come back within the first 64 KiB; same escapes.", examples=["+PONG"]
    )
    receive: bool = Field(
        False,
        description="Wait for the server to say something, so that assertions can look at it. "
        "With send or expect it is waited for anyway.",
    )
    tls: bool = Field(False, description="Speak TLS from the first byte.")

    @field_validator("tls")
    @classmethod
    def _one_way_to_tls(cls, tls: bool, info: ValidationInfo) -> bool:
        if tls and info.data.get("starttls", "none") != "none":
            raise ValueError("choose one: tls (from the first byte) or starttls")
        return tls


@dataclass(slots=True)
class _Seen:
    """How far a probe came."""

    received: bytearray = field(default_factory=bytearray)
    tls: dict[str, Value] = field(default_factory=dict)
    certificates: tuple[Certificate, ...] = ()

    @property
    def text(self) -> str:
        return self.received.decode("utf-8", "replace")


class _Values(dict[str, Value]):
    """The CEL variables; those of TLS are there only where there was TLS."""

    def __missing__(self, name: str) -> Value:
        raise EvaluationError(f"there is no {name}: set tls or starttls")


async def probe(settings: TcpSettings, timeout_s: float, network: Network) -> Reading:
    progress, seen = Progress(), _Seen()
    work = _converse(settings, timeout_s, network, progress, seen)
    failure = await attempt(work, timeout_s=timeout_s, progress=progress)
    if failure is not None and failure.code == "timeout" and seen.received:
        failure = Failure("unexpected_answer", f"{failure.message}; received {shown(seen.text)}", network=False)
    latency_us = progress.total_us
    return Reading(
        latency_us=None if failure else latency_us,
        phases=progress.phases,
        values=_Values(
            {"latency_ms": latency_us / 1000, "received": fit_text(seen.text), "ip": progress.address or "", **seen.tls}
        ),
        failure=failure,
        address=progress.address,
        certificates=seen.certificates,
        details=lambda: _details(seen),
    )


async def _converse(settings: TcpSettings, timeout_s: float, network: Network, progress: Progress, seen: _Seen) -> None:
    with await connect(
        network, settings.host, settings.port, ip_version=settings.ip_version, timeout_s=timeout_s, progress=progress
    ) as stream:
        if settings.tls or settings.starttls != "none":
            await _secure(settings, stream, progress, seen)
        if settings.send:
            progress.begin("first_byte", f"sending to {stream.where}")
            await stream.send(unescaped(settings.send))
        if settings.send or settings.expect or settings.receive:
            await _listen(unescaped(settings.expect), stream, progress, seen)
        progress.end()


async def _secure(settings: TcpSettings, stream: Stream, progress: Progress, seen: _Seen) -> None:
    progress.begin("tls", f"waiting for {stream.where} to begin TLS")
    await prepare_tls(stream, settings.starttls)
    progress.begin("tls", f"greeting {stream.where} in TLS")
    try:
        session = await stream.start_tls(settings.tls_options, settings.tls_name)
    except CertificateRefused as failure:
        seen.certificates = failure.certificates
        raise
    seen.certificates = session.certificates
    seen.tls = tls_values(session)
    progress.end()


async def _listen(expected: bytes, stream: Stream, progress: Progress, seen: _Seen) -> None:
    """Receive until ``expected`` has come; where nothing is expected, the first that comes will do."""
    waiting_for = f"“{expected.decode('utf-8', 'replace')}” from" if expected else "an answer from"
    progress.begin("first_byte", f"waiting for {waiting_for} {stream.where}")
    while len(seen.received) < MAX_RECEIVED_BYTES:
        data = await stream.receive(MAX_RECEIVED_BYTES - len(seen.received))
        if not data:
            break
        if not seen.received:
            progress.begin("transfer", progress.doing)
        searched = max(0, len(seen.received) - len(expected) + 1)
        seen.received += data
        if seen.received.find(expected, searched) >= 0:
            return
    if not seen.received:
        raise ContactFailure("closed", f"{stream.where} closed the connection without a word", network=False)
    ended = "closed the connection" if len(seen.received) < MAX_RECEIVED_BYTES else "sent 64 KiB"
    raise ContactFailure(
        "unexpected_answer",
        f"{stream.where} {ended} without {shown(expected.decode('utf-8', 'replace'))}; received {shown(seen.text)}",
        network=False,
    )


def _details(seen: _Seen) -> dict[str, object]:
    details: dict[str, object] = {
        "received": fit_text(seen.text[:_SHOWN_CHARACTERS]),
        "received_bytes": len(seen.received),
    }
    details |= {name.removeprefix("tls."): seen.tls[name] for name in ("tls.version", "tls.cipher") if seen.tls}
    return details


TCP = ProbeKind(
    kind="tcp",
    title="TCP port",
    settings=TcpSettings,
    variables={"latency_ms": Kind.NUMBER, "received": Kind.STRING, "ip": Kind.STRING, **TLS_VARIABLES},
    default_assertions=(),
    probe=probe,
    endpoint=lambda settings: place(settings.host, settings.port),
)
