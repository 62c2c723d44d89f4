"""What waits reaches the aggregator once, in order, whatever happens on the way."""

from __future__ import annotations

import asyncio
import signal
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sized
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from tests.collector.aggregator import Aggregator, acknowledge
from tests.collector.conftest import Said
from tests.running import free_port
from tocsin.collector.link import _OPTIONS as link_options
from tocsin.collector.link import PATIENCE, Address, Link, Patience
from tocsin.collector.messages import hello, layout_bytes
from tocsin.collector.spool import Spool
from tocsin.collector.ticks import Form
from tocsin.core.bands import LEAST_USUAL_SILENCE_S
from tocsin.core.samples import Layout, Series
from tocsin.services.aggregator.server import _OPTIONS as server_options
from tocsin.v1 import collection_pb2 as pb

SOON = Patience(ack_s=30.0, pauses_s=(0.02, 0.05, 0.1), refused_s=0.1, doubt_s=0.1)
LAYOUT = layout_bytes(Form(Layout((Series("system.uptime", (), "s"),)), (0,)))
OTHER = layout_bytes(Form(Layout((Series("b"), Series("c", (), "By", "counter"))), (0, 77)))


def tick(seq: int, *values: float, boot_id: str = "boot") -> bytes:
    packed = struct.pack(f"<{len(values)}d", *values)
    return pb.Tick(boot_id=boot_id, seq=seq, at_ms=1_700_000_000_000 + seq, values=packed).SerializeToString()


class Sender:
    """A spool and a link that empties it."""

    def __init__(self, spool: Spool, link: Link) -> None:
        self.spool = spool
        self.link = link
        self.seq = 0

    def put(self, count: int = 1, *, layout: bytes = LAYOUT, boot_id: str = "boot") -> None:
        values = (1.0,) if layout == LAYOUT else (1.0, 2.0)
        for _ in range(count):
            self.seq += 1
            self.spool.append(layout, tick(self.seq, *values, boot_id=boot_id))
        self.link.news()

    async def until(self, look: Callable[[], object]) -> None:
        async with asyncio.timeout(40):
            while not look():  # noqa: ASYNC110 - a server's thread changes what is looked at
                await asyncio.sleep(0.01)

    async def empty(self) -> None:
        await self.until(lambda: not len(self.spool))


