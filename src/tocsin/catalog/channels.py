"""Channels as people register them: one flat shape per kind, checked in full before it is stored; and trying one out.

Knows no HTTP; the caller opens the transaction and, once it is committed, rings the bus ('channels'). Checking may load
a library that is slow to import, so it belongs on a thread.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, NamedTuple, Union, cast

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from tocsin.catalog.errors import Conflict, FieldError, Invalid, NotFound
from tocsin.catalog.fields import (
    SendsSecrets,
    changed_whole,
    clear_secrets,
    flat_model,
    own_fields,
    secret_names,
    secrets_set,
    shown_fields,
    validated,
    with_kept_secrets,
)
from tocsin.catalog.words import Name
from tocsin.channels import CHANNELS
from tocsin.channels.base import Carrier
from tocsin.channels.frame import Delivery, deliver
from tocsin.core.alerting import AlertTiming, Message
from tocsin.lib.vault import Vault
from tocsin.store import channels as store_channels
from tocsin.store import notifications as store_notifications
from tocsin.store import rules as store_rules
from tocsin.store.channels import ChannelRow


class ChannelFields(BaseModel):
    """The fields every kind of channel has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name = Field(description="What people call it.", examples=["on call"])
    enabled: bool = Field(
        True, description="False: nothing is sent, and what waits to be sent is given up; nothing is caught up later."
    )


WRITE_MODELS: dict[str, type[ChannelFields]] = {
    kind: flat_model(f"{kind.capitalize()}ChannelWrite", ChannelFields, channel.settings, kind)
    for kind, channel in CHANNELS.items()
}
"""What may be sent for each kind of channel."""

# Made from a table, which a type checker cannot follow.
ChannelWrite: Any = Annotated[Union[tuple(WRITE_MODELS.values())], Field(discriminator="kind")]  # noqa: UP007


def _settings(kind: str) -> type[BaseModel]:
    """The model of the kind's own fields."""
    settings: type[BaseModel] = CHANNELS[kind].settings
    return settings


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────


def get(conn: Connection, channel_id: int) -> ChannelRow:
    row = store_channels.get(conn, channel_id)
    if row is None:
        raise no_channel(channel_id)
    return row


def no_channel(channel_id: int) -> NotFound:
    return NotFound(f"There is no channel {channel_id}.")


def describe(row: ChannelRow) -> dict[str, Any]:
    """A channel as people write it; secrets are null, and named in ``secrets_set``. Times are not here."""
    settings = _settings(row.kind)
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "enabled": row.enabled,
        **dict.fromkeys(secret_names(settings)),
        **_own(row),
        "secrets_set": secrets_set(settings, row.settings),
    }


def _own(row: ChannelRow) -> dict[str, Any]:
    return shown_fields(_settings(row.kind), row.settings)


def document(row: ChannelRow, vault: Vault) -> dict[str, Any]:
    """What would have to be sent to make this very channel, secrets in clear."""
    return _without_secrets(row) | clear_secrets(row, vault)


def _without_secrets(row: ChannelRow) -> dict[str, Any]:
    return {"kind": row.kind, "name": row.name, "enabled": row.enabled} | _own(row)


# ── checking ──────────────────────────────────────────────────────────────────────────────────────────


class Destination(NamedTuple):
    """Where a message can be sent: a channel's kind and its own fields, secrets in clear. Only ever in memory."""

    kind: str
    settings: Mapping[str, object]


class Checked(NamedTuple):
    """A channel that may be stored, or tried out."""

    kind: str
    fields: ChannelFields
    settings: dict[str, Any]
    secrets: dict[str, str]

    @property
    def destination(self) -> Destination:
        return Destination(self.kind, self.settings | self.secrets)

    @property
    def sender(self) -> SendsSecrets:
        """The kind's own settings: the flat model has everything that they have."""
        return cast(SendsSecrets, self.fields)


def check(given: Mapping[str, Any]) -> Checked:
    """``given`` as people write it, whole. Raises ``Invalid`` that names every field that is wrong."""
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in CHANNELS:
        message = "required" if kind is None else f"must be one of {', '.join(CHANNELS)}"
        raise Invalid([FieldError("kind", message)])
    settings = _settings(kind)
    # A secret that is null is one that is not given: what a reader saw can be sent as it is.
    written = validated(WRITE_MODELS[kind], with_kept_secrets(given, {}, secret_names(settings)))
    return Checked(kind, written, *own_fields(settings, written))


