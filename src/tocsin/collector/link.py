"""The stream to the aggregator: what waits in the spool, oldest first, until it is acknowledged.

Keeps trying for ever, with pauses that grow and differ from machine to machine. Whatever goes wrong is said in plain
words once when it begins, and once when it is over. Runs on the process's event loop; the spool is all it shares.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import grpc.aio

from tocsin.collector.log import Log
from tocsin.collector.spool import Spool, Waiting
from tocsin.lib.authorities import default_ca_file
from tocsin.v1 import collection_pb2 as pb

LONGEST_S: Final = 600.0
"""The aggregator's wish to be left alone is honoured up to this."""
FLUSH_S: Final = 3.0


class Patience(NamedTuple):
    ack_s: float = 8.0
    """An aggregator that takes ticks and acknowledges none for so long hangs. The machine is silent 15 s after the last
    tick that was stored; before that the next one is to be at another aggregator."""
    pauses_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)
    """After the first failure, the second …; each is cut by up to a half, by chance."""
    refused_s: float = 60.0
    """A key that is wrong is not right a second later."""
    doubt_s: float = 2.0
    """A refusal of the key, of the Hello or of a layout comes within this."""


PATIENCE: Final = Patience()

_BEFORE_TICKS: Final = ("hello", "layout")
"""Where a refusal names a field of one of these, no tick is at fault."""
_UNDER_WAY: Final = 1000
"""Ticks sent and not yet acknowledged, at most."""
_AT_ONCE: Final = 100
_AT_ONCE_BYTES: Final = 256 << 10
_LAYOUTS: Final = 16
"""Of one stream. With more of them a new stream begins."""
_PATH: Final = "/tocsin.v1.Collection/Stream"
_AGED: Final = "max connection age"
"""In these words an aggregator ends a connection now and then, so that copies share the machines."""
_PUSHBACK: Final = "grpc-retry-pushback-ms"
_OPTIONS: Final = (
    # An aggregator that stands still, or a firewall that forgot the connection, says nothing: asked every 10 s, found
    # out after 3 s more. Asking much more often, an aggregator ends the connection.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.min_reconnect_backoff_ms", 5_000),  # so long may one attempt take
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.enable_retries", 0),  # when to try again is decided here
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.dns_enable_srv_queries", 0),
)


class Address(NamedTuple):
    host_and_port: str
    tls: bool
    authority_file: Path | None = None
    """PEM; trusted instead of the system's."""


class _Trouble(Enum):
    """What an operator has to look at. Within one of these the reasons change as a fault goes on."""

    CUT_OFF = "the aggregator cannot be reached; ticks wait"
    REFUSED = (
        "the aggregator refuses this key; `tocsin keys create NAME --scope ingest` makes one there, and --key or "
        "TOCSIN_AGGREGATOR_KEY gives it here; trying on, ticks wait"
    )
    FOREIGN = "what answers takes no ticks: it is no aggregator, or one of an earlier version; ticks wait"
    DOUBTED = "the aggregator refuses what this collector says; ticks wait"
    TAKEN = (
        "another machine reports with this one's id; a copied machine needs one of its own (--machine-id, or a new "
        "/etc/machine-id); ticks wait"
    )
    BUSY = "the aggregator asks to be left alone for a while; ticks wait"


_Code: Final = grpc.StatusCode
_TROUBLES: Final = {
    _Code.UNAUTHENTICATED: _Trouble.REFUSED,
    _Code.PERMISSION_DENIED: _Trouble.REFUSED,
    _Code.UNIMPLEMENTED: _Trouble.FOREIGN,
    _Code.INVALID_ARGUMENT: _Trouble.DOUBTED,
    _Code.ALREADY_EXISTS: _Trouble.TAKEN,
    _Code.RESOURCE_EXHAUSTED: _Trouble.BUSY,
}


