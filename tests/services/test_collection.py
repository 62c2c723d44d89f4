"""Collectors as the aggregator meets them: over gRPC, with a key, without, and with nonsense."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from sqlalchemy import select

from tests.machines import METHOD, USUAL, SimulatedMachine, channel_to, metadata_of, send, usual_layout
from tests.services.far import Centre
from tocsin import wire
from tocsin.catalog import access
from tocsin.core.bands import CPU
from tocsin.core.outcome import HEADLINE, Subject
from tocsin.core.samples import MACHINE, Layout, Series
from tocsin.intake.arrived import Arrived
from tocsin.intake.sense import MOST_SERIES, MOST_SERIES_OF_MACHINE
from tocsin.lib import metrics
from tocsin.services.aggregator import collection
from tocsin.store import machines, samples, transitions
from tocsin.store.engine import StoreUnavailable
from tocsin.store.machines import MachineRow, Now
from tocsin.store.tables import samples as samples_table
from tocsin.v1 import collection_pb2 as pb

Code = grpc.StatusCode


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    made = Centre(f"sqlite:///{tmp_path / 'tocsin.db'}")
    made.key = made.make_key("ingest")
    with made.serving():
        yield made
    made.close()


class Caller:
    """One stream that says what it likes."""

    def __init__(self, channel: grpc.aio.Channel, key: str | None) -> None:
        self._call: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream(METHOD)(metadata=metadata_of(key))

    async def say(self, *reports: pb.Report | bytes) -> None:
        """A stream that has ended is found out by who listens."""
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for report in reports:
                await self._call.write(report if isinstance(report, bytes) else report.SerializeToString())

    async def hear(self) -> pb.Receipt:
        body = await asyncio.wait_for(self._call.read(), 30)
        assert isinstance(body, bytes), f"{await self._call.code()}: {await self._call.details()}"
        return pb.Receipt.FromString(body)

    async def hear_of(self, tick: pb.Tick) -> None:
        """Returns when this tick is acknowledged."""
        while (receipt := await self.hear()).acked_seq < tick.seq or receipt.boot_id != tick.boot_id:
            pass

    async def refused(self) -> tuple[grpc.StatusCode, str]:
        """How the stream ends."""
        with suppress(grpc.aio.AioRpcError):
            while isinstance(await asyncio.wait_for(self._call.read(), 30), bytes):
                pass
        return await self._call.code(), await self._call.details() or ""

    async def finish(self) -> None:
        await self._call.done_writing()
        assert await self.refused() == (Code.OK, "")

    def cancel(self) -> None:
        self._call.cancel()


@pytest.fixture
async def channel(centre: Centre) -> AsyncIterator[grpc.aio.Channel]:
    async with channel_to(centre.port) as channel:
        yield channel


@pytest.fixture
def caller(centre: Centre, channel: grpc.aio.Channel) -> Caller:
    return Caller(channel, centre.key)


def ticked(tick: pb.Tick) -> pb.Report:
    """As it is sent now."""
    report = pb.Report(tick=tick)
    report.tick.sent_at_ms = time.time_ns() // 1_000_000
    return report


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not look():  # noqa: ASYNC110  what is waited for happens elsewhere
            await asyncio.sleep(0.02)


def stored(centre: Centre) -> list[tuple[int, int]]:
    """Machine and time of every tick, in order."""
    table = samples_table.c
    with centre.store.read() as conn:
        return [
            (row[0], row[1])
            for row in conn.execute(select(table.machine_id, table.at_ms).order_by(table.machine_id, table.at_ms))
        ]


def known(centre: Centre) -> list[MachineRow]:
    with centre.store.read() as conn:
        return machines.every(conn)


def newest(centre: Centre) -> list[Now]:
    with centre.store.read() as conn:
        return machines.now_of(conn)


# ── what it is for ────────────────────────────────────────────────────────────────────────────────────


async def test_a_machine_registers_and_its_ticks_are_stored_before_they_are_acknowledged(
    centre: Centre, caller: Caller
) -> None:
    machine = SimulatedMachine("m-1", name="web-1", tags=["web"])
    now_ms = centre.clock.now_ms()
    ticks = [machine.tick(now_ms - 10_000 + 5000 * number) for number in range(3)]
    ticks[-1].processes.append(pb.Process(pid=7, name="postgres", user="db", cpu=1.5, memory_bytes=1 << 30))
    await caller.say(machine.hello(), machine.layout_report(), *map(ticked, ticks))
    await caller.hear_of(ticks[-1])
    (row,) = known(centre)
    assert (row.uid, row.name, row.tags, row.every_ms, row.version) == ("m-1", "web-1", ("web",), 5000, "1.0")
    assert stored(centre) == [(row.id, tick.at_ms) for tick in ticks]
    (now,) = newest(centre)
    assert now.summary["cpu"] == pytest.approx(0.3, abs=0.01)
    assert now.processes == [{"pid": 7, "name": "postgres", "user": "db", "cpu": 1.5, "memory_bytes": 1 << 30}]
    with centre.store.read() as conn:
        (key,) = [one for one in access.list_keys(conn, limit=10) if "ingest" in one.scopes]
    assert row.key_id == key.id
    await caller.finish()


async def test_what_is_sent_again_on_a_new_stream_changes_nothing(centre: Centre, channel: grpc.aio.Channel) -> None:
    machine = SimulatedMachine("m-1")
    now_ms = centre.clock.now_ms()
    ticks = [machine.tick(now_ms - 60_000 + 5000 * number) for number in range(10)]
    for _ in range(3):
        caller = Caller(channel, centre.key)
        await caller.say(machine.hello(), machine.layout_report(), *map(ticked, ticks))
        await caller.hear_of(ticks[-1])
        await caller.finish()
        before = newest(centre)
    replay = Caller(channel, centre.key)
    await replay.say(machine.hello(), machine.layout_report(), ticked(ticks[0]))
    await replay.hear_of(ticks[-1])
    assert len(stored(centre)) == 10
    assert newest(centre) == before
    replay.cancel()


async def test_ticks_of_an_earlier_boot_come_first_and_each_boot_is_acknowledged(
    centre: Centre, caller: Caller
) -> None:
    now_ms = centre.clock.now_ms()
    earlier = SimulatedMachine("m-1", boot_id="boot-0")
    machine = SimulatedMachine("m-1", boot_id="boot-1")
    old = [earlier.tick(now_ms - 120_000 + 5000 * number) for number in range(3)]
    new = machine.tick(now_ms)
    await caller.say(machine.hello(), machine.layout_report(), *map(ticked, [*old, new]))
    await caller.hear_of(new)
    assert len(stored(centre)) == 4
    assert newest(centre)[0].boot_id == "boot-1"


async def test_simulated_machines_send_until_they_are_told_that_it_is_stored(
    centre: Centre, channel: grpc.aio.Channel
) -> None:
    several = [SimulatedMachine(f"m-{number}", every_ms=20) for number in range(5)]
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for machine in several:
            tasks.create_task(send(machine, channel, centre.key, stop))
        await until(lambda: all(machine.made - len(machine.kept) >= 20 for machine in several))
        stop.set()
    ids = {row.uid: row.id for row in known(centre)}
    rows = stored(centre)
    for machine in several:
        mine = sum(1 for machine_id, _ in rows if machine_id == ids[machine.uid])
        assert machine.made - len(machine.kept) <= mine <= machine.made


# ── who may come in ───────────────────────────────────────────────────────────────────────────────────


async def test_nobody_comes_in_without_a_key_that_may(centre: Centre, channel: grpc.aio.Channel) -> None:
    for key, code, words in (
        (None, Code.UNAUTHENTICATED, "a key with the scope “ingest” is needed"),
        ("tcs_wrong", Code.UNAUTHENTICATED, "unknown or revoked"),
        (centre.make_key("write", "probe"), Code.PERMISSION_DENIED, "has not the scope “ingest”"),
        (centre.make_key("admin"), Code.PERMISSION_DENIED, "has not the scope “ingest”"),
    ):
        caller = Caller(channel, key)
        found, details = await caller.refused()
        assert found is code
        assert words in details
    assert known(centre) == []


async def test_a_key_that_is_revoked_ends_a_running_stream(
    centre: Centre, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = SimulatedMachine("m-1")
    tick = machine.tick()
    await caller.say(machine.hello(), machine.layout_report(), ticked(tick))
    await caller.hear_of(tick)
    await asyncio.to_thread(centre.revoke_keys)
    code, details = await caller.refused()
    assert code is Code.UNAUTHENTICATED
    assert "revoked" in details
    assert collection.LOOK_S <= 10


async def test_a_machine_that_was_deleted_is_a_new_one_with_its_next_stream(
    centre: Centre, channel: grpc.aio.Channel, caller: Caller
) -> None:
    machine = SimulatedMachine("m-1")
    tick = machine.tick()
    await caller.say(machine.hello(), machine.layout_report(), ticked(tick))
    await caller.hear_of(tick)
    (row,) = known(centre)
    with centre.store.write() as conn:
        machines.delete(conn, row.id, centre.clock.now_ms())

    async def go_on() -> None:
        while True:
            await caller.say(ticked(machine.tick()))
            await asyncio.sleep(0.1)

    going = asyncio.ensure_future(go_on())
    code, details = await caller.refused()
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    assert code is Code.UNAVAILABLE
    assert "deleted" in details
    again = Caller(channel, centre.key)
    tick = machine.tick()
    await again.say(machine.hello(), machine.layout_report(), ticked(tick))
    await again.hear_of(tick)
    assert [one.id for one in known(centre)] != [row.id]


async def test_of_two_machines_with_one_id_the_newcomer_is_refused(
    centre: Centre, channel: grpc.aio.Channel, caller: Caller
) -> None:
    machine, copy = SimulatedMachine("m-1"), SimulatedMachine("m-1", boot_id="another boot")
    tick = machine.tick()
    await caller.say(machine.hello(), machine.layout_report(), ticked(tick))
    await caller.hear_of(tick)
    second = Caller(channel, centre.key)
    await second.say(copy.hello())
    code, details = await second.refused()
    assert code is Code.ALREADY_EXISTS
    assert "m-1 is in use" in details
    tick = machine.tick()
    await caller.say(ticked(tick))  # and the one that was there goes on
    await caller.hear_of(tick)


async def test_a_machine_that_was_silent_for_three_intervals_may_come_back_in_another_boot(
    centre: Centre, channel: grpc.aio.Channel
) -> None:
    first = SimulatedMachine("m-1", every_ms=5000)
    tick = first.tick(centre.clock.now_ms() - 20_000)
    caller = Caller(channel, centre.key)
    await caller.say(first.hello(), first.layout_report(), ticked(tick))
    await caller.hear_of(tick)
    await caller.finish()
    again = SimulatedMachine("m-1", boot_id="boot-2")
    tick = again.tick()
    caller = Caller(channel, centre.key)
    await caller.say(again.hello(), again.layout_report(), ticked(tick))
    await caller.hear_of(tick)
    assert len(known(centre)) == 1


async def test_a_second_stream_of_the_same_boot_takes_over(
    centre: Centre, channel: grpc.aio.Channel, caller: Caller
) -> None:
    machine = SimulatedMachine("m-1")
    tick = machine.tick()
    await caller.say(machine.hello(), machine.layout_report(), ticked(tick))
    await caller.hear_of(tick)
    second = Caller(channel, centre.key)
    tick = machine.tick()
    await second.say(machine.hello(), machine.layout_report(), ticked(tick))
    await second.hear_of(tick)
    code, _ = await caller.refused()
    assert code is Code.ABORTED


# ── nonsense ──────────────────────────────────────────────────────────────────────────────────────────


def _series(number: int) -> list[pb.Series]:
    return [pb.Series(name="some.thing", attributes={"n": str(one)}) for one in range(number)]


_MACHINE = SimulatedMachine("m-1")
_TICK = _MACHINE.tick(1_800_000_000_000)


def _changed(**fields: object) -> pb.Report:
    tick = pb.Tick()
    tick.CopyFrom(_TICK)
    for name, value in fields.items():
        setattr(tick, name, value)
    return ticked(tick)


_HELLO, _LAYOUT = _MACHINE.hello(), _MACHINE.layout_report()
NONSENSE: Mapping[str, tuple[Sequence[pb.Report | bytes], str]] = {
    "garbage": ([b"\xff\xff\xff\xff"], "this is no Report"),
    "garbage in the middle": ([_HELLO, _LAYOUT, b"\x0a\xff\xff"], "this is no Report"),
    "a huge message": ([_HELLO, b"\x00" * (collection.LARGEST_REPORT_BYTES + 1)], "report: must have at most"),
    "a layout before the hello": ([_LAYOUT], "layout: comes after a hello"),
    "a tick before the hello": ([ticked(_TICK)], "tick: comes after a hello"),
    "a second hello": ([_HELLO, _HELLO], "hello: comes once"),
    "no machine id": ([pb.Report(hello=pb.Hello(boot_id="b"))], "hello.machine_id"),
    "a hidden machine id": ([pb.Report(hello=pb.Hello(machine_id="a\x00b", boot_id="b"))], "hello.machine_id"),
    "no boot": ([pb.Report(hello=pb.Hello(machine_id="m"))], "hello.boot_id"),
    "a very rare tick": (
        [pb.Report(hello=pb.Hello(machine_id="m", boot_id="b", every_ms=2**32 - 1))],
        "hello.every_ms",
    ),
    "a tick before its layout": ([_HELLO, ticked(_TICK)], "tick.layout_id: no layout 1"),
    "a wrong length": ([_HELLO, _LAYOUT, _changed(values=_TICK.values[:-8])], "tick.values: must have 800 bytes"),
    "half a number": ([_HELLO, _LAYOUT, _changed(values=_TICK.values[:-3])], "tick.values: must have 800 bytes"),
    "a number that is too large": ([_HELLO, _LAYOUT, _changed(seq=2**63)], "tick.seq"),
    "a tick of no boot": ([_HELLO, _LAYOUT, _changed(boot_id="")], "tick.boot_id"),
    "an empty layout": ([_HELLO, pb.Report(layout=pb.Layout(id=1))], "layout.series"),
    "too many series": (
        [_HELLO, pb.Report(layout=pb.Layout(id=1, series=_series(MOST_SERIES + 1)))],
        "layout.series: must be 1 to 5,000",
    ),
    "a series twice": (
        [_HELLO, pb.Report(layout=pb.Layout(id=1, series=[*_series(2), *_series(1)]))],
        "layout.series[2]: some.thing{n=0} comes twice",
    ),
    "a series without a name": (
        [_HELLO, pb.Report(layout=pb.Layout(id=1, series=[pb.Series(name="")]))],
        "layout.series[0].name",
    ),
    "an unknown kind": (
        [_HELLO, pb.Report(layout=pb.Layout(id=1, series=[pb.Series(name="a", kind=9)]))],  # type: ignore[arg-type]
        "layout.series[0].kind",
    ),
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_is_refused_by_the_name_of_the_field_and_the_server_goes_on(
    centre: Centre, channel: grpc.aio.Channel, name: str
) -> None:
    reports, words = NONSENSE[name]
    caller = Caller(channel, centre.key)
    await caller.say(*reports)
    code, details = await caller.refused()
    assert code is Code.INVALID_ARGUMENT
    assert words in details
    machine = SimulatedMachine("well-behaved")
    tick = machine.tick()
    other = Caller(channel, centre.key)
    await other.say(machine.hello(), machine.layout_report(), ticked(tick))
    await other.hear_of(tick)
    other.cancel()


async def test_what_is_not_known_yet_is_ignored(centre: Centre, caller: Caller) -> None:
    machine = SimulatedMachine("m-1")
    tick = machine.tick()
    await caller.say(machine.hello(), b"", b"\xa2\x06\x03abc", machine.layout_report(), ticked(tick))
    await caller.hear_of(tick)


async def test_a_hundred_thousand_new_series_are_refused_and_what_was_before_goes_on(
    centre: Centre, channel: grpc.aio.Channel
) -> None:
    caller = Caller(channel, centre.key)
    machine = SimulatedMachine("m-1")
    tick = machine.tick()
    await caller.say(machine.hello(), machine.layout_report(), ticked(tick))
    await caller.hear_of(tick)
    for number in range(2, 22):
        series = [pb.Series(name="some.thing", attributes={"n": f"{number}-{one}"}) for one in range(MOST_SERIES)]
        await caller.say(pb.Report(layout=pb.Layout(id=number, series=series)))
        if number * MOST_SERIES > MOST_SERIES_OF_MACHINE + MOST_SERIES:
            break
    code, details = await caller.refused()
    assert code is Code.INVALID_ARGUMENT
    assert "layout.series" in details
    assert "20,000 are the most" in details
    again = Caller(channel, centre.key)
    tick = machine.tick()
    await again.say(machine.hello(), machine.layout_report(), ticked(tick))
    await again.hear_of(tick)


async def test_numbers_and_times_that_cannot_be_are_left_out_and_counted(centre: Centre, caller: Caller) -> None:
    machine = SimulatedMachine("m-1")
    now_ms = centre.clock.now_ms()
    good = machine.values(now_ms).copy()
    bad = good.copy()
    at = USUAL.places
    cpu = at["system.cpu.time", (("cpu.mode", "user"),)]
    load = at["system.cpu.load_average.1m", ()]
    memory = at["system.memory.limit", ()]
    processes = at["system.process.count", ()]
    bad[cpu], bad[load], bad[memory], bad[processes] = -1.0, np.inf, -5.0, np.nan
    for at_ms, values in (
        (now_ms - 10_000, good),
        (now_ms - 5000, bad),
        (0, good),
        (4_102_444_800_000, good),  # 2100
        (now_ms + 7_200_000, good),
        (now_ms, good),
    ):
        tick = machine.tick(now_ms, values=values.tolist())
        tick.at_ms = at_ms
        await caller.say(*([machine.hello(), machine.layout_report()] if machine.made == 1 else []), ticked(tick))
    await caller.hear_of(tick)
    assert [at_ms for _, at_ms in stored(centre)] == [now_ms - 10_000, now_ms - 5000, now_ms]
    with centre.store.read() as conn:
        vectors = {
            at_ms: np.frombuffer(vector, dtype="<f4")
            for at_ms, vector in conn.execute(select(samples_table.c.at_ms, samples_table.c.vector))
        }
    left_out = np.isnan(vectors[now_ms - 5000])
    assert left_out[[cpu, load, memory, processes]].all()
    assert vectors[now_ms][load] == pytest.approx(good[load])
    await caller.finish()


async def test_markup_in_names_stays_text_and_what_cannot_be_seen_is_gone(centre: Centre, caller: Caller) -> None:
    machine = SimulatedMachine(
        "m-1", name="<b>web</b>\x00\u202e1\n", facts={"os\x01.type": "l\u2028inux"}, tags=["a\tb", ""]
    )
    tick = machine.tick()
    await caller.say(machine.hello(), machine.layout_report(), ticked(tick))
    await caller.hear_of(tick)
    (row,) = known(centre)
    assert (row.name, row.facts, row.tags) == ("<b>web</b>1", {"os.type": "linux"}, ("ab",))


# ── when there is too much, or nothing works ──────────────────────────────────────────────────────────


class Gate:
    """Holds writes back, or fails them, as a database would."""

    def __init__(self, centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.open.set()
        self.fails = False
        write: Callable[[Sequence[Arrived]], Mapping[tuple[int, str], int]] = centre.intake.write

        def gated(arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
            self.open.wait()
            if self.fails:
                raise StoreUnavailable("the database cannot be reached")
            return write(arrived)

        monkeypatch.setattr(centre.intake, "write", gated)


@pytest.fixture
def gate(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    made = Gate(centre, monkeypatch)
    yield made
    made.open.set()


def waiting() -> float:
    (family,) = metrics.TICKS_WAITING.collect()
    return family.samples[0].value


async def test_while_the_database_is_away_nothing_is_acknowledged_and_the_stream_is_to_come_again(
    centre: Centre, channel: grpc.aio.Channel, gate: Gate
) -> None:
    gate.fails = True
    machine = SimulatedMachine("m-1")
    tick = machine.tick()
    caller = Caller(channel, centre.key)
    await caller.say(machine.hello(), machine.layout_report(), ticked(tick))
    code, details = await caller.refused()
    assert code is Code.UNAVAILABLE
    assert details == StoreUnavailable.outward
    assert stored(centre) == []
    gate.fails = False
    again = Caller(channel, centre.key)
    await again.say(machine.hello(), machine.layout_report(), ticked(tick))
    await again.hear_of(tick)


async def test_one_machine_whose_ticks_cannot_be_stored_keeps_nobody_elses(
    centre: Centre, channel: grpc.aio.Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = centre.intake.write

    def poisoned(arrived: Sequence[Arrived]) -> Mapping[tuple[int, str], int]:
        if any(one.values[0] == 666 for one in arrived):
            raise RuntimeError("poison")
        return write(arrived)

    monkeypatch.setattr(centre.intake, "write", poisoned)
    monkeypatch.setattr(collection, "LINGER_S", 0.5)  # both come into one batch
    callers = {uid: (SimulatedMachine(uid), Caller(channel, centre.key)) for uid in ("well", "poisonous")}
    for machine, caller in callers.values():
        await caller.say(machine.hello(), machine.layout_report())
    machine, caller = callers["well"]
    tick = machine.tick()
    sick, other = callers["poisonous"]
    await other.say(ticked(sick.tick(values=[666.0] * len(USUAL))))
    await caller.say(ticked(tick))
    await caller.hear_of(tick)
    assert (await other.refused())[0] is Code.INTERNAL


async def test_overload_is_answered_with_a_time_to_come_again(
    centre: Centre, channel: grpc.aio.Channel, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "MOST_BYTES", 50_000)
    gate.open.clear()
    machine = SimulatedMachine("m-1")
    ticks = [machine.tick(centre.clock.now_ms() - 300_000 + 1000 * number) for number in range(200)]

    async def sent_away() -> pb.Receipt | None:
        """None where the stream ended while this side still wrote: gRPC then forgets what it was told."""
        caller = Caller(channel, centre.key)
        await caller.say(machine.hello(), machine.layout_report())
        hearing = asyncio.ensure_future(caller.hear())
        for tick in ticks:
            await caller.say(ticked(tick))
            await asyncio.wait([hearing], timeout=0.05)
            if hearing.done():
                break
        try:
            receipt = await hearing
        except grpc.aio.AioRpcError as error:
            if error.code() is not Code.INTERNAL:
                raise
            return None
        await caller.refused()
        return receipt

    receipt = await sent_away()
    while receipt is None:
        receipt = await sent_away()
    assert receipt.retry_after_s > 0
    assert receipt.acked_seq == 0
    gate.open.set()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(send(machine, channel, centre.key, stop, next_tick=lambda: None, at_most=20))
        await until(lambda: not machine.kept)
        stop.set()
    assert len(stored(centre)) == 200


async def test_a_stream_is_not_read_on_while_too_much_of_it_waits(
    centre: Centre, channel: grpc.aio.Channel, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "MOST_OF_STREAM_BYTES", 20_000)
    gate.open.clear()
    machine = SimulatedMachine("m-1")
    ticks = [machine.tick(centre.clock.now_ms() - 6_000_000 + 1000 * number) for number in range(2000)]
    caller = Caller(channel, centre.key)

    async def say_all() -> None:
        await caller.say(machine.hello(), machine.layout_report(), *map(ticked, ticks))

    saying = asyncio.ensure_future(say_all())
    await until(lambda: known(centre))
    await until(lambda: waiting() > 5)
    await asyncio.wait([saying], timeout=1)  # as much time as it wants to bring too much
    assert waiting() < 30
    gate.open.set()
    await saying
    await caller.hear_of(ticks[-1])
    assert len(stored(centre)) == 2000


def streams_open() -> float:
    (family,) = metrics.STREAMS_OPEN.collect()
    return family.samples[0].value


async def test_what_is_open_is_counted(centre: Centre, caller: Caller) -> None:
    machine = SimulatedMachine("m-1")
    before = streams_open()
    tick = machine.tick()
    await caller.say(machine.hello(), machine.layout_report(), ticked(tick))
    await caller.hear_of(tick)
    assert streams_open() == before + 1
    await caller.finish()
    await until(lambda: streams_open() == before)


async def test_layouts_change_on_a_running_stream(centre: Centre, caller: Caller) -> None:
    machine = SimulatedMachine("m-1", layout=Layout((Series("system.uptime", (), "s"),)))
    first = machine.tick()
    await caller.say(machine.hello(), machine.layout_report(), ticked(first))
    await caller.hear_of(first)
    machine.layout = Layout((*machine.layout.series, Series("system.process.count", (), "{process}")))
    machine._counts = np.zeros(2)
    second = machine.tick()
    second.layout_id = 2
    await caller.say(machine.layout_report(2), ticked(second))
    await caller.hear_of(second)
    with centre.store.read() as conn:
        assert sorted(map(len, samples.layouts(conn, [1, 2]).values())) == [1, 2]


async def test_what_came_in_several_layouts_is_judged_in_its_order(centre: Centre, caller: Caller, gate: Gate) -> None:
    """A disk is there while a machine that is cut off is busy, and all of it comes at once."""
    gate.open.clear()
    machine = SimulatedMachine("m-1", layout=usual_layout(disks=1))
    begin_ms = centre.clock.now_ms() - 3_000_000
    await caller.say(machine.hello())
    tick = None
    for number, (disks, cpu, ticks) in enumerate([(1, 0.3, 60), (2, 0.9, 150), (1, 0.3, 60), (1, 0.9, 90)], 1):
        machine.lay_out(usual_layout(disks=disks))
        machine.load.cpu = cpu
        await caller.say(machine.layout_report(number))
        for _ in range(ticks):
            begin_ms += 5000
            tick = machine.tick(begin_ms)
            tick.layout_id = number
            await caller.say(ticked(tick))
            if machine.made == 1:
                await asyncio.sleep(1)  # it is being written: everything else comes together
    await until(lambda: waiting() == 359)
    gate.open.set()
    assert tick is not None
    await caller.hear_of(tick)
    assert len(stored(centre)) == 360
    (row,) = known(centre)
    with centre.store.read() as conn:
        found = transitions.of_subject(
            conn, Subject(MACHINE, row.id), from_ms=0, to_ms=2**60, location_id=HEADLINE, rule=CPU
        )
    assert [one.transition.after.value for one in reversed(found)] == ["up", "degraded", "up", "degraded"]
    table = samples_table.c
    with centre.store.read() as conn:
        vectors = conn.execute(select(table.vector).order_by(table.at_ms)).scalars().all()
    place = next(number for number, one in enumerate(usual_layout(disks=1)) if one.name == "system.network.io")
    assert sum(np.isnan(np.frombuffer(vector, dtype="<f4")[place]) for vector in vectors[1:]) <= 1


async def test_what_the_aggregator_took_long_for_is_no_fault_of_a_clock(
    centre: Centre, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    register = centre.intake.register

    def slowly(*given: Any) -> MachineRow:
        time.sleep(3)
        return register(*given)

    monkeypatch.setattr(centre.intake, "register", slowly)
    machine = SimulatedMachine("m-1")
    now_ms = time.time_ns() // 1_000_000
    ticks = [machine.tick(now_ms - 20 + 10 * number) for number in range(3)]
    await caller.say(machine.hello(), machine.layout_report(), *map(ticked, ticks))
    await caller.hear_of(ticks[-1])
    assert [at_ms for _, at_ms in stored(centre)] == sorted(tick.at_ms for tick in ticks)


async def test_a_message_larger_than_any_is_not_taken_and_the_others_go_on(
    centre: Centre, channel: grpc.aio.Channel, caller: Caller
) -> None:
    machine, other = SimulatedMachine("m-1"), SimulatedMachine("m-2")
    await caller.say(machine.hello(), machine.layout_report())
    await caller.say(b"\x00" * (wire.LARGEST_MESSAGE_BYTES + 1))
    assert (await caller.refused())[0] is Code.RESOURCE_EXHAUSTED
    tick = other.tick()
    second = Caller(channel, centre.key)
    await second.say(other.hello(), other.layout_report(), ticked(tick))
    await second.hear_of(tick)
