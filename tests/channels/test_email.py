"""E-mail against real SMTP servers: aiosmtpd where they behave, scripted ones where they do not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as default_policy
from typing import Any

import pytest
import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import ValidationError

from tests.channels.conftest import item
from tests.running import free_port
from tests.servers import Handler, RawServer, hang, serving
from tocsin.channels.base import Carrier, Refused, Retryable
from tocsin.channels.email import EmailSettings, composed, deliver
from tocsin.channels.frame import deliver as framed
from tocsin.core.alerting import Event, Message
from tocsin.core.bands import CPU, REPORTING
from tocsin.core.decide import Verdict
from tocsin.core.outcome import Subject
from tocsin.core.samples import MACHINE

PASSWORD = "correct horse"


def settings(port: int, **changes: object) -> EmailSettings:
    values: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "from_address": "tocsin@example.org",
        "to_addresses": ["ops@example.org"],
    }
    return EmailSettings.model_validate({**values, **changes})


class Mailbox:
    """What a server was handed. ``answers`` replaces its answer to a command (``RCPT:ops@…`` for one recipient)."""

    def __init__(self, **answers: str) -> None:
        self.received: list[Envelope] = []
        self.logins: list[tuple[bytes, bytes]] = []
        self.encrypted = False
        self.answers = answers

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "mail" in self.answers:
            return self.answers["mail"]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer = self.answers.get(address.partition("@")[0], self.answers.get("rcpt"))
        if answer is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "data" in self.answers:
            return self.answers["data"]
        self.encrypted = session.ssl is not None
        self.received.append(envelope)
        return "250 queued as 1"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)

    def mail(self) -> EmailMessage:
        (envelope,) = self.received
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=default_policy)
        assert isinstance(mail, EmailMessage)
        return mail


@contextmanager
def running(mailbox: Mailbox, **options: Any) -> Iterator[int]:
    """A server on a thread of its own; gives its port."""
    port = free_port()
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, authenticator=mailbox.authenticate, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def trusted(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The authority is one of those the system trusts."""
    with authority.cert_pem.tempfile() as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        yield


# ── servers that behave ───────────────────────────────────────────────────────────────────────────────


async def test_a_message_arrives_as_text_and_html(message: Message, carrier: Carrier) -> None:
    mailbox = Mailbox()
    with running(mailbox) as port:
        detail = await deliver(settings(port, to_addresses=["ops@example.org", "boss@example.org"]), message, carrier)
    assert detail == "accepted for 2 of 2: queued as 1"
    (envelope,) = mailbox.received
    assert envelope.mail_from == "tocsin@example.org"
    assert envelope.rcpt_tos == ["ops@example.org", "boss@example.org"]
    mail = mailbox.mail()
    assert mail["Subject"] == "■ checkout-api is down"
    assert mail["From"] == "Tocsin <tocsin@example.org>"
    assert mail["To"] == "ops@example.org, boss@example.org"
    assert mail["Message-ID"] == f"<{message.delivery_key}@example.org>"
    assert mail["Date"] == "Sun, 01 Mar 2026 12:02:00 +0000"
    assert mail["Auto-Submitted"] == "auto-generated"
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().strip().splitlines() == message.text.splitlines()
    assert "■" in html.get_content()
    assert "<a href='http://127.0.0.1:8080/targets/17'>checkout-api</a>" in html.get_content()


@pytest.mark.usefixtures("trusted")
async def test_starttls_and_a_password(message: Message, carrier: Carrier, server_tls: ssl.SSLContext) -> None:
    mailbox = Mailbox()
    with running(mailbox, tls_context=server_tls, require_starttls=True, auth_required=True) as port:
        await deliver(settings(port, security="starttls", username="tocsin", password=PASSWORD), message, carrier)
    assert mailbox.encrypted
    assert mailbox.logins == [(b"tocsin", PASSWORD.encode())]
    assert len(mailbox.received) == 1


