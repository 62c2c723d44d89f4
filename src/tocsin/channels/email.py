"""E-mail by SMTP: plain text with a simple HTML twin. Knows no store and no rule.

Everything up to the server's word that it has the message is one attempt; what comes after that word can no longer
make it fail, or the message would be sent twice.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime
from html import escape
from typing import Annotated, Literal, Self

import aiosmtplib
from pydantic import AfterValidator, Field, SecretStr, model_validator

from tocsin.channels.base import Carrier, ChannelKind, ChannelSettings, Refused, Retryable
from tocsin.core.alerting import SIGNS, Event, Message, MessageItem, clock_time, condition, duration, one_line, word_of
from tocsin.core.decide import Verdict
from tocsin.lib.authorities import default_ca_file
from tocsin.lib.faults import ContactFailure, OwnFault, fault_of_errno
from tocsin.lib.http_request import host_of, plain_text
from tocsin.lib.net import Network

Security = Literal["none", "starttls", "tls"]

_PORTS: dict[Security, int] = {"none": 25, "starttls": 587, "tls": 465}
_CONNECT_S = 5.0
"""How long one address may take when there are others to try."""
_STEP_S = 15.0
"""How long the server may take for one answer; the frame's deadline is for all of them together."""
_SUBJECT_CHARS = 150


def _host(text: str) -> str:
    return host_of(text.strip())


_LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")


def _mail_address(text: str) -> str:
    local, at, domain = text.strip().rpartition("@")
    if not at or not _LOCAL_PART.fullmatch(local):
        raise ValueError("must be a mail address such as ops@example.org")
    return f"{local}@{host_of(domain)}"


MailAddress = Annotated[str, Field(max_length=254), AfterValidator(_mail_address)]


class EmailSettings(ChannelSettings):
    host: Annotated[str, AfterValidator(_host)] = Field(
        max_length=253, description="The mail server.", examples=["smtp.example.org"]
    )
    port: int | None = Field(
        None, ge=1, le=65535, description="Left out: 587 with STARTTLS, 465 with TLS, 25 with neither."
    )
    security: Security = Field(
        "starttls",
        description="`tls` from the first byte, `starttls` before anything is said, or `none`. "
        "Never falls back to less.",
    )
    verify_tls: bool = Field(True, description="Refuse a server whose certificate is not trusted.")
    username: Annotated[str, AfterValidator(plain_text)] = Field(
        "", max_length=254, description="Empty: the server asks for none."
    )
    password: SecretStr | None = Field(None, description="The password to the user name.")
    from_address: MailAddress = Field(description="Who the mail is from.", examples=["tocsin@example.org"])
    to_addresses: Annotated[list[MailAddress], Field(min_length=1, max_length=50)] = Field(
        description="Who gets it.", examples=[["ops@example.org"]]
    )

    @model_validator(mode="after")
    def _password_has_a_user(self) -> EmailSettings:
        if self.password is not None and self.password.get_secret_value() and not self.username:
            raise ValueError("a password needs a user name")
        return self

    def diverted(self, before: Self) -> Mapping[str, str]:
        for field in ("host", "port"):
            if getattr(self, field) != getattr(before, field):
                return {"password": field}
        if self.security == "none" != before.security:
            return {"password": "security"}
        return {"password": "verify_tls"} if before.verify_tls and not self.verify_tls else {}


async def deliver(settings: EmailSettings, message: Message, carrier: Carrier) -> str:
    mail = composed(settings, message)
    port = settings.port or _PORTS[settings.security]
    try:
        connection = await _connected(carrier.network, settings.host, port)
        return await _handed_over(settings, mail, connection)
    except ContactFailure as failure:
        if failure.code == "blocked_address":
            raise Refused(failure.message) from None
        raise Retryable(failure.message) from None
    except aiosmtplib.SMTPRecipientsRefused as error:
        answers = [(each.code, each.message, each.recipient) for each in error.recipients]
        detail = "; ".join(f"{recipient}: {code} {said}" for code, said, recipient in answers)
        if all(500 <= code < 600 for code, _, _ in answers):
            raise Refused(f"no recipient was accepted: {detail}") from None
        raise Retryable(f"no recipient was accepted: {detail}") from None
    except aiosmtplib.SMTPResponseException as error:
        detail = f"the server answered {error.code} {error.message}"
        if 500 <= error.code < 600:
            raise Refused(detail) from None
        raise Retryable(detail) from None
    except aiosmtplib.SMTPNotSupported as error:
        raise Refused(f"the server does not offer what is needed: {error.message}") from None
    except ssl.SSLCertVerificationError as error:
        raise Retryable(f"the server's certificate is not trusted: {error.verify_message}") from None
    except aiosmtplib.SMTPException as error:
        raise Retryable(_of_connection(error)) from None
    except OSError as error:
        raise Retryable(f"the connection failed: {error.strerror or error}") from None


def _of_connection(error: aiosmtplib.SMTPException) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {cause.verify_message}"
    return f"the conversation with the server broke off: {error.message}"


async def _connected(network: Network, host: str, port: int) -> socket.socket:
    """A connection to the first address that answers; addresses are looked up and guarded as everywhere."""
    addresses = await network.addresses(host)
    last: ContactFailure | OwnFault | None = None
    for address in addresses:
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(_CONNECT_S if address != addresses[-1] else None):
                await asyncio.get_running_loop().sock_connect(connection, (address, port))
            return connection
        except TimeoutError:
            connection.close()
            last = ContactFailure("timeout", f"no answer from {address} port {port}", network=True)
        except OSError as error:
            connection.close()
            last = fault_of_errno(error.errno or 0, f"{address} port {port}")
        except BaseException:
            connection.close()
            raise
    assert last is not None, "Network.addresses never gives an empty list"
    raise last


