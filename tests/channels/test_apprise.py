"""Apprise through its ``json://`` service, against real local servers."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.channels.conftest import item
from tests.servers import Asked, answering, hang, reply, serving
from tocsin.channels.apprise import AppriseSettings, deliver
from tocsin.channels.base import Carrier, Refused, Retryable
from tocsin.channels.frame import deliver as framed
from tocsin.core.alerting import Event, Message
from tocsin.core.decide import Verdict

TOKEN = "s3cr3t-t0k3n-of-the-service"


def settings(url: str) -> AppriseSettings:
    return AppriseSettings.model_validate({"url": url})


async def test_a_message_is_sent(message: Message, carrier: Carrier) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(), asked)) as server:
        detail = await deliver(settings(f"json://127.0.0.1:{server.port}/{TOKEN}"), message, carrier)
    assert detail == "sent through JSON"
    sent = json.loads(asked[0].body)
    assert sent["title"] == "■ checkout-api is down"
    assert sent["message"].splitlines() == message.text.splitlines()
    assert sent["type"] == "failure"


@pytest.mark.parametrize(
    ("verdict", "kind"), [(Verdict.UP, "success"), (Verdict.DEGRADED, "warning"), (Verdict.DOWN, "failure")]
)
async def test_the_kind_of_news_is_said(verdict: Verdict, kind: str, message: Message, carrier: Carrier) -> None:
    asked: list[Asked] = []
    told = replace(message, items=(item(verdict=verdict, event=Event.RECOVERED),))
    async with serving(answering(reply(), asked)) as server:
        await deliver(settings(f"json://127.0.0.1:{server.port}/"), told, carrier)
    assert json.loads(asked[0].body)["type"] == kind


@pytest.mark.parametrize("template", ["{tmp_path}/it.json", "file://{tmp_path}/it.json", "http://169.254.169.254/it"])
@pytest.mark.parametrize("service", ["discord", "guilded"])
def test_a_url_cannot_name_a_file_to_send(service: str, template: str, tmp_path: Path) -> None:
    """Apprise would read it, from this machine's disk or from any address, and send it to whom the URL names."""
    (tmp_path / "it.json").write_text('{"content": "of this machine"}')
    url = f"{service}://123456789012345678/{'abcdefghij' * 7}?template={template.format(tmp_path=tmp_path)}"
    settings(url.partition("?")[0])
    with pytest.raises(ValidationError, match="not this form of it"):
        settings(url)


async def test_what_must_not_be_contacted_is_not(message: Message, carrier: Carrier) -> None:
    for url in ("json://169.254.169.254/", "mailto://a:b@example.org?smtp=169.254.169.254&to=a@example.org"):
        with pytest.raises(Refused, match="link-local"):
            await deliver(settings(url), message, carrier)


async def test_redirects_are_not_followed(message: Message, carrier: Carrier) -> None:
    asked: list[Asked] = []
    async with serving(answering(reply(), asked)) as inside:
        moved = reply(b"", status=302, headers=[("Location", f"http://127.0.0.1:{inside.port}/inside")])
        async with serving(answering(moved)) as server:
            with pytest.raises(Retryable):
                await deliver(settings(f"json://127.0.0.1:{server.port}/?redirect=yes"), message, carrier)
    assert asked == []


@pytest.mark.parametrize("status", [400, 404, 429, 500])
async def test_a_refusal_is_tried_again_and_says_what_apprise_said(
    status: int, message: Message, carrier: Carrier, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(answering(reply(b"no", status=status))) as server:
        with pytest.raises(Retryable, match=rf"JSON: Failed to send JSON .*error={status}") as raised:
            await deliver(settings(f"json://127.0.0.1:{server.port}/{TOKEN}"), message, carrier)
    assert TOKEN not in str(raised.value)
    assert TOKEN not in "".join(capfd.readouterr())


async def test_nobody_listening_is_tried_again(message: Message, carrier: Carrier) -> None:
    async with serving(hang) as server:
        port = server.port
    with pytest.raises(Retryable, match="onnection error"):
        await deliver(settings(f"json://127.0.0.1:{port}/{TOKEN}"), message, carrier)


async def test_a_service_that_hangs_ends_at_the_deadline_and_holds_nothing_up(
    message: Message, carrier: Carrier
) -> None:
    async with serving(hang) as server:
        url = f"json://127.0.0.1:{server.port}/?rto=0.5"
        delivery = await framed("apprise", {"url": url}, message, carrier, deadline_s=0.1)
        assert (delivery.ok, delivery.retryable) == (False, True)
        assert delivery.detail == "no answer within 0.1 s"
        left = [thread for thread in threading.enumerate() if thread.name == "apprise"]
        assert all(thread.daemon for thread in left)
        for thread in left:
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must be an Apprise URL"),
        ("hello", "must be an Apprise URL"),
        (f"nosuchservice://{TOKEN}/", "knows no service nosuchservice://"),
        (f"file:///etc/{TOKEN}", "knows no service file://"),
        ("slack://x", "not this form"),
        (f"json://{TOKEN}:port:port", "not this form"),
    ],
)
def test_urls_that_cannot_work_are_refused_without_repeating_them(url: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as raised:
        settings(url)
    assert TOKEN not in str(raised.value)


def test_the_url_does_not_print_or_log() -> None:
    """Apprise itself logs tokens; what it says must not reach the log of the process."""
    logged: list[logging.LogRecord] = []
    handler = logging.Handler(logging.DEBUG)
    handler.emit = logged.append  # type: ignore[method-assign, assignment]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        assert TOKEN not in repr(settings(f"json://127.0.0.1/{TOKEN}"))
        with pytest.raises(ValidationError):
            settings(f"slack://{TOKEN}")
        logging.getLogger("somebody else").debug("heard")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert "heard" in [record.getMessage() for record in logged]
    assert not [record for record in logged if TOKEN in record.getMessage()]


def test_it_is_not_loaded_before_it_is_needed() -> None:
    program = "import sys, tocsin.channels; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