class _Ended(Exception):
    """The stream is over. ``pause_s`` is what the aggregator asked for; None: nothing. ``is_blurred``: it ended while
    something was being written, and then the library does not tell what the aggregator said."""

    def __init__(
        self,
        trouble: _Trouble,
        reason: str,
        pause_s: float | None = None,
        *,
        is_blurred: bool = False,
        needs_another_connection: bool = False,
    ) -> None:
        super().__init__(reason)
        self.needs_another_connection = needs_another_connection
        self.is_blurred = is_blurred
        self.trouble = trouble
        self.reason = reason
        self.pause_s = pause_s


class _Renewed(Exception):
    """The stream ended in good order; the next one begins at once."""


class Link:
    """``hello`` makes the first report of each stream. Used on one event loop, but for ``news``."""

    def __init__(
        self,
        address: Address,
        *,
        key: str,
        hello: Callable[[], pb.Report],
        spool: Spool,
        log: Log,
        patience: Patience = PATIENCE,
    ) -> None:
        """Raises OSError for an authority's file that cannot be read."""
        self._address = address
        self._metadata = (("authorization", f"Bearer {key}"),)
        self._hello = hello
        self._spool = spool
        self._log = log
        self._patience = patience
        self._credentials: grpc.ChannelCredentials | None = None
        if address.tls:
            authority = address.authority_file or default_ca_file()
            with open(authority, "rb") as file:
                self._credentials = grpc.ssl_channel_credentials(root_certificates=file.read())
        self._channel: grpc.aio.Channel | None = None
        """Kept from stream to stream: each has to read through all authorities of the system, 1 MB that is not given
        back."""
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()
        self._trouble: _Trouble | None = None
        self.reason = ""
        """Why the aggregator cannot be reached, while it cannot."""
        self.known = asyncio.Event()
        """Whether it can be reached has been found out for the first time."""
        self._failures = 0
        """Since the aggregator acknowledged something."""
        self._careful = False
        """The next stream goes step by step, to find out what is refused: the key, the Hello, a layout, or one tick."""
        self._talk: _Talk | None = None
        """The stream, while there is one."""

    @property
    def is_up(self) -> bool:
        return self.known.is_set() and self._trouble is None

    @property
    def trouble(self) -> str:
        """What is the matter, and what to do about it."""
        return (self._trouble or _Trouble.CUT_OFF).value

    def news(self) -> None:
        """There is something to send. From any thread; after the loop has ended it does nothing."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._news.set)

    def stop(self) -> None:
        """What waits is sent while the aggregator takes it, for FLUSH_S at most; ``run`` ends then."""
        self._stopping.set()
        self._news.set()
        if self._talk is not None:
            self._talk.room.set()
            self._watch(self._talk)

    async def run(self) -> None:
        """Until ``stop``."""
        try:
            await self._run()
        finally:
            await self._hang_up()

    async def _hang_up(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._stream()
            except _Renewed:
                continue
            except _Ended as ended:
                if self._stopping.is_set():
                    return
                if ended.is_blurred and not self._careful:
                    self._careful = True
                    continue
                if ended.needs_another_connection:
                    await self._hang_up()
                self._found(ended.trouble, ended.reason)
                pause_s = self._pause_s(ended)
            except OSError as error:
                self._found(_Trouble.CUT_OFF, str(error))
                pause_s = self._patience.pauses_s[-1]
            else:
                continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)

    # ── one stream ────────────────────────────────────────────────────────────────────────────────

    async def _stream(self) -> None:
        """Returns when it is to stop and nothing is left to do. Raises _Ended and _Renewed."""
        if self._channel is None:
            where = self._address.host_and_port
            self._channel = (
                grpc.aio.insecure_channel(where, options=_OPTIONS)
                if self._credentials is None
                else grpc.aio.secure_channel(where, self._credentials, options=_OPTIONS)
            )
        try:
            stream = self._channel.stream_stream(_PATH, _bytes, pb.Receipt.FromString)
            talk = self._talk = _Talk(stream(metadata=self._metadata))
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self._send(talk))
                try:
                    await self._receive(talk)
                except _Ended as ended:
                    talk.ended = ended
                finally:
                    talk.call.cancel()
                    sending.cancel()
        finally:
            self._talk = None
        if talk.ended is None and not self._stopping.is_set():
            raise _Renewed
        if talk.ended is not None:
            self._doubt(talk, talk.ended)
            raise talk.ended

    async def _receive(self, talk: _Talk) -> None:
        """Until the aggregator ends the stream in good order, or this is to stop and takes too long. Raises _Ended."""
        try:
            async with asyncio.timeout(None) as talk.deadline:
                while True:
                    receipt = await talk.call.read()
                    if receipt is grpc.aio.EOF:
                        break
                    self._take(talk, receipt)
        except TimeoutError:
            if not self._stopping.is_set():
                reason = f"it acknowledges nothing for {self._patience.ack_s:g} s"
                raise _Ended(_Trouble.CUT_OFF, reason, needs_another_connection=True) from None
        except grpc.aio.AioRpcError as error:
            is_aged = error.code() is _Code.UNAVAILABLE and _AGED in (error.details() or "")
            if not (is_aged and talk.is_heard):
                raise _in_plain_words(error) from error
        else:
            if not talk.is_heard:
                raise _Ended(_Trouble.FOREIGN, "it ended the stream without a word")
        finally:
            talk.deadline = None

    def _take(self, talk: _Talk, receipt: pb.Receipt) -> None:
        talk.is_heard = True
        self._found(None, "")
        through = talk.acknowledged(receipt.boot_id, receipt.acked_seq)
        if through:
            self._failures, self._careful = 0, False
            self._spool.done(through)
        self._watch(talk)
        if receipt.retry_after_s > 0:
            pause_s = min(receipt.retry_after_s, LONGEST_S)
            raise _Ended(_Trouble.BUSY, f"for {pause_s:g} s", pause_s)

    def _watch(self, talk: _Talk) -> None:
        """What is under way is to be acknowledged within its time; where nothing is, nothing is waited for."""
        if talk.deadline is None or talk.deadline.expired():
            return
        limit_s = FLUSH_S if self._stopping.is_set() else self._patience.ack_s
        talk.deadline.reschedule(self._loop.time() + limit_s if talk.under_way or self._stopping.is_set() else None)

    async def _send(self, talk: _Talk) -> None:
        """What ends the stream is found by whoever receives."""
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            careful = self._careful
            if careful:
                await asyncio.sleep(self._patience.doubt_s)
            await talk.call.write(self._hello())
            if careful:
                await asyncio.sleep(self._patience.doubt_s)
            while talk.layouts <= _LAYOUTS:
                self._news.clear()
                talk.room.clear()
                most = 1 if self._careful else _UNDER_WAY
                room = most - len(talk.under_way)
                waiting = (
                    self._spool.after(talk.sent, most=min(room, _AT_ONCE), most_bytes=_AT_ONCE_BYTES) if room else []
                )
                if waiting:
                    for one in waiting:
                        await self._send_one(talk, one)
                elif self._stopping.is_set() and not talk.under_way:
                    break
                else:
                    await self._wait(talk, for_room=not room)
            while talk.under_way:
                talk.room.clear()
                await talk.room.wait()
            await talk.call.done_writing()

    async def _wait(self, talk: _Talk, *, for_room: bool) -> None:
        """For something to do. Whoever stops is waited for too, and that what is under way comes to its end then."""
        if for_room or self._stopping.is_set():
            await talk.room.wait()
        else:
            await self._news.wait()

    async def _send_one(self, talk: _Talk, one: Waiting) -> None:
        if one.layout != talk.layout:
            layout = pb.Layout.FromString(one.layout)
            talk.layouts += 1
            talk.layout = one.layout
            layout.id = talk.layouts
            await talk.call.write(pb.Report(layout=layout))
            if self._careful:
                await asyncio.sleep(self._patience.doubt_s)
        tick = pb.Tick.FromString(one.tick)
        tick.layout_id, tick.sent_at_ms = talk.layouts, time.time_ns() // 1_000_000
        talk.sent = one.number
        talk.under_way.append(_Sent(one.number, tick.boot_id, tick.seq))
        if len(talk.under_way) == 1:
            self._watch(talk)
        await talk.call.write(pb.Report(tick=tick))

    # ── when it fails ─────────────────────────────────────────────────────────────────────────────

    def _doubt(self, talk: _Talk, ended: _Ended) -> None:
        """A tick that is refused when it is sent alone is given up, so that the rest gets through. Where the Hello or a
        layout is refused, ticks wait: without their layout none of them would get through."""
        if ended.trouble is not _Trouble.DOUBTED or not talk.under_way or ended.reason.startswith(_BEFORE_TICKS):
            return
        if self._careful and len(talk.under_way) == 1:
            self._log.error("the aggregator refuses a tick; it is given up", reason=ended.reason)
            self._spool.done(talk.under_way[0].number)
            self._failures = 0
        self._careful = True

    def _found(self, trouble: _Trouble | None, reason: str) -> None:
        before, self._trouble, self.reason = self._trouble, trouble, reason
        was_known = self.known.is_set()
        self.known.set()
        if trouble is before or self._stopping.is_set() or not was_known:
            return
        if trouble is None:
            self._log.info("the aggregator answers again", waiting=len(self._spool))
        else:
            self._log.warning(trouble.value, address=self._address.host_and_port, reason=reason)

    def _pause_s(self, ended: _Ended) -> float:
        """Grows with each failure; a thousand machines do not come back in one moment."""
        pauses_s = self._patience.pauses_s
        pause_s = pauses_s[min(self._failures, len(pauses_s) - 1)]
        self._failures += 1
        if ended.pause_s is not None:
            pause_s = ended.pause_s  # not before
            return pause_s * (1 + _chance() / 4)
        if ended.trouble in (_Trouble.REFUSED, _Trouble.FOREIGN):
            pause_s = self._patience.refused_s
        return pause_s * (0.5 + _chance() / 2)


class _Sent(NamedTuple):
    number: int
    boot_id: str
    seq: int


class _Talk:
    """One stream and what has been said on it."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.under_way: deque[_Sent] = deque()
        self.sent = 0
        """The number of the tick sent last."""
        self.layout = b""
        self.layouts = 0
        self.room = asyncio.Event()
        """Something was acknowledged."""
        self.is_heard = False
        self.deadline: asyncio.Timeout | None = None
        self.ended: _Ended | None = None

    def acknowledged(self, boot_id: str, seq: int) -> int:
        """The number up to which ticks are not needed any more; 0: none that was under way."""
        through = 0
        while self.under_way and self.under_way[0].boot_id == boot_id and self.under_way[0].seq <= seq:
            through = self.under_way.popleft().number
        if through:
            self.room.set()
        return through


def _bytes(report: pb.Report) -> bytes:
    return report.SerializeToString()


def _in_plain_words(error: grpc.aio.AioRpcError) -> _Ended:
    code, details = error.code(), error.details() or ""
    reason = details.rpartition("last error: ")[2].removeprefix("UNKNOWN: ") or code.name
    pause_s = None
    for name, value in error.trailing_metadata() or ():
        if name == _PUSHBACK and str(value).isdigit():
            pause_s = min(int(value) / 1000, LONGEST_S)
    is_blurred = code is _Code.INTERNAL and "from Core" in details
    return _Ended(_TROUBLES.get(code, _Trouble.CUT_OFF), reason, pause_s, is_blurred=is_blurred)


def _chance() -> float:
    """0 to 1."""
    return int.from_bytes(os.urandom(2), "big") / 65_535
