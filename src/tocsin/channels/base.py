"""What a channel is: one way to tell someone. Knows no other channel, no store, no schedule.

A channel sends one message once. When, to whom, how often and in which words is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict

from tocsin.core.alerting import Message
from tocsin.lib.clock import Clock
from tocsin.lib.net import Network


class DeliveryError(Exception):
    """The message was not delivered. ``str()`` is shown to people and never holds a secret."""


class Retryable(DeliveryError):
    """It may work later. ``retry_after_s`` when the other side named a time."""

    def __init__(self, detail: str, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class Refused(DeliveryError):
    """It will never work as it is: gone, forbidden, malformed. Not tried again."""


class ChannelSettings(BaseModel):
    """A kind's own fields. Unknown fields are refused by name; secrets are ``SecretStr``."""

    # An error must name the field and the rule, never echo what may be a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def diverted(self, before: Self) -> Mapping[str, str]:
        """The secrets that these settings send where ``before`` did not, or less guarded, each with the field that
        does it. Such a secret is not kept by a change: it must be given again. A key that only signs or unlocks, and
        is sent to nobody, is none of them."""
        return {}


S = TypeVar("S", bound=ChannelSettings)


@dataclass(frozen=True, slots=True)
class Carrier:
    """What channels share: the way out with its guard, on the running event loop, and the clock."""

    network: Network
    clock: Clock


@dataclass(frozen=True, slots=True)
class ChannelKind(Generic[S]):
    """One row of ``CHANNELS``.

    ``deliver(settings, message, carrier)`` returns a short line on what the other side answered, or raises a
    ``DeliveryError``. The frame sets the deadline; a timeout there is ``Retryable``. Fields of ``settings``
    typed ``SecretStr`` are encrypted at rest and never shown again.
    """

    kind: str
    title: str
    settings: type[S]
    deliver: Callable[[S, Message, Carrier], Awaitable[str]]
