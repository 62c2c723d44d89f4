"""The dialogues that turn a plain connection into TLS, one per protocol. Knows no TLS and no probe.

Each speaks until the server is ready for the handshake. What the server says is bounded in size; how long it may
take is the caller's business.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, get_args

from tocsin.lib.faults import ContactFailure
from tocsin.lib.stream import Stream

StartTls = Literal["none", "smtp", "imap", "pop3", "ftp", "postgres", "ldap"]

_MAX_LINE_BYTES = 4096
_MAX_LINES = 100


async def prepare_tls(stream: Stream, protocol: StartTls) -> None:
    """Bring ``stream`` to where the handshake begins.

    Raises ``ContactFailure``: ``starttls_refused`` when the server does not offer TLS, ``bad_answer`` when it does
    not speak the protocol.
    """
    talk = _Talk(stream, protocol)
    await _DIALOGUES[protocol](talk)
    talk.must_be_silent()


class _Talk:
    """A line-based dialogue with one server."""

    def __init__(self, stream: Stream, protocol: str) -> None:
        self._stream = stream
        self._protocol = protocol.upper() if protocol != "postgres" else "PostgreSQL"
        self._unread = b""

    async def send(self, data: bytes) -> None:
        await self._stream.send(data)

    async def line(self) -> str:
        while b"\n" not in self._unread:
            if len(self._unread) > _MAX_LINE_BYTES:
                raise self.nonsense(self._unread)
            await self._more()
        line, _, self._unread = self._unread.partition(b"\n")
        return line.rstrip(b"\r").decode("latin-1")

    async def exactly(self, size_bytes: int) -> bytes:
        while len(self._unread) < size_bytes:
            await self._more()
        data, self._unread = self._unread[:size_bytes], self._unread[size_bytes:]
        return data

    async def reply(self, code: str) -> list[str]:
        """All lines of one reply as SMTP and FTP give them (``250-…``, then ``250 …``)."""
        lines: list[str] = []
        for _ in range(_MAX_LINES):
            line = await self.line()
            if not line[:3].isdigit():
                # FTP allows free text between the first and the last line of a reply.
                if lines and self._protocol == "FTP":
                    continue
                raise self.nonsense(line.encode("latin-1"))
            lines.append(line)
            if line[3:4] != "-":
                if line[:3] != code:
                    raise self.no_tls(line)
                return lines
        raise self.nonsense(lines[-1].encode("latin-1"))

    async def _more(self) -> None:
        data = await self._stream.receive(_MAX_LINE_BYTES)
        if not data:
            raise ContactFailure(
                "closed", f"{self._stream.where} closed the connection before TLS could begin", network=False
            )
        self._unread += data

    def must_be_silent(self) -> None:
        """Plain text after the go-ahead would be taken for protected text: the mark of an injection."""
        if self._unread:
            raise ContactFailure(
                "bad_answer", f"{self._stream.where} sent plain text after it agreed to begin TLS", network=False
            )

    def no_tls(self, said: str) -> ContactFailure:
        return ContactFailure(
            "starttls_refused", f"{self._stream.where} did not agree to begin TLS: {_quoted(said)}", network=False
        )

    def nonsense(self, said: bytes) -> ContactFailure:
        return ContactFailure(
            "bad_answer",
            f"{self._stream.where} does not speak {self._protocol}: it said {_quoted(said.decode('latin-1'))}",
            network=False,
        )


def _quoted(text: str) -> str:
    shown = "".join(character if character.isprintable() else "�" for character in text[:120])
    return f"“{shown}…”" if len(text) > 120 else f"“{shown}”"


async def _at_once(talk: _Talk) -> None:
    """TLS from the first byte."""


async def _smtp(talk: _Talk) -> None:
    """RFC 3207."""
    await talk.reply("220")
    await talk.send(b"EHLO tocsin\r\n")
    offers = await talk.reply("250")
    if not any(line[4:].split(" ")[0].upper() == "STARTTLS" for line in offers):
        raise talk.no_tls("STARTTLS is not among what it offers")
    await talk.send(b"STARTTLS\r\n")
    await talk.reply("220")


async def _ftp(talk: _Talk) -> None:
    """RFC 4217."""
    await talk.reply("220")
    await talk.send(b"AUTH TLS\r\n")
    await talk.reply("234")


async def _imap(talk: _Talk) -> None:
    """RFC 3501, 6.2.1."""
    greeting = await talk.line()
    if not greeting.upper().startswith("* OK"):
        raise talk.nonsense(greeting.encode("latin-1"))
    await talk.send(b"t1 STARTTLS\r\n")
    for _ in range(_MAX_LINES):
        line = await talk.line()
        if line.startswith("t1 "):
            if not line.upper().startswith("T1 OK"):
                raise talk.no_tls(line)
            return
    raise talk.nonsense(line.encode("latin-1"))


async def _pop3(talk: _Talk) -> None:
    """RFC 2595."""
    greeting = await talk.line()
    if not greeting.startswith("+OK"):
        raise talk.nonsense(greeting.encode("latin-1"))
    await talk.send(b"STLS\r\n")
    answer = await talk.line()
    if not answer.startswith("+OK"):
        raise talk.no_tls(answer)


async def _postgres(talk: _Talk) -> None:
    """SSLRequest: https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-SSL"""
    await talk.send((8).to_bytes(4, "big") + (80_877_103).to_bytes(4, "big"))
    answer = await talk.exactly(1)
    if answer == b"N":
        raise talk.no_tls("N")
    if answer != b"S":
        raise talk.nonsense(answer)


async def _ldap(talk: _Talk) -> None:
    """RFC 4511, 4.14: an ExtendedRequest with the StartTLS name, and the result code of its response."""
    name = b"1.3.6.1.4.1.1466.20037"
    request = b"\x77" + bytes([len(name) + 2]) + b"\x80" + bytes([len(name)]) + name
    await talk.send(b"\x30" + bytes([len(request) + 3]) + b"\x02\x01\x01" + request)
    tag, length = await talk.exactly(2)
    if length & 0x80:
        size_octets = length & 0x7F
        if size_octets > 2:
            raise talk.nonsense(bytes([tag, length]))
        length = int.from_bytes(await talk.exactly(size_octets), "big")
    body = await talk.exactly(length)
    at = body.find(b"\x0a\x01")
    if tag != 0x30 or not body.startswith(b"\x02\x01\x01\x78") or at < 0 or at + 2 >= len(body):
        raise talk.nonsense(bytes([tag]) + body)
    if body[at + 2]:
        raise talk.no_tls(f"LDAP result {body[at + 2]}")


_DIALOGUES: Mapping[StartTls, Callable[[_Talk], Awaitable[None]]] = {
    "none": _at_once,
    "smtp": _smtp,
    "imap": _imap,
    "pop3": _pop3,
    "ftp": _ftp,
    "postgres": _postgres,
    "ldap": _ldap,
}
assert set(_DIALOGUES) == set(get_args(StartTls))
