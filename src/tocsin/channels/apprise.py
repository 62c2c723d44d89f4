"""Apprise: over a hundred services behind one URL each. A thin door; knows no service by name.

Apprise is heavy to import and blocks while it sends, so it is loaded when first needed and called on a thread of its
own. It answers yes or no; why it was no stands only in its log, which is captured and told as the detail.
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, SecretStr

from tocsin.channels.base import Carrier, ChannelKind, ChannelSettings, Refused, Retryable
from tocsin.core.alerting import SIGNS, Message
from tocsin.core.decide import Verdict
from tocsin.lib.faults import ContactFailure

if TYPE_CHECKING:
    from apprise import NotifyBase

T = TypeVar("T")

_SCHEMA = re.compile(r"([a-z][a-z0-9+.-]*)://.", re.IGNORECASE)
_loading = threading.Lock()


def _known_url(secret: SecretStr) -> SecretStr:
    _service(secret.get_secret_value())
    return secret


class AppriseSettings(ChannelSettings):
    url: Annotated[SecretStr, AfterValidator(_known_url)] = Field(
        description="An Apprise URL. It usually holds a token, so it is kept as a secret.",
        examples=["slack://TokenA/TokenB/TokenC/#channel"],
    )


def _service(url: str) -> NotifyBase:
    """The service a URL names. Raises ``ValueError`` in words that never repeat the URL."""
    found = _SCHEMA.match(url.strip())
    if found is None:
        raise ValueError("must be an Apprise URL: it begins with a service and ://, such as slack://")
    with _loading:
        import apprise
        from apprise.manager_attachment import AttachmentManager
        from apprise.manager_plugins import NotificationManager

        # It would warn through the root logger, and its warnings repeat tokens.
        logging.getLogger("apprise").propagate = False
        # Templates and key files named in a URL would be read from this machine's disk, or from any address it
        # reaches, and sent to whom the URL names.
        attachments: Any = AttachmentManager()  # type: ignore[no-untyped-call]
        attachments.remove(*attachments.schemas())
    schema = found[1].lower()
    if schema not in NotificationManager():  # type: ignore[no-untyped-call]
        raise ValueError(f"Apprise knows no service {schema}://; its list is on https://appriseit.com/services/")
    service = apprise.Apprise.instantiate(url.strip())
    if service is None:
        raise ValueError(f"Apprise knows {schema}:// but not this form of it: a part is missing or malformed")
    # A redirect leads where no guard has looked.
    service.redirects = False
    return service


def _own_host(url: str) -> str | None:
    """The host that a URL itself names, where its service is one that people run; None where it is the service's."""
    service = _service(url)
    if smtp_host := getattr(service, "smtp_host", None):
        return str(smtp_host)
    named = any("{host}" in template for template in getattr(service, "templates", ()))
    return str(service.host) if named and service.host else None


async def deliver(settings: AppriseSettings, message: Message, carrier: Carrier) -> str:
    url = settings.url.get_secret_value()
    host = await _on_a_thread(lambda: _own_host(url))
    if host is not None:
        await _permit(host, carrier)
    return await _on_a_thread(lambda: _sent(url, message))


async def _permit(host: str, carrier: Carrier) -> None:
    """Raises ``Refused`` for a host that must not be contacted. Apprise looks it up once more and says itself what
    else is wrong with it."""
    try:
        await carrier.network.addresses(host)
    except ContactFailure as failure:
        if failure.code == "blocked_address":
            raise Refused(failure.message) from None


def _sent(url: str, message: Message) -> str:
    service = _service(url)
    import apprise

    worst = message.items[0].verdict if message.items else Verdict.UP
    kinds = {
        Verdict.UP: apprise.NotifyType.SUCCESS,
        Verdict.DEGRADED: apprise.NotifyType.WARNING,
        Verdict.DOWN: apprise.NotifyType.FAILURE,
        Verdict.UNKNOWN: apprise.NotifyType.INFO,
    }
    sender = apprise.Apprise()
    sender.add(service)
    with sender.notify(
        title=f"{SIGNS[worst]} {message.title}",
        body=message.text,
        notify_type=kinds[worst],
        body_format=apprise.NotifyFormat.TEXT,
    ) as result:
        if result:
            return f"sent through {service.service_name}"
        said = "; ".join(dict.fromkeys(str(entry.message) for entry in result.logs()))
    # It does not say whether trying again can help, so it is tried again.
    raise Retryable(_without_url(f"{service.service_name}: {said or 'Apprise could not send it'}", url))


def _without_url(text: str, url: str) -> str:
    """``text`` without the parts of ``url`` that may be a secret: all but its service, host names and short words."""
    for part in sorted(set(re.split(r"[/:@?&=#,]+", url.partition("://")[2])), key=len, reverse=True):
        if len(part) >= 6 and "." not in part:
            text = text.replace(part, "•••")
    return text


async def _on_a_thread(call: Callable[[], T]) -> T:
    """What ``call`` gives, from a thread of its own.

    A pool would be filled by services that hang, and would hold up the end of the process; this thread is left behind
    when the deadline passes, and ends by Apprise's own timeouts.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(tell: Callable[[], None]) -> None:
        if not answer.done():
            tell()

    def work() -> None:
        try:
            tell = partial(answer.set_result, call())
        except BaseException as error:
            tell = partial(answer.set_exception, error)
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, tell)

    threading.Thread(target=work, name="apprise", daemon=True).start()
    return await answer


APPRISE = ChannelKind(kind="apprise", title="Apprise", settings=AppriseSettings, deliver=deliver)
