"""The spool on a real disk: in order, bounded, and there again after whatever happened to the process or the file."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest

from tocsin.lib import metrics
from tocsin.lib.spool import Batch, Spool, SpoolError, SpoolInUse, Thinned

PLENTY = 1 << 30


class Halving:
    """Keeps the first half of every batch."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self.forgotten = 0

    def thin(self, body: bytes) -> Thinned:
        self.seen.append(body[:1])
        return Thinned(body[: len(body) // 2], 1)

    def forget(self) -> None:
        self.forgotten += 1


class Sparing:
    """Finds nothing worth keeping."""

    def thin(self, body: bytes) -> Thinned:
        return Thinned(None, 0)

    def forget(self) -> None: ...


class Insisting:
    """Can spare nothing."""

    def thin(self, body: bytes) -> Thinned:
        return Thinned(body, 1)

    def forget(self) -> None: ...


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.db"


def opened(
    path: Path | None, *, bound_bytes: int = PLENTY, thinner: Halving | Sparing | Insisting | None = None
) -> Spool:
    return Spool(path, bound_bytes=bound_bytes, thinner=thinner or Sparing())


def bodies(spool: Spool) -> list[bytes]:
    return [batch.body for batch in spool.oldest(most_items=10**9, most_bytes=10**12)]


def test_what_goes_in_comes_out_in_order_until_it_is_done(path: Path) -> None:
    spool = opened(path)
    first = spool.append(b"one", 1)
    second = spool.append(b"two", 2)
    spool.append(b"three", 3)
    assert spool.oldest(most_items=3, most_bytes=100) == [Batch(first, 1, b"one"), Batch(second, 2, b"two")]
    assert spool.oldest(most_items=1, most_bytes=1) == [Batch(first, 1, b"one")]  # one at least
    assert spool.oldest(most_items=9, most_bytes=7)[-1].id == second
    assert len(spool) == 6
    spool.done(second)
    assert bodies(spool) == [b"three"]
    assert len(spool) == 3
    spool.close()
    again = opened(path)
    assert bodies(again) == [b"three"]
    assert len(again) == 3
    assert again.append(b"four", 1) > second
    again.close()


def test_the_file_is_for_its_owner_only_and_for_one_process(path: Path) -> None:
    spool = opened(path)
    assert path.stat().st_mode & 0o777 == 0o600
    other = f"from tests.lib.test_spool import opened; from pathlib import Path; opened(Path({str(path)!r}))"
    ended = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False)
    assert "SpoolInUse" in ended.stderr
    with pytest.raises(SpoolInUse):
        opened(path)
    spool.close()
    opened(path).close()


def test_a_killed_process_loses_nothing_that_was_taken(path: Path) -> None:
    program = textwrap.dedent(
        f"""
        from pathlib import Path
        from tests.lib.test_spool import opened
        spool = opened(Path({str(path)!r}))
        for number in range(10_000):
            spool.append(str(number).encode(), 1)
            print(number, flush=True)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        taken = [int(line) for line in islice(process.stdout, 50)]
        process.send_signal(signal.SIGKILL)
        taken += [int(line) for line in process.stdout if line.endswith("\n")]
    spool = opened(path)
    found = [int(body) for body in bodies(spool)]
    assert found[: len(taken)] == taken
    assert found == list(range(len(found)))
    spool.close()


def test_a_full_spool_thins_the_oldest_once_each_and_in_order(path: Path) -> None:
    thinner = Halving()
    spool = opened(path, bound_bytes=10_000, thinner=thinner)
    for number in range(14):
        spool.append(bytes([number]) * 1000, 10)
        assert spool.size_bytes <= 10_000
    found = bodies(spool)
    assert [body[0] for body in found] == list(range(14))
    assert thinner.seen == [bytes([number]) for number in range(len(thinner.seen))]
    assert 0 < len(thinner.seen) < 14
    assert [len(body) for body in found] == [500] * len(thinner.seen) + [1000] * (14 - len(thinner.seen))
    assert len(spool) == len(thinner.seen) + 10 * (14 - len(thinner.seen))
    spool.close()


def test_what_thinning_leaves_nothing_of_is_gone(path: Path) -> None:
    spool = opened(path, bound_bytes=10_000)
    for number in range(30):
        spool.append(bytes([number]) * 1000, 1)
    found = [body[0] for body in bodies(spool)]
    assert found == list(range(30 - len(found), 30))
    assert spool.size_bytes <= 10_000
    spool.close()


def test_where_nothing_can_be_spared_the_oldest_are_given_up_and_counted(path: Path) -> None:
    before = metrics.RESULTS_REFUSED._value.get()
    spool = opened(path, bound_bytes=10_000, thinner=Insisting())
    for number in range(12):
        spool.append(bytes([number]) * 1000, 1)
    found = [body[0] for body in bodies(spool)]
    assert found == list(range(12 - len(found), 12))
    assert metrics.RESULTS_REFUSED._value.get() - before == 12 - len(found)
    assert spool.size_bytes <= 10_000
    spool.close()


def test_thinning_begins_afresh_once_the_queue_has_been_empty(path: Path) -> None:
    thinner = Halving()
    spool = opened(path, thinner=thinner)
    spool.done(spool.append(b"one", 1))
    assert thinner.forgotten == 1
    spool.close()


def test_the_file_shrinks_when_the_queue_has_been_sent(path: Path) -> None:
    spool = opened(path)
    for _ in range(200):
        last = spool.append(os.urandom(20_000), 1)
    for batch_id in range(1, last + 1):
        spool.done(batch_id)
    spool.close()
    assert path.stat().st_size < 100_000


@pytest.mark.parametrize("garbage", [b"this is no database, and never was" * 200, b"\0" * 8192])
def test_a_file_that_is_no_spool_is_moved_aside(path: Path, garbage: bytes) -> None:
    path.write_bytes(garbage)
    spool = opened(path)
    spool.append(b"new", 1)
    assert bodies(spool) == [b"new"]
    spool.close()
    (aside,) = path.parent.glob("spool.db.damaged-*")
    assert aside.read_bytes() == garbage


def test_a_file_of_another_version_is_moved_aside(path: Path) -> None:
    spool = opened(path)
    spool.append(b"from the future", 1)
    with spool._held() as conn:
        conn.execute("PRAGMA user_version = 99")
    spool.close()
    spool = opened(path)
    assert bodies(spool) == []
    spool.close()
    assert len(list(path.parent.glob("spool.db.damaged-*"))) == 1


def test_damage_found_at_work_begins_a_new_file_whose_ids_go_on(path: Path) -> None:
    spool = opened(path)
    for _ in range(50):
        last = spool.append(os.urandom(30_000), 1)
    spool.close()
    pages = bytearray(path.read_bytes())
    for start in range(4096, len(pages), 4096):
        if pages[start] == 0:  # the rest of a long body, which begins with where it goes on
            pages[start : start + 4] = b"\xff" * 4
    path.write_bytes(pages)
    spool = opened(path)
    with pytest.raises(SpoolError, match="damaged"):
        bodies(spool)
    spool.done(last)  # somebody was still sending what the old file held
    spool.append(b"new", 1)
    assert bodies(spool) == [b"new"]
    spool.close()
    assert len(list(path.parent.glob("spool.db.damaged-*"))) == 1


@contextmanager
def no_file_grows_beyond(size_bytes: int) -> Iterator[None]:
    """As on a disk that is full: the system refuses the write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(spool: Spool) -> None:
    for _ in range(20):
        spool.append(os.urandom(50_000), 1)


def test_a_disk_that_takes_no_more_refuses_the_batch_and_keeps_the_rest(path: Path) -> None:
    spool = opened(path)
    kept = [os.urandom(50_000) for _ in range(4)]
    for body in kept:
        spool.append(body, 1)
    with no_file_grows_beyond(400_000):
        with pytest.raises(SpoolError, match="disk"):
            fill(spool)
        waiting = spool.oldest(most_items=10**9, most_bytes=10**12)
        assert [batch.body for batch in waiting][:4] == kept
        assert len(spool) == len(waiting)
        spool.done(waiting[1].id)  # whether or not the disk takes note
        assert bodies(spool) == [batch.body for batch in waiting[2:]]
        assert len(spool) == len(waiting) - 2
    assert bodies(spool) == [batch.body for batch in waiting[2:]]
    spool.append(b"room again", 1)
    assert bodies(spool)[-1] == b"room again"
    spool.close()


def test_notes_are_kept_under_their_names(path: Path) -> None:
    spool = opened(path)
    spool.note({"target/1": b"one", "target/2": b"two", "lease": b""})
    spool.note({"target/1": b"another", "target/2": None})
    spool.close()
    again = opened(path)
    assert again.noted() == {"target/1": b"another", "lease": b""}
    assert again.noted("target/") == {"target/1": b"another"}
    again.close()


def test_a_copy_is_told_from_the_original(path: Path, tmp_path: Path) -> None:
    spool = opened(path)
    identity = spool.identity
    spool.close()
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    again, other = opened(path), opened(copy)
    assert again.identity == identity != other.identity
    again.close()
    other.close()


def test_without_a_file_it_is_kept_in_memory() -> None:
    spool = opened(None)
    spool.append(b"one", 1)
    assert bodies(spool) == [b"one"]
    spool.close()


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="cannot be opened"):
        opened(tmp_path / "missing" / "spool.db")
