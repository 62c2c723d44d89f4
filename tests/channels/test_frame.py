"""What surrounds every delivery: a deadline, an answer for everything that goes wrong, and no secret in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from pydantic import SecretStr

from tocsin.channels import CHANNELS
from tocsin.channels.base import Carrier, ChannelKind, ChannelSettings, Refused, Retryable
from tocsin.channels.frame import LONGEST_DETAIL, Delivery, deliver, redacted
from tocsin.core.alerting import Message
from tocsin.lib.faults import OwnFault

SECRET = "open sesame"


class Settings(ChannelSettings):
    secret: SecretStr


Attempt = Callable[[Callable[[], Awaitable[str]]], Awaitable[Delivery]]


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch, message: Message, carrier: Carrier) -> Attempt:
    """Sends through a channel that does as it is told."""

    async def attempt(act: Callable[[], Awaitable[str]]) -> Delivery:
        async def send(_settings: Settings, _message: Message, _carrier: Carrier) -> str:
            return await act()

        kind = ChannelKind(kind="scripted", title="Scripted", settings=Settings, deliver=send)
        monkeypatch.setattr("tocsin.channels.frame.CHANNELS", {"scripted": kind})
        return await deliver("scripted", {"secret": SECRET}, message, carrier, deadline_s=0.05)

    return attempt


def raising(error: Exception) -> Callable[[], Awaitable[str]]:
    async def act() -> str:
        raise error

    return act


async def test_what_the_other_side_answered(attempt: Attempt) -> None:
    async def act() -> str:
        return f"hello\r\n{SECRET}"

    assert await attempt(act) == Delivery(True, "hello •••", 0)


async def test_a_deadline(attempt: Attempt) -> None:
    async def act() -> str:
        await asyncio.Event().wait()
        return "never"

    delivery = await attempt(act)
    assert delivery[:2] == (False, "no answer within 0.05 s")
    assert delivery.retryable


@pytest.mark.parametrize(
    ("error", "detail", "retryable", "retry_after_s"),
    [
        (Refused(f"gone: {SECRET}"), "gone: •••", False, None),
        (Retryable("later", 7.0), "later", True, 7.0),
        (OwnFault("no file descriptors"), "no file descriptors", True, None),
        (RuntimeError(SECRET), "unexpected error in the channel (RuntimeError)", True, None),
    ],
)
async def test_everything_that_goes_wrong_has_an_answer(
    error: Exception, detail: str, retryable: bool, retry_after_s: float | None, attempt: Attempt
) -> None:
    assert await attempt(raising(error)) == Delivery(False, detail, 0, retryable, retry_after_s)


async def test_a_defect_is_logged_without_what_it_says(attempt: Attempt, capsys: pytest.CaptureFixture[str]) -> None:
    await attempt(raising(RuntimeError(SECRET)))
    logged = "".join(capsys.readouterr())
    assert "RuntimeError" in logged
    assert SECRET not in logged


async def test_settings_that_do_not_fit_any_more_are_refused_by_name(message: Message, carrier: Carrier) -> None:
    delivery = await deliver("webhook", {"url": 7, "old": SECRET}, message, carrier, deadline_s=1)
    assert delivery == Delivery(
        False, "The channel's settings are not valid any more (old, url): open it and save it again.", 0
    )


async def test_a_kind_from_another_version_is_refused(message: Message, carrier: Carrier) -> None:
    delivery = await deliver("pigeon", {}, message, carrier, deadline_s=1)
    assert delivery == Delivery(False, "This Tocsin knows no channel of kind pigeon.", 0)


def test_long_answers_are_cut_after_secrets_are_covered() -> None:
    assert LONGEST_DETAIL == 500
    assert redacted("abcd abcdef xyz", ["abcd", "abcdef", "xyz"]) == "••• ••• xyz"


def test_every_kind_is_in_the_table_under_its_own_name() -> None:
    assert {kind.kind: kind for kind in CHANNELS.values()} == dict(CHANNELS)
