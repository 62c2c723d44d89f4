"""What surrounds every delivery: one deadline, one kind of answer, no secret in it. Knows no channel by name.

A channel is just a function that sends; whoever calls it, the alerts service or a person's Test button, does so here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import NamedTuple

from pydantic import SecretStr, ValidationError

from tocsin.channels import CHANNELS
from tocsin.channels.base import Carrier, Refused, Retryable
from tocsin.core.alerting import Message, one_line
from tocsin.lib.faults import OwnFault
from tocsin.lib.log import get_logger

LONGEST_DETAIL = 500
_SHORTEST_SECRET = 4
"""Shorter ones are not hidden: hiding every "a" would hide the whole answer, and they hide nothing."""

log = get_logger("channels")


class Delivery(NamedTuple):
    """How one attempt went. ``retryable`` and ``retry_after_s`` mean something only when it is not ``ok``."""

    ok: bool
    detail: str
    duration_ms: int
    retryable: bool = False
    retry_after_s: float | None = None


async def deliver(
    kind: str, settings: Mapping[str, object], message: Message, carrier: Carrier, *, deadline_s: float
) -> Delivery:
    """Sends one message once. ``settings`` are the channel's fields with its secrets in clear.

    Never raises for anything that a channel, its settings or the other side did wrong.
    """
    began = carrier.clock.monotonic()
    secrets: Collection[str] = ()

    def ended(detail: str, **more: object) -> Delivery:
        duration_ms = int((carrier.clock.monotonic() - began) * 1000)
        return Delivery(
            detail=one_line(redacted(detail, secrets), LONGEST_DETAIL),
            duration_ms=duration_ms,
            **{"ok": False, **more},  # type: ignore[arg-type]
        )

    channel = CHANNELS.get(kind)
    if channel is None:
        return ended(f"This Tocsin knows no channel of kind {kind}.")
    try:
        checked = channel.settings.model_validate(settings)
    except ValidationError as error:
        fields = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]}))
        return ended(f"The channel's settings are not valid any more ({fields}): open it and save it again.")
    secrets = [
        value.get_secret_value() for _, value in checked if isinstance(value, SecretStr) and value.get_secret_value()
    ]
    try:
        async with asyncio.timeout(deadline_s):
            return ended(await channel.deliver(checked, message, carrier), ok=True)
    except Refused as error:
        return ended(str(error))
    except Retryable as error:
        return ended(str(error), retryable=True, retry_after_s=error.retry_after_s)
    except TimeoutError:
        return ended(f"no answer within {deadline_s:g} s", retryable=True)
    except OwnFault as error:
        return ended(str(error), retryable=True)
    except Exception as error:
        # A defect of ours. Its text may hold anything, a secret too, so only its kind and place are logged.
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        log.error(
            "channel failed unexpectedly",
            kind=kind,
            error=type(error).__name__,
            file=place and place.tb_frame.f_code.co_filename,
            line=place and place.tb_lineno,
        )
        return ended(f"unexpected error in the channel ({type(error).__name__})", retryable=True)


def redacted(text: str, secrets: Collection[str]) -> str:
    """``text`` with every secret in it covered, the longest first."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "•••")
    return text
