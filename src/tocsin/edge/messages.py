"""What a gateway may say, as it comes over the wire, and the check that it makes sense.

A message is flat (``{"type": "changes", "machines": […]}``) or nested (``{"type": "changes", "data": {…}}``). What an
entry holds beside the fields below is left out: they are all that this relay can show.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from tocsin.edge.fields import LONGEST_TEXT

LARGEST_BYTES: Final = 65_536
"""One message of a gateway; what is more is sent in several."""

Id: TypeAlias = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Text: TypeAlias = Annotated[str, Meta(max_length=LONGEST_TEXT)]
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]
Verdict: TypeAlias = Literal["up", "degraded", "down", "unknown"]
Number: TypeAlias = float | UnsetType | None


class Current(Struct):
    """Shares are 0 to 1, rates bytes a second."""

    cpu: Number = UNSET
    memory: Number = UNSET
    swap: Number = UNSET
    disk: Number = UNSET
    disk_full_in_h: Number = UNSET
    load_1m: Number = UNSET
    load_5m: Number = UNSET
    load_15m: Number = UNSET
    network_in: Number = UNSET
    network_out: Number = UNSET
    disk_read: Number = UNSET
    disk_write: Number = UNSET
    processes: Number = UNSET
    temperature: Number = UNSET
    uptime_s: Number = UNSET


class Machine(Struct):
    id: Id
    name: Text | UnsetType = UNSET
    verdict: Verdict | UnsetType = UNSET
    since: Moment | UnsetType | None = UNSET
    reason: Text | UnsetType = UNSET
    last_seen: Moment | UnsetType | None = UNSET
    current: Current | UnsetType | None = UNSET


class Target(Struct):
    id: Id
    slug: Text | UnsetType = UNSET
    verdict: Verdict | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    since: Moment | UnsetType | None = UNSET
    reason: Text | UnsetType = UNSET
    last_check_at: Moment | UnsetType | None = UNSET
    last_latency_ms: Number = UNSET


class Body(Struct):
    """The removed are ids; ``removed`` are targets. An ``initial`` that is large comes as pages, counted from 0: with
    ``more`` it goes on in the next message. ``…_left_out`` is how many there are beside those that the gateway tells;
    its last page counts."""

    machines: list[Machine] = []
    machines_removed: list[Id] = []
    targets: list[Target] = []
    removed: list[Id] = []
    machines_left_out: Count | UnsetType = UNSET
    targets_left_out: Count | UnsetType = UNSET
    page: Annotated[int, Meta(ge=0)] = 0
    more: bool = False


class Message(Struct):
    type: Literal["initial", "changes", "ping"]
    body: Body


class Refused(Exception):
    """``str()`` says what is wrong with it."""


class _Envelope(Struct):
    type: str
    data: Raw | UnsetType = UNSET
    machines: Raw | UnsetType = UNSET
    targets: Raw | UnsetType = UNSET
    key: Any = None


_envelope = msgspec.json.Decoder(_Envelope).decode
_body = msgspec.json.Decoder(Body).decode
_EMPTY: Final = Body()


def message(raw: str | bytes) -> Message:
    """Raises Refused."""
    envelope = _opened(raw)
    match envelope.type:
        case "ping":
            return Message("ping", _EMPTY)
        case "initial" | "changes" as kind:
            nested = envelope.data is not UNSET
            if nested and (envelope.machines is not UNSET or envelope.targets is not UNSET):
                raise Refused("it is flat and nested at once: machines stand beside data or in it")
            return Message(kind, _decoded(envelope.data if isinstance(envelope.data, Raw) else raw))
        case other:
            raise Refused(f"there is no message {other[:40]!r} from a gateway")


def key_in(raw: str | bytes) -> str | None:
    """The key in ``{"type": "auth", "key": …}``; None in anything else."""
    try:
        envelope = _opened(raw)
    except Refused:
        return None
    return envelope.key if envelope.type == "auth" and isinstance(envelope.key, str) else None


def _opened(raw: str | bytes) -> _Envelope:
    try:
        return _envelope(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused(_words(error)) from None


def _decoded(raw: str | bytes | Raw) -> Body:
    try:
        return _body(raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Refused(_words(error)) from None


def _words(error: Exception) -> str:
    return f"it cannot be read: {str(error)[:200] or type(error).__name__}"