@pytest.mark.usefixtures("trusted")
async def test_tls_from_the_first_byte(message: Message, carrier: Carrier, server_tls: ssl.SSLContext) -> None:
    mailbox = Mailbox()
    with running(mailbox, ssl_context=server_tls) as port:
        await deliver(settings(port, security="tls"), message, carrier)
    assert len(mailbox.received) == 1


@pytest.mark.parametrize(("security", "option"), [("starttls", "tls_context"), ("tls", "ssl_context")])
async def test_a_certificate_nobody_trusts_gets_nothing(
    security: str, option: str, message: Message, carrier: Carrier, server_tls: ssl.SSLContext
) -> None:
    mailbox = Mailbox()
    with (
        running(mailbox, **{option: server_tls}) as port,
        pytest.raises(Retryable, match="certificate is not trusted"),
    ):
        await deliver(settings(port, security=security, username="tocsin", password=PASSWORD), message, carrier)
    assert mailbox.logins == []


@pytest.mark.parametrize(("security", "option"), [("starttls", "tls_context"), ("tls", "ssl_context")])
async def test_a_certificate_may_be_taken_on_faith(
    security: str, option: str, message: Message, carrier: Carrier, server_tls: ssl.SSLContext
) -> None:
    mailbox = Mailbox()
    with running(mailbox, **{option: server_tls}) as port:
        await deliver(settings(port, security=security, verify_tls=False), message, carrier)
    assert len(mailbox.received) == 1


async def test_starttls_never_falls_back_to_clear_text(message: Message, carrier: Carrier) -> None:
    mailbox = Mailbox()
    with running(mailbox, auth_require_tls=False) as port, pytest.raises(Refused, match="does not offer STARTTLS"):
        await deliver(settings(port, security="starttls", username="tocsin", password=PASSWORD), message, carrier)
    assert mailbox.logins == []
    assert mailbox.received == []


@pytest.mark.usefixtures("trusted")
async def test_a_wrong_password_is_refused_and_not_shown(
    message: Message, carrier: Carrier, server_tls: ssl.SSLContext
) -> None:
    given = settings(1, security="starttls", username="tocsin", password="wrong horse").model_dump()
    with running(Mailbox(), tls_context=server_tls) as port:
        delivery = await framed("email", {**given, "port": port}, message, carrier, deadline_s=10)
    assert (delivery.ok, delivery.retryable) == (False, False)
    assert "535" in delivery.detail
    assert "wrong horse" not in delivery.detail


@pytest.mark.parametrize("step", ["mail", "rcpt", "data"])
@pytest.mark.parametrize(("answer", "failure"), [("550 go away", Refused), ("451 not now", Retryable)])
async def test_5xx_is_refused_and_4xx_is_tried_again(
    step: str, answer: str, failure: type[Exception], message: Message, carrier: Carrier
) -> None:
    with (
        running(Mailbox(**{step: answer})) as port,
        pytest.raises(failure, match=answer.replace(" ", r"\s+")),
    ):
        await deliver(settings(port), message, carrier)


async def test_one_bad_recipient_does_not_keep_it_from_the_others(message: Message, carrier: Carrier) -> None:
    mailbox = Mailbox(gone="550 no such user")
    with running(mailbox) as port:
        detail = await deliver(settings(port, to_addresses=["gone@example.org", "ops@example.org"]), message, carrier)
    assert detail == "accepted for 1 of 2: queued as 1; refused: gone@example.org (550 no such user)"
    assert mailbox.received[0].rcpt_tos == ["ops@example.org"]


async def test_recipients_refused_for_now_are_tried_again(message: Message, carrier: Carrier) -> None:
    with (
        running(Mailbox(gone="550 no such user", full="452 mailbox full")) as port,
        pytest.raises(Retryable, match="no recipient was accepted"),
    ):
        await deliver(settings(port, to_addresses=["gone@example.org", "full@example.org"]), message, carrier)


# ── servers that do not ───────────────────────────────────────────────────────────────────────────────

