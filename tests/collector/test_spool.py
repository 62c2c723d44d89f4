"""What is on disk stays there until it is done with: whatever ends the process, and whatever the disk does."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.collector.conftest import Said
from tocsin.collector.spool import IN_MEMORY_BYTES, Spool, SpoolInUse

BOUND = 64 << 20
L1, L2 = b"layout one", b"layout two" * 100


@contextmanager
def opened(place: Path | None, said: Said, bound_bytes: int = BOUND) -> Iterator[Spool]:
    spool = Spool(place, bound_bytes=bound_bytes, log=said)
    yield spool
    spool.close()


def waiting(spool: Spool, after: int = 0) -> list[tuple[bytes, bytes]]:
    return [(one.layout, one.tick) for one in spool.after(after, most=1_000_000, most_bytes=1 << 40)]


def test_oldest_first_with_their_layouts_also_after_a_restart(tmp_path: Path, said: Said) -> None:
    with opened(tmp_path, said) as spool:
        for number in range(10):
            spool.append(L1 if number < 5 else L2, b"%d" % number)
        expected = [(L1 if number < 5 else L2, b"%d" % number) for number in range(10)]
        assert waiting(spool) == expected
        assert len(spool) == 10
    with opened(tmp_path, said) as spool:
        assert len(spool) == 10
        spool.append(L1, b"10")
        assert waiting(spool) == [*expected, (L1, b"10")]


def test_in_parts_and_only_what_is_not_done(tmp_path: Path, said: Said) -> None:
    with opened(tmp_path, said) as spool:
        for number in range(100):
            spool.append(L1, b"%d" % number)
        first = spool.after(0, most=10, most_bytes=1 << 20)
        assert [one.number for one in first] == list(range(1, 11))
        assert len(spool.after(10, most=10, most_bytes=5)) == 3
        spool.done(first[-1].number)
        assert len(spool) == 90
        assert [one.tick for one in spool.after(0, most=2, most_bytes=1 << 20)] == [b"10", b"11"]
    with opened(tmp_path, said) as spool:
        assert len(spool) == 90
        assert waiting(spool)[0] == (L1, b"10")
        spool.done(100)
        assert waiting(spool) == []
        spool.append(L1, b"100")
        assert waiting(spool) == [(L1, b"100")]


def test_files_go_when_they_are_done_with(tmp_path: Path, said: Said) -> None:
    with opened(tmp_path, said) as spool:
        for _ in range(2_000):
            spool.append(L1, b"x" * 1000)
            spool.done(1 << 60 if not len(spool) else spool.after(0, most=1, most_bytes=1)[0].number)
        assert spool.size_bytes < 200_000
        assert sum(path.stat().st_size for path in tmp_path.glob("*.ticks")) == spool.size_bytes


def test_within_its_bound_the_oldest_go_first_and_are_counted(tmp_path: Path, said: Said) -> None:
    with opened(tmp_path, said, 1 << 20) as spool:
        for number in range(2_000):
            spool.append(L1, b"%04d" % number + b"x" * 996)
        on_disk = sum(path.stat().st_size for path in tmp_path.glob("*.ticks"))
        assert on_disk == spool.size_bytes <= 1 << 20
        ticks = [int(tick[:4]) for _, tick in waiting(spool)]
        assert ticks == list(range(2_000 - len(ticks), 2_000))
        assert len(ticks) == len(spool) > 900
        assert spool.lost == 2_000 - len(ticks)
        assert said.events == ["the spool is full; the oldest ticks are given up"]
        spool.done(2_000)
        assert said.events[1:] == ["ticks were given up"]


def test_a_record_that_was_cut_short_is_cut_off(tmp_path: Path, said: Said) -> None:
    with opened(tmp_path, said) as spool:
        for number in range(3):
            spool.append(L1, b"tick %d" % number)
    (file,) = tmp_path.glob("*.ticks")
    whole = file.read_bytes()
    for cut in range(1, len(b"tick 2") + 9 + 1):
        file.write_bytes(whole[:-cut])
        with opened(tmp_path, said) as spool:
            assert waiting(spool) == [(L1, b"tick 0"), (L1, b"tick 1")]
            spool.append(L2, b"next")
            assert waiting(spool)[2:] == [(L2, b"next")]
        for other in set(tmp_path.glob("*.ticks")) - {file}:
            other.unlink()


@pytest.mark.parametrize("damage", ["a byte", "zeros", "empty", "foreign"])
def test_what_is_damaged_costs_no_more_than_its_file(tmp_path: Path, said: Said, damage: str) -> None:
    with opened(tmp_path, said) as spool:
        for number in range(1_500):
            spool.append(L1, b"%04d" % number + b"x" * 996)
        segments = sorted(tmp_path.glob("*.ticks"))
        assert len(segments) > 2
    data = bytearray(segments[1].read_bytes())
    match damage:
        case "a byte":
            data[len(data) // 2] ^= 1
        case "zeros":
            data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        case "empty":
            data.clear()
        case "foreign":
            data[:] = random.Random(1).randbytes(len(data))
    segments[1].write_bytes(data)
    with opened(tmp_path, said) as spool:
        first, last = waiting(spool)[0], waiting(spool)[-1]
        assert (first[1][:4], last[1][:4]) == (b"0000", b"1499")
        spool.append(L1, b"new")
        assert waiting(spool)[-1] == (L1, b"new")
        spool.done(1 << 60)
        assert not len(spool)


@pytest.mark.parametrize("place", [0, 1])
def test_a_file_that_cannot_be_read_costs_no_more_than_itself(tmp_path: Path, said: Said, place: int) -> None:
    with opened(tmp_path, said) as spool:
        spool.append(L1, b"first")
    with opened(tmp_path, said) as spool:
        spool.append(L1, b"second")
    bad = sorted(tmp_path.glob("*.ticks"))[place]
    bad.unlink()
    bad.mkdir()
    with opened(tmp_path, said) as spool:
        assert spool.is_on_disk
        spool.append(L1, b"third")
        kept = [(L1, b"second"), (L1, b"first")][place]
        assert waiting(spool) == [kept, (L1, b"third")]
        assert "ticks on disk cannot be read and are given up" in said.events
        assert len(spool) == 2
    with opened(tmp_path, said) as spool:
        assert waiting(spool) == [kept, (L1, b"third")]
        spool.done(spool.after(0, most=10, most_bytes=1 << 20)[-1].number)
        spool.append(L1, b"fourth")
        assert waiting(spool) == [(L1, b"fourth")]


def test_where_it_cannot_be_opened_to_the_end_it_begins_anew_in_memory(
    tmp_path: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path, said) as spool:
        for number in range(10):
            spool.append(L1, b"%d" % number)
        spool.done(5)

    def broken(_: object) -> list[str]:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as disk:
        disk.setattr("tocsin.collector.spool.os.listdir", broken)
        with opened(tmp_path, said) as spool:
            assert said.events == ["nothing can be kept on disk; ticks wait in memory, and a restart loses them"]
            spool.append(L1, b"new")
            assert waiting(spool) == [(L1, b"new")]
            assert len(spool) == 1
    with opened(tmp_path, said) as spool:
        assert len(spool) == 5


def test_two_processes_do_not_share_one(tmp_path: Path, said: Said) -> None:
    with opened(tmp_path, said), pytest.raises(SpoolInUse):
        Spool(tmp_path, bound_bytes=BOUND, log=said)


def test_where_no_file_can_be_made_it_is_in_memory_and_bounded(tmp_path: Path, said: Said) -> None:
    (tmp_path / "file").write_text("in the way")
    with opened(tmp_path / "file" / "spool", said) as spool:
        assert said.events == ["nothing can be kept on disk; ticks wait in memory, and a restart loses them"]
        for number in range(3_000):
            spool.append(L1, b"%04d" % number + b"x" * 996)
        assert spool.size_bytes <= IN_MEMORY_BYTES
        ticks = [int(tick[:4]) for _, tick in waiting(spool)]
        assert ticks == list(range(3_000 - len(ticks), 3_000))
        assert spool.lost == 3_000 - len(ticks)
        spool.done(spool.after(0, most=10, most_bytes=1 << 20)[-1].number)
        assert len(spool) == len(ticks) - 10


FULL = """
import resource, signal, sys
from pathlib import Path
from tests.collector.conftest import Said
from tocsin.collector.spool import Spool

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
said = Said()
spool = Spool(Path(sys.argv[1]), bound_bytes=64 << 20, log=said)
for number in range(20):
    spool.append(b"layout", b"%02d" % number + b"x" * 1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # the disk takes not a byte more
spool.append(b"layout", b"20" + b"x" * 1000)
spool.append(b"layout", b"21" + b"x" * 1000)
assert not spool.is_on_disk
got = [one.tick[:2] for one in spool.after(0, most=100, most_bytes=1 << 20)]
assert got == [b"%02d" % number for number in range(22)], got
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
spool.append(b"layout", b"22" + b"x" * 1000)
assert spool.is_on_disk
got = [one.tick[:2] for one in spool.after(0, most=100, most_bytes=1 << 20)]
assert got == [b"%02d" % number for number in range(23)], got
print(said.events)
"""


def test_a_full_disk_is_waited_out_in_memory(tmp_path: Path, said: Said) -> None:
    """The limit on a file's size stands for the disk: writes fail, or take a part, in the same way."""
    assert resource.RLIMIT_FSIZE
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "they wait in memory" in done.stdout
    assert "the disk takes ticks again" in done.stdout
    with opened(tmp_path, said) as spool:
        assert [tick[:2] for _, tick in waiting(spool)] == [b"%02d" % number for number in range(23)]


WRITING = """
import sys
from pathlib import Path
from tests.collector.conftest import Said
from tocsin.collector.spool import Spool

spool = Spool(Path(sys.argv[1]), bound_bytes=64 << 20, log=Said())
number = int(sys.argv[2])
while True:
    spool.append(b"layout %d" % (number // 7), b"%d " % number + b"x" * (number % 2000))
    print(number, flush=True)
    number += 1
"""


def test_killed_at_any_moment_it_holds_what_was_put_in(tmp_path: Path, said: Said) -> None:
    number = 0
    for turn in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITING, str(tmp_path), str(number)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(50 + 37 * turn):
                process.stdout.readline()
            os.kill(process.pid, signal.SIGKILL)
            said_so = [int(line) for line in process.stdout.read().split()]
        told = said_so[-1] if said_so else number + 50 + 37 * turn - 1
        with opened(tmp_path, said) as spool:
            found = [int(tick.split(b" ")[0]) for _, tick in waiting(spool)]
        assert found == list(range(len(found)))
        assert told <= found[-1] <= told + 1
        number = found[-1] + 1