@asynccontextmanager
async def sending(
    place: Path,
    said: Said,
    address: Address | str,
    *,
    key: str = "tcs_right",
    patience: Patience = SOON,
) -> AsyncIterator[Sender]:
    spool = Spool(place / "spool", bound_bytes=64 << 20, log=said)
    link = Link(
        address if isinstance(address, Address) else Address(address, False),
        key=key,
        hello=lambda: hello(
            machine_id="m", boot_id="boot", name="n", version="0", every_s=5, facts={"a": "b"}, tags=["t"], now_ms=1
        ),
        spool=spool,
        log=said,
        patience=patience,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(link.run())
        yield Sender(spool, link)
        link.stop()
    spool.close()


async def test_hello_layout_ticks(tmp_path: Path, said: Said, aggregator: Aggregator) -> None:
    async with sending(tmp_path, said, aggregator.address) as sender:
        before_ms = time.time_ns() // 1_000_000
        sender.put(3)
        sender.put(2, layout=OTHER)
        sender.put(1)
        await sender.empty()
    (said_hello,) = aggregator.hellos
    assert (said_hello.machine_id, said_hello.every_ms, dict(said_hello.facts)) == ("m", 5000, {"a": "b"})
    assert list(said_hello.tags) == ["t"]
    assert [(one.id, len(one.series)) for one in aggregator.layouts] == [(1, 1), (2, 2), (3, 1)]
    assert aggregator.layouts[1].series[1].kind == pb.KIND_COUNTER
    assert aggregator.layouts[1].series[1].start_ms == 77
    assert aggregator.arrived == [("boot", seq) for seq in range(1, 7)]
    assert aggregator.ticks["boot", 4] == {"b": 1, "c": 2}
    assert all(before_ms <= message.sent_at_ms for message in aggregator.messages.values())


async def test_many_layouts_are_taken_to_another_stream(tmp_path: Path, said: Said, aggregator: Aggregator) -> None:
    async with sending(tmp_path, said, aggregator.address) as sender:
        for number in range(50):
            sender.put(1, layout=(LAYOUT, OTHER)[number % 2])
        await sender.empty()
        await sender.until(lambda: len(aggregator.hellos) > 1)
    assert aggregator.arrived == [("boot", seq) for seq in range(1, 51)]
    assert not [level for level, _, _ in said.lines if level != "info"]


async def test_away_and_back_nothing_is_lost_or_sent_twice(tmp_path: Path, said: Said, aggregator: Aggregator) -> None:
    async with sending(tmp_path, said, aggregator.address) as sender:
        sender.put(10)
        await sender.empty()
        aggregator.stop()
        sender.put(2_000)
        await sender.until(lambda: not sender.link.is_up)
        assert len(sender.spool) == 2_000
        aggregator.start()
        await sender.empty()
    assert aggregator.arrived == [("boot", seq) for seq in range(1, 2_011)]
    assert said.events == [
        "the aggregator cannot be reached; ticks wait",
        "the aggregator answers again",
    ]


async def test_what_was_not_acknowledged_is_sent_again(tmp_path: Path, said: Said, aggregator: Aggregator) -> None:
    """The aggregator ends the stream in the middle, again and again."""

    def take(one: pb.Tick, context: grpc.ServicerContext) -> pb.Receipt | None:
        if len(aggregator.arrived) % 7 == 0:
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")
        return acknowledge(one, context)

    aggregator.take = take
    async with sending(tmp_path, said, aggregator.address) as sender:
        sender.put(30)
        await sender.empty()
    assert set(aggregator.arrived) == {("boot", seq) for seq in range(1, 31)}
    first_times = list(dict.fromkeys(aggregator.arrived))
    assert first_times == sorted(first_times)


async def test_ticks_of_an_earlier_boot_go_first(tmp_path: Path, said: Said, aggregator: Aggregator) -> None:
    async with sending(tmp_path, said, aggregator.address) as sender:
        sender.put(5, boot_id="before")
        sender.seq = 0
        sender.put(5)
        await sender.empty()
    assert aggregator.arrived == [(boot, seq) for boot in ("before", "boot") for seq in range(1, 6)]


async def test_an_overloaded_aggregator_is_left_alone(tmp_path: Path, said: Said, aggregator: Aggregator) -> None:
    asked_at: list[float] = []

    def take(one: pb.Tick, context: grpc.ServicerContext) -> pb.Receipt | None:
        asked_at.append(time.monotonic())
        return pb.Receipt(retry_after_s=0.5) if len(asked_at) == 1 else acknowledge(one, context)

    aggregator.take = take
    async with sending(tmp_path, said, aggregator.address) as sender:
        sender.put(1)
        await sender.empty()
    assert asked_at[1] - asked_at[0] >= 0.5
    assert aggregator.arrived == [("boot", 1), ("boot", 1)]


async def test_a_wrong_key_is_said_with_what_to_do_and_tried_again(
    tmp_path: Path, said: Said, aggregator: Aggregator
) -> None:
    async with sending(tmp_path, said, aggregator.address, key="tcs_new") as sender:
        sender.put(3)
        await sender.until(lambda: len(aggregator.hellos) > 2)
        assert "unknown or revoked" in sender.link.reason
        aggregator.key = "tcs_new"
        await sender.empty()
    refusals = [event for event in said.events if "refuses this key" in event]
    assert len(refusals) <= 1  # the first is told by whoever says what can be reached
    assert aggregator.arrived == [("boot", 1), ("boot", 2), ("boot", 3)]


async def test_an_aggregator_that_takes_and_acknowledges_nothing(
    tmp_path: Path, said: Said, aggregator: Aggregator
) -> None:
    aggregator.take = lambda one, context: None
    async with sending(tmp_path, said, aggregator.address, patience=SOON._replace(ack_s=0.3)) as sender:
        sender.put(2)
        await sender.until(lambda: len(aggregator.hellos) > 1)
        assert "acknowledges nothing" in sender.link.reason
        aggregator.take = acknowledge
        await sender.empty()


def reached(several: Sized, number: int) -> bool:
    return len(several) >= number


async def test_a_connection_that_is_ended_for_its_age_is_no_trouble(tmp_path: Path, said: Said) -> None:
    ageing = Aggregator()
    ageing.start(("grpc.max_connection_age_ms", 300), ("grpc.max_connection_age_grace_ms", 100))
    async with sending(tmp_path, said, ageing.address, patience=SOON._replace(pauses_s=(60.0,))) as sender:
        for _ in range(3):
            sender.put(2)
            await sender.empty()
            more = len(ageing.hellos) + 1
            await sender.until(partial(reached, ageing.hellos, more))
        assert sender.link.is_up
        assert not said.events
        ageing.stop()
    assert [one[1] for one in dict.fromkeys(ageing.arrived)] == list(range(1, 7))


FREEZING = """
import time
from tests.collector.aggregator import Aggregator

aggregator = Aggregator()
aggregator.start()
print(aggregator.port, flush=True)
time.sleep(600)
"""


@contextmanager
def another_process() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """An aggregator, and its port."""
    with subprocess.Popen([sys.executable, "-c", FREEZING], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@asynccontextmanager
async def balancer(*ports: int) -> AsyncIterator[str]:
    """An address behind which connections go to these ports in turn; in the end always to the last."""
    left = list(ports)
    flows: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = left.pop(0) if len(left) > 1 else left[0]
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        flows.update(asyncio.create_task(copy(*pair)) for pair in ((reader, far_writer), (far_reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for flow in flows:
            flow.cancel()
        await asyncio.gather(*flows, return_exceptions=True)


async def test_an_aggregator_that_is_frozen_is_left_for_another(
    tmp_path: Path, said: Said, aggregator: Aggregator
) -> None:
    with another_process() as (frozen, port):
        async with (
            balancer(port, aggregator.port) as address,
            sending(tmp_path, said, address, patience=SOON._replace(ack_s=2.0)) as sender,
        ):
            sender.put(3)
            await sender.empty()
            frozen.send_signal(signal.SIGSTOP)
            sender.put(3)
            await sender.empty()
    assert aggregator.arrived == [("boot", 4), ("boot", 5), ("boot", 6)]
    assert "the aggregator answers again" in said.events


def test_a_frozen_aggregator_is_left_before_the_machine_is_silent() -> None:
    """The last tick was stored at 0; one comes every 5 s."""
    options = dict(link_options)
    asked_s, told_s = options["grpc.keepalive_time_ms"] / 1000, options["grpc.keepalive_timeout_ms"] / 1000
    assert 5 + PATIENCE.ack_s + PATIENCE.pauses_s[0] < LEAST_USUAL_SILENCE_S
    assert asked_s + told_s + PATIENCE.pauses_s[0] < LEAST_USUAL_SILENCE_S
    assert asked_s * 1000 >= 2 * dict(server_options)["grpc.http2.min_ping_interval_without_data_ms"]


async def test_a_tick_that_is_refused_for_good_is_given_up_alone(
    tmp_path: Path, said: Said, aggregator: Aggregator
) -> None:
    def take(one: pb.Tick, context: grpc.ServicerContext) -> pb.Receipt | None:
        if one.seq == 4:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tick.at_ms: makes no sense")
        return acknowledge(one, context)

    aggregator.take = take
    async with sending(tmp_path, said, aggregator.address) as sender:
        sender.put(8)
        await sender.empty()
    assert set(aggregator.arrived) == {("boot", seq) for seq in range(1, 9)}
    ((level, _, fields),) = [line for line in said.lines if line[1] == "the aggregator refuses a tick; it is given up"]
    assert level == "error"
    assert "tick.at_ms" in str(fields["reason"])


async def test_a_hello_that_is_refused_costs_no_tick(tmp_path: Path, said: Said) -> None:
    refusing = Aggregator()
    refused = 0

    def refuse(reports: object, context: grpc.ServicerContext) -> object:
        nonlocal refused
        refused += 1
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "hello.name: is too long")

    refusing._stream = refuse  # type: ignore[method-assign, assignment]
    refusing.start()
    async with sending(tmp_path, said, refusing.address) as sender:
        sender.put(5)
        await sender.until(lambda: refused > 6)
        assert len(sender.spool) == 5
        refusing.stop()


@pytest.mark.parametrize("moment", ["it is refused", "its time is over"])
async def test_it_stops_at_any_moment(
    tmp_path: Path, said: Said, aggregator: Aggregator, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while a stream ends, and before anybody has seen that."""
    loop = asyncio.get_running_loop()
    stopped: list[BaseException | None] = []

    def stop(link: Link) -> None:
        try:
            link.stop()
        except RuntimeError as error:
            stopped.append(error)
        else:
            stopped.append(None)

    if moment == "it is refused":
        send = Link._send

        async def slow_to_end(link: Link, talk: Any) -> None:
            try:
                await send(link, talk)
            finally:
                await asyncio.sleep(0)
                stop(link)

        monkeypatch.setattr(Link, "_send", slow_to_end)
        aggregator.take = lambda tick, context: context.abort(grpc.StatusCode.INVALID_ARGUMENT, "tick.values: no")
    else:
        aggregator.take = lambda tick, context: None
    async with sending(tmp_path, said, aggregator.address, patience=SOON._replace(ack_s=0.3)) as sender:
        sender.put(3)
        if moment == "its time is over":
            await sender.until(lambda: sender.link._talk is not None and len(sender.link._talk.under_way) == 3)
            await asyncio.sleep(0.05)
            assert sender.link._talk is not None
            assert sender.link._talk.deadline is not None
            over_s = sender.link._talk.deadline.when()
            assert over_s is not None
            loop.call_at(over_s + 1e-5, stop, sender.link)
        await sender.until(lambda: bool(stopped))
        assert set(stopped) == {None}
        assert len(sender.spool) >= 2, "none but one that was refused alone is given up"


@pytest.mark.parametrize("when", ["at once", "with the tick"])
async def test_a_layout_that_is_refused_costs_no_tick(
    tmp_path: Path, said: Said, aggregator: Aggregator, when: str
) -> None:
    words = "layout.series: must be 1 to 5,000; these are 6,000" if when == "with the tick" else "too many of them"

    def refuse(_: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, words)

    if when == "at once":
        aggregator.lay_out = refuse
    else:
        aggregator.take = refuse
    async with sending(tmp_path, said, aggregator.address) as sender:
        sender.put(5)
        await sender.until(lambda: len(aggregator.layouts) > 6)
        assert len(sender.spool) == 5
        assert words in sender.link.reason
        assert "ticks wait" in sender.link.trouble
        aggregator.lay_out, aggregator.take = (lambda layout, context: None), acknowledge
        await sender.empty()
    assert set(aggregator.arrived) == {("boot", seq) for seq in range(1, 6)}
    assert not [event for event in said.events if "given up" in event]


async def test_what_is_no_aggregator_is_said(tmp_path: Path, said: Said) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with sending(tmp_path, said, f"127.0.0.1:{port}") as sender:
        sender.put(1)
        await sender.until(sender.link.known.is_set)
        assert not sender.link.is_up
        assert sender.link.reason
    await server.stop(None)


async def test_where_nobody_listens_it_ends_at_once(tmp_path: Path, said: Said) -> None:
    async with sending(tmp_path, said, f"127.0.0.1:{free_port()}") as sender:
        sender.put(1)
        await sender.until(sender.link.known.is_set)
        assert "refused" in sender.link.reason.lower()
        assert len(sender.spool) == 1


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def test_over_tls_with_an_authority_of_ones_own(tmp_path: Path, said: Said, authority: trustme.CA) -> None:
    certificate = authority.issue_cert("127.0.0.1")
    pair = certificate.private_key_pem.bytes(), certificate.cert_chain_pems[0].bytes()
    secure = Aggregator(credentials=grpc.ssl_server_credentials([pair]))
    secure.start()
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    async with sending(tmp_path / "a", said, Address(secure.address, True, trusted)) as sender:
        sender.put(2)
        await sender.empty()
    assert len(secure.arrived) == 2
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    async with sending(tmp_path / "b", said, Address(secure.address, True, other)) as sender:
        sender.put(1)
        await sender.until(sender.link.known.is_set)
        assert not sender.link.is_up
        assert len(sender.spool) == 1
    assert len(secure.arrived) == 2
    secure.stop()
