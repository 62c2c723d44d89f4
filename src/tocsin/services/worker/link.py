"""The calls to the aggregator, and in plain words why one did not succeed. Knows no lease, no target and no result.

Whatever goes wrong on the way is logged once when it begins, and once when it is over.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import Message

from tocsin.home import IdentityInUse
from tocsin.lib.authorities import default_ca_file
from tocsin.lib.log import get_logger
from tocsin.store.engine import StoreUnavailable
from tocsin.v1 import probing_pb2 as pb
from tocsin.wire import LARGEST_MESSAGE_BYTES, PUSHBACK

PORT: Final = 4317
RENEW_S: Final = 4.0
"""Shorter than half a lease: one call that gets no answer does not cost it."""
LOAD_S: Final = 30.0
WRITE_S: Final = 10.0
LEAVE_S: Final = 2.0

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", LARGEST_MESSAGE_BYTES),
    # A firewall that forgets a connection says nothing: it is found out by asking, within 15 s.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 0),  # when to try again is decided where the results wait
    ("grpc.use_local_subchannel_pool", 1),
)

T = TypeVar("T")
M = TypeVar("M", bound=Message)
log = get_logger("worker")


class Unreachable(StoreUnavailable):
    """The aggregator did not do it now. ``pause_s`` is how long it asks to be left alone, where it does."""

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class Rejected(Exception):
    """The aggregator does not take this batch. ``certain``: it never will; otherwise the fault may be its own."""

    def __init__(self, reason: str, *, certain: bool) -> None:
        super().__init__(reason)
        self.certain = certain


class _Trouble(Enum):
    """What an operator has to look at. Within one of these the reasons change as a fault goes on."""

    CUT_OFF = "the aggregator cannot be reached; going on with what is known, results wait on disk"
    REFUSED = "the aggregator refuses this worker's key; going on with what is known, results wait on disk"
    FOREIGN = "what answers is no aggregator of this version; going on with what is known, results wait on disk"


_TROUBLES: Final = {
    grpc.StatusCode.UNAUTHENTICATED: _Trouble.REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: _Trouble.REFUSED,
    grpc.StatusCode.UNIMPLEMENTED: _Trouble.FOREIGN,
}


class Link:
    """``url`` is ``grpc://host[:port]``, or ``grpcs://`` for TLS, where ``authority`` (PEM) is trusted instead of the
    system's. Every call blocks, ends within its time, and raises Unreachable. Safe to share between threads."""

    def __init__(self, url: str, *, key: str, authority: bytes | None = None) -> None:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self.address: Final = f"{host}:{parts.port or PORT}"
        if parts.scheme == "grpcs":
            if authority is None:
                with open(default_ca_file(), "rb") as file:
                    authority = file.read()
            credentials = grpc.ssl_channel_credentials(root_certificates=authority)
            self._channel = grpc.secure_channel(self.address, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(self.address, options=_OPTIONS)
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._renew = self._unary("Renew", pb.RenewResponse)
        self._write = self._unary("Write", pb.WriteResponse)
        self._leave = self._unary("Leave", pb.LeaveResponse)
        self._load = self._channel.unary_stream(
            _path("Load"),
            request_serializer=_bytes,
            response_deserializer=pb.LoadResponse.FromString,
        )
        self._lock = threading.Lock()
        self._trouble: _Trouble | None = None
        self._closing = False

    @property
    def is_up(self) -> bool:
        """The last call was answered."""
        return self._trouble is None

    def renew(self, request: pb.RenewRequest) -> pb.RenewResponse:
        """Raises IdentityInUse as well."""
        try:
            return self._call(lambda: self._renew(request, timeout=RENEW_S, metadata=self._metadata))
        except Rejected as rejected:
            raise Unreachable(str(rejected)) from rejected

    def load(self, request: pb.LoadRequest) -> list[pb.LoadResponse]:
        try:
            return self._call(lambda: list(self._load(request, timeout=LOAD_S, metadata=self._metadata)))
        except Rejected as rejected:
            raise Unreachable(str(rejected)) from rejected

    def write(self, request: pb.WriteRequest) -> pb.WriteResponse:
        """Raises Rejected as well."""
        return self._call(lambda: self._write(request, timeout=WRITE_S, metadata=self._metadata))

    def leave(self, request: pb.LeaveRequest) -> None:
        try:
            self._call(lambda: self._leave(request, timeout=LEAVE_S, metadata=self._metadata))
        except Rejected as rejected:
            raise Unreachable(str(rejected)) from rejected

    def close(self) -> None:
        """Calls under way end with Unreachable."""
        self._closing = True
        self._channel.close()

    def _unary(self, name: str, answer: type[M]) -> grpc.UnaryUnaryMultiCallable[Message, M]:
        return self._channel.unary_unary(
            _path(name),
            request_serializer=_bytes,
            response_deserializer=answer.FromString,
        )

    def _call(self, call: Callable[[], T]) -> T:
        try:
            answer = call()
        except grpc.RpcError as error:
            # What a channel raises is the call itself; the library's types do not say so.
            raise self._in_plain_words(cast(Any, error)) from error
        except ValueError as error:  # the channel has been closed
            raise Unreachable("this worker is stopping") from error
        self._found(None, "")
        return answer

    def _in_plain_words(self, error: grpc.Call) -> Exception:
        code, details = error.code(), error.details() or ""
        match code:
            case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.ABORTED:
                self._found(None, "")
                return Rejected(details, certain=code is grpc.StatusCode.INVALID_ARGUMENT)
            case grpc.StatusCode.ALREADY_EXISTS:
                self._found(None, "")
                return IdentityInUse(details)
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                reason = f"{self.address} does not answer"
            case grpc.StatusCode.UNAVAILABLE:
                reason = f"{self.address}: {details.rpartition('last error: ')[2].removeprefix('UNKNOWN: ')}"
            case _:
                reason = f"{self.address}: {details} ({code.name})"
        self._found(_TROUBLES.get(code, _Trouble.CUT_OFF), reason)
        return Unreachable(reason, _pushback_s(error))

    def _found(self, trouble: _Trouble | None, reason: str) -> None:
        with self._lock:
            before, self._trouble = self._trouble, trouble
        if trouble is before or self._closing:
            return
        if trouble is None:
            log.info("the aggregator answers again")
        else:
            log.warning(trouble.value, reason=reason)


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()


def _path(name: str) -> str:
    service = pb.DESCRIPTOR.services_by_name["Probing"]
    return f"/{service.full_name}/{service.methods_by_name[name].name}"


def _pushback_s(error: grpc.Call) -> float | None:
    for name, value in error.trailing_metadata() or ():
        if name == PUSHBACK and str(value).isdigit():
            return min(int(value) / 1000, 60.0)
    return None