def destination(row: ChannelRow, vault: Vault) -> Destination:
    """Raises ``VaultError`` when the channel's secrets were sealed with another key."""
    return Destination(row.kind, dict(row.settings) | clear_secrets(row, vault))


# ── changing ──────────────────────────────────────────────────────────────────────────────────────────


def create(conn: Connection, given: Mapping[str, Any], *, vault: Vault, now_ms: int) -> ChannelRow:
    row = _row(check(given), vault, created_ms=now_ms, now_ms=now_ms)
    number = store_channels.insert_channel(conn, row)
    if number is None:
        raise _name_taken(row.name)
    return replace(row, id=number)


def change(conn: Connection, channel_id: int, given: Mapping[str, Any], *, vault: Vault, now_ms: int) -> ChannelRow:
    """Only what ``given`` names; secrets as in ``changed``."""
    old = _for_change(conn, channel_id)
    return _rewrite(conn, old, changed(old, given, vault), vault, now_ms=now_ms)


def put(conn: Connection, channel_id: int, given: Mapping[str, Any], *, vault: Vault, now_ms: int) -> ChannelRow:
    """Everything anew: what is left out takes its default. Secrets as in ``changed``."""
    old = _for_change(conn, channel_id)
    return _rewrite(conn, old, _becoming(old, {"kind": old.kind}, given, vault), vault, now_ms=now_ms)


def changed(old: ChannelRow, given: Mapping[str, Any], vault: Vault) -> Checked:
    """What ``old`` becomes with the changes ``given``, as in ``fields.changed_whole``; nothing is stored."""
    return _becoming(old, _without_secrets(old), given, vault)


def _becoming(old: ChannelRow, base: Mapping[str, Any], given: Mapping[str, Any], vault: Vault) -> Checked:
    return changed_whole(old, base, given, settings=_settings(old.kind), check=check, vault=vault)


def delete(conn: Connection, channel_id: int, *, now_ms: int) -> None:
    """Gone, also from the rules that named it; what had not been sent is abandoned and says why.

    Where it was the last channel of the default rule, that rule tells every channel again.
    """
    old = _for_change(conn, channel_id)
    for stored in store_rules.all_for_change(conn):
        if channel_id in stored.rule.channel_ids:
            left = tuple(number for number in stored.rule.channel_ids if number != channel_id)
            store_rules.update_rule(conn, replace(stored.rule, channel_ids=left), at_ms=now_ms)
    store_notifications.withdraw(conn, old.id, reason="The channel was deleted.", now_ms=now_ms)
    store_channels.delete_channel(conn, old.id)


def _for_change(conn: Connection, channel_id: int) -> ChannelRow:
    old = store_channels.get_for_change(conn, channel_id)
    if old is None:
        raise no_channel(channel_id)
    return old


def _rewrite(conn: Connection, old: ChannelRow, checked: Checked, vault: Vault, *, now_ms: int) -> ChannelRow:
    row = replace(_row(checked, vault, created_ms=old.created_ms, now_ms=now_ms), id=old.id)
    if not store_channels.update_channel(conn, row):
        raise _name_taken(row.name)
    if old.enabled and not row.enabled:
        store_notifications.withdraw(conn, row.id, reason="The channel was switched off.", now_ms=now_ms)
    return row


def _row(checked: Checked, vault: Vault, *, created_ms: int, now_ms: int) -> ChannelRow:
    return ChannelRow(
        name=checked.fields.name,
        kind=checked.kind,
        settings=checked.settings,
        secrets=vault.seal(checked.secrets) if checked.secrets else None,
        enabled=checked.fields.enabled,
        created_ms=created_ms,
        updated_ms=now_ms,
    )


def _name_taken(name: str) -> Conflict:
    return Conflict(f"There is already a channel named {name}.", [FieldError("name", "another channel has this name")])


# ── trying one out ────────────────────────────────────────────────────────────────────────────────────


def new_delivery_key() -> str:
    """What tells one message from every other, and a repetition from a new one."""
    return f"msg_{secrets.token_hex(12)}"


async def send_test(where: Destination, carrier: Carrier) -> Delivery:
    """Sends one message that says it is a test. Stores nothing and tries once."""
    message = Message(
        title="Test message from Tocsin",
        text="This channel works: alerts that are sent to it arrive here.",
        items=(),
        delivery_key=new_delivery_key(),
        created_ms=carrier.clock.now_ms(),
        recovered=True,
    )
    return await deliver(where.kind, where.settings, message, carrier, deadline_s=AlertTiming().send_deadline_s)