STEPS = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "body"]


def hanging_at(step: str) -> Handler:
    """Speaks SMTP until ``step``, then falls silent for ever."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if step == "greeting":
            await hang(reader, writer)
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            word = line.split()[0].decode().upper()
            if word == step:
                await hang(reader, writer)
            writer.write(b"354 go on\r\n" if word == "DATA" else b"250 fine\r\n")
            if word == "DATA":
                await reader.readuntil(b"\r\n.\r\n")
                if step == "body":
                    await hang(reader, writer)
                writer.write(b"250 queued\r\n")

    return handle


@pytest.mark.parametrize("step", STEPS)
async def test_a_server_that_hangs_ends_at_the_deadline(step: str, message: Message, carrier: Carrier) -> None:
    async with serving(hanging_at(step)) as server:
        delivery = await framed("email", settings(server.port).model_dump(), message, carrier, deadline_s=0.3)
        await _all_closed(server)
    assert (delivery.ok, delivery.retryable) == (False, True)
    assert delivery.detail == "no answer within 0.3 s"


async def _all_closed(server: RawServer) -> None:
    """No connection is left behind."""
    async with asyncio.timeout(5):
        while server.open:  # noqa: ASYNC110 - the server has no event for it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("security", ["tls", "starttls"])
async def test_a_handshake_that_hangs_ends_at_the_deadline(security: str, message: Message, carrier: Carrier) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if security == "starttls":
            writer.write(b"220 ready\r\n")
            await reader.readline()
            writer.write(b"250-fine\r\n250 STARTTLS\r\n")
            await reader.readline()
            writer.write(b"220 go ahead\r\n")
        await hang(reader, writer)

    async with serving(handle) as server:
        given = settings(server.port, security=security).model_dump()
        delivery = await framed("email", given, message, carrier, deadline_s=0.3)
        await _all_closed(server)
    assert (delivery.ok, delivery.retryable) == (False, True)


async def test_what_comes_after_the_servers_word_does_not_matter(message: Message, carrier: Carrier) -> None:
    """A server that hangs at QUIT has the message: failing now would send it twice."""
    async with serving(hanging_at("QUIT")) as server:
        delivery = await framed("email", settings(server.port).model_dump(), message, carrier, deadline_s=5)
        await _all_closed(server)
    assert delivery.ok


@pytest.mark.parametrize("words", [b"", b"220 ready\r\n", b"garbage\r\n", b"\xff\xfe\r\n"])
async def test_a_server_that_breaks_off_is_tried_again(words: bytes, message: Message, carrier: Carrier) -> None:
    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        await writer.drain()

    async with serving(handle) as server:
        with pytest.raises(Retryable):
            await deliver(settings(server.port), message, carrier)


async def test_a_server_that_is_closed_for_good_is_refused(message: Message, carrier: Carrier) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"554 no mail here\r\n")
        await reader.read()

    async with serving(handle) as server:
        with pytest.raises(Refused, match="554 no mail here"):
            await deliver(settings(server.port), message, carrier)


async def test_nobody_listening_is_tried_again(message: Message, carrier: Carrier) -> None:
    async with serving(hang) as server:
        port = server.port
    with pytest.raises(Retryable, match="refused"):
        await deliver(settings(port), message, carrier)


async def test_a_blocked_address_is_refused(message: Message, carrier: Carrier) -> None:
    with pytest.raises(Refused, match="must not be contacted"):
        await deliver(settings(25, host="169.254.169.254"), message, carrier)


async def test_the_next_address_is_tried(message: Message, carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    async def addresses(_host: str, _version: str = "any") -> list[str]:
        return ["127.0.0.7", "127.0.0.1"]

    monkeypatch.setattr(carrier.network, "addresses", addresses)
    mailbox = Mailbox()
    with running(mailbox) as port:
        await deliver(settings(port, host="mail.example.org"), message, carrier)
    assert len(mailbox.received) == 1


# ── the mail ──────────────────────────────────────────────────────────────────────────────────────────


def test_names_cannot_add_headers_or_markup(message: Message) -> None:
    evil = replace(
        message,
        title="a\r\nBcc: all@example.org\r\n\r\nbody",
        items=(item(name="<script>alert(1)</script>", url="http://x/'><b>", reason="</table>"),),
        delivery_key="msg_1>\r\nX-Evil: 1",
    )
    mail = composed(settings(25), evil)
    read = message_from_bytes(mail.as_bytes(), policy=default_policy)
    assert set(read.keys()) == {
        "Subject",
        "From",
        "To",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
    }
    assert read["Subject"] == "■ a Bcc: all@example.org body"
    assert read["Message-ID"] == "<msg_1X-Evil1@example.org>"
    html = mail.get_body(("html",))
    assert html is not None
    content = html.get_content()
    assert "<script>" not in content
    assert "<b>" not in content
    assert content.count("</table>") == 1


def test_a_machine_is_spoken_of_in_words_of_its_own(message: Message) -> None:
    critical = item(subject=Subject(MACHINE, 3), name="web-1", rule=CPU, reason="CPU 97 %")
    silent = replace(critical, rule=REPORTING, event=Event.REMINDER)
    back = replace(silent, event=Event.RECOVERED, verdict=Verdict.UP)
    better = replace(critical, event=Event.RECOVERED, verdict=Verdict.DEGRADED)
    html = composed(settings(25), replace(message, items=(critical, silent, back, better))).get_body(("html",))
    assert html is not None
    content = html.get_content()
    for words in (
        "CPU critical since 11:58 UTC (4 min)",
        "still silent since 11:58 UTC (4 min)",
        "recovered: was silent for 4 min, since 11:58 UTC",
        "recovered, but is high: was CPU critical for 4 min",
    ):
        assert words in content


def test_every_item_has_its_sign(message: Message) -> None:
    items = (
        item(),
        item(event=Event.REMINDER, dependents_down=7),
        item(event=Event.DEGRADED, verdict=Verdict.DEGRADED),
        item(event=Event.CERTIFICATE, verdict=Verdict.DEGRADED),
        item(event=Event.RECOVERED, verdict=Verdict.UP),
        item(event=Event.RECOVERED, verdict=Verdict.DEGRADED),
    )
    html = composed(settings(25), replace(message, items=items, omitted=3)).get_body(("html",))
    assert html is not None
    content = html.get_content()
    assert [content.count(sign) for sign in "■◐●"] == [2, 3, 1]
    assert "and 3 more" in content
    assert "still down with 7 that depend on it since" in content
    assert "recovered, but is degraded" in content


def test_a_message_without_items_is_readable(message: Message) -> None:
    html = composed(settings(25), replace(message, items=(), text="one\n<two>")).get_body(("html",))
    assert html is not None
    assert "<p>one</p><p>&lt;two&gt;</p>" in html.get_content()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "exa mple"}, "no valid host name"),
        ({"host": "mail.example.org\r\nX"}, "no valid host name"),
        ({"port": 0}, "greater than or equal to 1"),
        ({"security": "maybe"}, "starttls"),
        ({"from_address": "nobody"}, "mail address"),
        ({"from_address": "a@b@c.org"}, "mail address"),
        ({"from_address": "a\r\nBcc: x@example.org"}, "mail address"),
        ({"from_address": "Evil <a@example.org>"}, "mail address"),
        ({"to_addresses": []}, "at least 1"),
        ({"to_addresses": ["ok@example.org", "no"]}, "mail address"),
        ({"password": "secret"}, "needs a user name"),
    ],
)
def test_settings_that_cannot_work_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as raised:
        settings(**{"port": 25, **changes})  # type: ignore[arg-type]
    assert "secret" not in str(raised.value.errors(include_input=False))


def test_international_domains_are_sent_in_their_ascii_form() -> None:
    assert settings(25, from_address="wache@käse.example").from_address == "wache@xn--kse-qla.example"