async def _handed_over(settings: EmailSettings, mail: EmailMessage, connection: socket.socket) -> str:
    context = ssl.create_default_context(cafile=default_ca_file())
    if not settings.verify_tls:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    smtp = aiosmtplib.SMTP(
        hostname=settings.host,
        timeout=_STEP_S,
        sock=connection,
        use_tls=settings.security == "tls",
        start_tls=False,
        tls_context=context,
        # Given, because the default asks the resolver who we are and may wait for it.
        local_hostname=_own_name(),
    )
    try:
        await smtp.connect()
    except BaseException:
        connection.close()
        raise
    try:
        if settings.security == "starttls":
            await smtp.ehlo()
            if not smtp.supports_extension("starttls"):
                raise Refused("the server does not offer STARTTLS; nothing was sent in clear text")
            await smtp.starttls()
        if settings.username:
            password = settings.password.get_secret_value() if settings.password else ""
            await smtp.login(settings.username, password)
        refused, answer = await smtp.send_message(
            mail, sender=settings.from_address, recipients=list(settings.to_addresses)
        )
        # The server has it. Say goodbye without waiting for the answer.
        if isinstance(smtp.transport, asyncio.WriteTransport):
            smtp.transport.write(b"QUIT\r\n")
    finally:
        smtp.close()
    accepted = len(settings.to_addresses) - len(refused)
    detail = f"accepted for {accepted} of {len(settings.to_addresses)}: {answer}"
    if refused:
        detail += "; refused: " + ", ".join(f"{who} ({code} {said})" for who, (code, said) in refused.items())
    return detail


def _own_name() -> str:
    name = socket.gethostname().lower()
    return name if re.fullmatch(r"[a-z0-9.-]{1,250}", name) else "[127.0.0.1]"


# ── the mail itself ───────────────────────────────────────────────────────────────────────────────────


def composed(settings: EmailSettings, message: Message) -> EmailMessage:
    """The same mail in every attempt: its Message-ID is the delivery key, by which mail servers tell a repetition."""
    mail = EmailMessage(policy=SMTP_POLICY)
    mail["Subject"] = f"{_sign(message)} {one_line(message.title, _SUBJECT_CHARS)}"
    local, _, domain = settings.from_address.rpartition("@")
    mail["From"] = Address("Tocsin", local, domain)
    mail["To"] = [Address("", *address.rsplit("@", 1)) for address in settings.to_addresses]
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.created_ms / 1000, UTC))
    mail["Message-ID"] = f"<{re.sub(r'[^A-Za-z0-9._-]', '', message.delivery_key)}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(message.text)
    mail.add_alternative(_html(message), subtype="html")
    return mail


def _sign(message: Message) -> str:
    return SIGNS[message.items[0].verdict] if message.items else SIGNS[Verdict.UP]


# Dark enough on white and light enough on black to read, and told apart by colour-blind eyes; the sign says it too.
_COLOURS = {Verdict.UP: "#2b8a3e", Verdict.DEGRADED: "#b35c00", Verdict.DOWN: "#c92a2a", Verdict.UNKNOWN: "#6c757d"}


def _html(message: Message) -> str:
    rows = "".join(_row(item, message.created_ms) for item in message.items)
    more = f"<p>and {message.omitted} more</p>" if message.omitted else ""
    body = f"<table role='presentation' cellspacing='0' cellpadding='0'>{rows}</table>{more}" if rows else ""
    words = "" if rows else "".join(f"<p>{escape(line)}</p>" for line in message.text.splitlines())
    return (
        "<!doctype html><html lang='en'><body style='font:15px/1.5 system-ui,sans-serif;margin:16px'>"
        f"<h1 style='font-size:18px;margin:0 0 12px'>{escape(message.title)}</h1>{body}{words}</body></html>"
    )


def _row(item: MessageItem, now_ms: int) -> str:
    cell = "padding:6px 10px 6px 0;vertical-align:top"
    reason = f"<br><span style='color:#6c757d'>{escape(item.reason)}</span>" if item.reason else ""
    return (
        f"<tr><td style='{cell};color:{_COLOURS[item.verdict]}'>{SIGNS[item.verdict]}</td>"
        f"<td style='{cell}'><a href='{escape(item.url)}'>{escape(item.name)}</a> "
        f"{escape(_how(item, now_ms))}{reason}</td></tr>"
    )


def _how(item: MessageItem, now_ms: int) -> str:
    lasted = duration(item.duration_ms)
    along = f" with {item.dependents_down} that depend on it" if item.dependents_down else ""
    present = condition(item, item.verdict)
    match item.event:
        case Event.RECOVERED:
            but = f", but is {word_of(item, item.verdict)}" if item.verdict is Verdict.DEGRADED else ""
            was = condition(item, item.was)
            return f"recovered{but}: was {was} for {lasted}, since {clock_time(item.since_ms, now_ms)}"
        case Event.CERTIFICATE:
            return "certificate expires soon"
        case Event.REMINDER:
            return f"still {present}{along} since {clock_time(item.since_ms, now_ms)} ({lasted})"
    return f"{present}{along} since {clock_time(item.since_ms, now_ms)} ({lasted})"


EMAIL = ChannelKind(kind="email", title="E-mail", settings=EmailSettings, deliver=deliver)
