"""Who must know? One file per way to tell someone, and this table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tocsin.channels.apprise import APPRISE
from tocsin.channels.base import ChannelKind
from tocsin.channels.email import EMAIL
from tocsin.channels.webhook import WEBHOOK

CHANNELS: Mapping[str, ChannelKind[Any]] = {kind.kind: kind for kind in (APPRISE, WEBHOOK, EMAIL)}
"""Every way to tell someone."""
