"""The aggregator as whoever comes over the network meets it: with a key, without, and with nonsense."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import cast

import grpc
import pytest
import trustme
from sqlalchemy import select

from tests.services.far import ME, Centre, seen
from tocsin import wire
from tocsin.catalog import access
from tocsin.core.decide import Verdict
from tocsin.core.outcome import Result
from tocsin.home import DatabaseHome, IdentityInUse, Introduction, Lease, TargetChanges
from tocsin.lib import metrics
from tocsin.pipeline import Entry, Settled
from tocsin.services.aggregator import CannotListen
from tocsin.services.aggregator.doorkeeper import CALLS_PER_MINUTE
from tocsin.services.worker.link import Link, Unreachable
from tocsin.store.engine import StoreUnavailable
from tocsin.store.tables import workers
from tocsin.v1 import probing_pb2 as pb

Code = grpc.StatusCode
Metadata = tuple[tuple[str, str | bytes], ...]
WORKER = wire.worker_message(ME)


@pytest.fixture
def centre(tmp_path: Path) -> Iterator[Centre]:
    made = Centre(f"sqlite:///{tmp_path / 'tocsin.db'}")
    yield made
    made.close()


class Caller:
    """Says what it likes."""

    def __init__(self, port: int, key: str | None) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)])
        self._metadata: Metadata | None = None if key is None else (("authorization", f"Bearer {key}"),)

    def __call__(self, name: str, body: bytes, *, metadata: Metadata | None = None) -> bytes:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(f"/tocsin.v1.Probing/{name}")
        return call(body, timeout=10, metadata=metadata or self._metadata)

    def stream(self, name: str, body: bytes) -> list[bytes]:
        call: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(f"/tocsin.v1.Probing/{name}")
        return list(call(body, timeout=10, metadata=self._metadata))

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def call(centre: Centre) -> Iterator[Caller]:
    with centre.serving():
        caller = Caller(centre.port, centre.key)
        yield caller
        caller.close()


def refused(attempt: Callable[[], object]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """The status of a call that is refused, its words, and what is said beside them."""
    with pytest.raises(grpc.RpcError) as error:
        attempt()
    status = cast("grpc.Call", cast("object", error.value))  # which the library's types do not say
    trailing = {str(name): str(value) for name, value in status.trailing_metadata() or ()}
    return status.code(), status.details() or "", trailing


def renewed(call: Caller, **fields: object) -> pb.RenewResponse:
    request = pb.RenewRequest(worker=WORKER, first=True, **fields)  # type: ignore[arg-type]
    return pb.RenewResponse.FromString(call("Renew", request.SerializeToString()))


def batch(*entries: Entry, worker: pb.Worker = WORKER) -> bytes:
    return pb.WriteRequest(worker=worker, entries=[wire.entry_message(one) for one in entries]).SerializeToString()


# ── what it is for ────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_far_away_gets_a_lease_and_targets_and_its_results_are_stored(centre: Centre, call: Caller) -> None:
    target_id = centre.add(name="far", kind="http", url="http://127.0.0.1/", password="pa55", username="u")
    lease = wire.lease_of(renewed(call))
    assert len(lease.epochs) == 64
    assert abs(lease.now_ms - centre.clock.now_ms()) < 60_000
    request = pb.LoadRequest(worker=WORKER, shards=range(64), since_revision=-1)
    changes = wire.changes_of(map(pb.LoadResponse.FromString, call.stream("Load", request.SerializeToString())))
    assert changes is not None
    (target,) = changes.targets
    assert (target.id, target.settings["password"]) == (target_id, "pa55")
    now_ms = lease.now_ms
    epoch = lease.epochs[target_id % 64]
    entry = seen(target_id, now_ms, Result.FAILED, epoch=epoch, reason="no answer", location_id=lease.location_id)
    answer = pb.WriteResponse.FromString(call("Write", batch(entry)))
    (settled,) = answer.settled
    assert (settled.target_id, settled.state.failures) == (target_id, 1)
    assert [row.error for row in centre.rows(target_id)] == ["no answer"]
    again = seen(target_id, now_ms + 1, Result.FAILED, epoch=epoch, reason="no answer", location_id=lease.location_id)
    call("Write", batch(entry, again))
    assert centre.state(target_id).verdict is Verdict.DOWN
    assert len(centre.rows(target_id)) == 2
    with centre.store.read() as conn:
        known = conn.execute(select(workers.c.name, workers.c.remote)).all()
    assert known == [("far.example.org", True)]


def test_what_is_left_behind_is_free_for_others(centre: Centre, call: Caller) -> None:
    renewed(call)
    call("Leave", pb.LeaveRequest(worker=WORKER, give_back={0: 1}).SerializeToString())
    other = wire.worker_message(ME._replace(id="worker-2"))
    request = pb.RenewRequest(worker=other, first=True)
    answer = pb.RenewResponse.FromString(call("Renew", request.SerializeToString()))
    assert (len(answer.epochs), dict(answer.since)) == (64, {0: 1})


def test_another_copy_takes_a_call_without_having_seen_the_one_before(centre: Centre) -> None:
    target_id = centre.add()
    with centre.serving():
        caller = Caller(centre.port, centre.key)
        now_ms = renewed(caller).now_ms
        caller.close()
    with centre.serving():
        caller = Caller(centre.port, centre.key)
        caller("Write", batch(seen(target_id, now_ms)))
        caller.close()
    assert len(centre.rows(target_id)) == 1


def test_a_result_is_judged_by_the_stored_policy_and_only_where_its_target_is_probed(
    centre: Centre, call: Caller
) -> None:
    strict = centre.add(name="strict", failures_to_down=1, quorum="any")
    patient = centre.add(name="patient", failures_to_down=10)
    elsewhere = centre.add(name="elsewhere", locations=["nyc"])
    heartbeat = centre.add_heartbeat()
    lease = renewed(call)
    here = lease.location_id
    entries = [
        seen(one, lease.now_ms, Result.FAILED, location_id=here) for one in (strict, patient, elsewhere, heartbeat, 999)
    ]
    call("Write", batch(*entries))
    assert centre.state(strict, here).verdict is Verdict.DOWN
    assert centre.state(patient, here).verdict is Verdict.UNKNOWN
    assert [len(centre.rows(one)) for one in (strict, patient, elsewhere, heartbeat, 999)] == [1, 1, 0, 0, 0]
    assert centre.state(elsewhere, here).last_at_ms == 0


def test_steady_results_ask_for_no_second_look(centre: Centre, call: Caller) -> None:
    target_id = centre.add()
    lease = renewed(call)
    assert pb.WriteResponse.FromString(call("Write", batch(seen(target_id, lease.now_ms)))).settled == []


# ── who may come in ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["Renew", "Load", "Write", "Leave", "Nonsense"])
def test_nobody_comes_in_without_a_key_that_may(centre: Centre, name: str) -> None:
    with centre.serving():
        asks: dict[str, tuple[str | None, grpc.StatusCode, str]] = {
            "nobody": (None, Code.UNAUTHENTICATED, "a key with the scope “probe” is needed"),
            "a stranger": ("tcs_wrong", Code.UNAUTHENTICATED, "unknown or revoked"),
            "somebody": ("", Code.UNAUTHENTICATED, "a key with the scope “probe” is needed"),
            "a writer": (centre.make_key("write", "ingest"), Code.PERMISSION_DENIED, "has not the scope “probe”"),
        }
        for key, code, words in asks.values():
            caller = Caller(centre.port, key)
            # What cannot be read: nobody gets as far as being told.
            found, details, _ = refused(partial(caller.stream, name, b"\xff\xff\xff"))
            assert found is code
            assert words in details
            caller.close()


def test_admins_may_too_and_a_call_there_is_not_is_none(centre: Centre) -> None:
    with centre.serving():
        caller = Caller(centre.port, centre.make_key("admin"))
        assert renewed(caller).location_id == 1
        assert refused(lambda: caller("Nonsense", b""))[0] is Code.UNIMPLEMENTED
        caller.close()


def test_a_key_that_is_revoked_is_refused_with_the_next_call(centre: Centre, call: Caller) -> None:
    renewed(call)
    centre.revoke_keys()
    code, details, _ = refused(lambda: renewed(call))
    assert (code, details) == (Code.UNAUTHENTICATED, "this key is unknown or revoked")


def test_the_use_of_a_key_is_noted(centre: Centre, call: Caller) -> None:
    renewed(call)
    with centre.store.read() as conn:
        assert [row.last_used_ms is not None for row in access.list_keys(conn, limit=10)] == [True]


def test_one_key_makes_so_many_calls_a_minute(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CALLS_PER_MINUTE >= 100 * 30  # a hundred workers that renew every two seconds
    monkeypatch.setattr("tocsin.services.aggregator.doorkeeper.CALLS_PER_MINUTE", 3)
    with centre.serving():
        caller = Caller(centre.port, centre.key)
        for _ in range(3):
            renewed(caller)
        code, details, trailing = refused(lambda: renewed(caller))
        assert code is Code.RESOURCE_EXHAUSTED
        assert "calls a minute" in details
        assert int(trailing[wire.PUSHBACK]) > 0
        caller.close()


# ── nonsense ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["Renew", "Load", "Write", "Leave"])
def test_bytes_that_are_no_message_are_refused_as_that(call: Caller, name: str) -> None:
    for body in (b"\xff\xff\xff", os.urandom(1000), b"\x0a\x7f"):
        code, details, _ = refused(partial(call.stream, name, body))
        assert code is Code.INVALID_ARGUMENT
        assert details.startswith((f"this is no {name}Request", "worker."))


@pytest.mark.parametrize(
    ("name", "request_", "words"),
    [
        ("Renew", pb.RenewRequest(), "worker.id: must have 1 to 100 printable characters"),
        ("Renew", pb.RenewRequest(worker=WORKER, give_back={64: 1}), "give_back: must be at most 64 numbers below 64"),
        ("Load", pb.LoadRequest(worker=WORKER, shards=[99]), "shards: must be at most 64 numbers below 64"),
        ("Leave", pb.LeaveRequest(worker=pb.Worker(id="x")), "worker.life: must have 1 to 100"),
        ("Write", pb.WriteRequest(entries=[pb.Entry()]), "worker.id: must have"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_by_field(
    call: Caller, name: str, request_: pb.RenewRequest, words: str
) -> None:
    code, details, _ = refused(lambda: call.stream(name, request_.SerializeToString()))
    assert code is Code.INVALID_ARGUMENT
    assert details.startswith(words)


def test_of_a_batch_with_one_senseless_result_nothing_is_stored(centre: Centre, call: Caller) -> None:
    target_id = centre.add()
    now_ms = renewed(call).now_ms
    good, bad = wire.entry_message(seen(target_id, now_ms)), wire.entry_message(seen(target_id, now_ms + 1))
    bad.at_ms = 5
    request = pb.WriteRequest(worker=WORKER, entries=[good, bad])
    code, details, _ = refused(lambda: call("Write", request.SerializeToString()))
    assert code is Code.INVALID_ARGUMENT
    assert details.startswith("entries[1].at_ms: must be a time in the last year")
    assert centre.rows(target_id) == []


def test_a_message_that_is_too_large_is_not_taken(centre: Centre, call: Caller) -> None:
    code, details, _ = refused(lambda: call("Write", b"\0" * (wire.LARGEST_MESSAGE_BYTES + 1)))
    assert code is Code.RESOURCE_EXHAUSTED
    assert "larger than max" in details
    assert renewed(call).location_id == 1


def test_metadata_beyond_measure_is_refused(centre: Centre, call: Caller) -> None:
    with pytest.raises(grpc.RpcError):
        call("Leave", b"", metadata=(("authorization", f"Bearer {centre.key}"), ("x", "y" * 1_000_000)))
    assert renewed(call).location_id == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 512,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 4096,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0" + b"\0\x40\0\1\5\0\0\0\1" + b"\x82" * 0x4000,
        os.urandom(100_000),
    ],
)
def test_garbage_on_the_socket_harms_nobody(call: Caller, centre: Centre, garbage: bytes) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", centre.port), timeout=10) as raw, suppress(OSError):
            raw.sendall(garbage)
            raw.shutdown(socket.SHUT_WR)
            while raw.recv(65536):
                pass
    assert renewed(call).location_id == 1


def test_fields_it_does_not_know_are_passed_over(centre: Centre, call: Caller) -> None:
    target_id = centre.add()
    now_ms = renewed(call).now_ms
    unknown = b"\xfa\x3f\x05hello"  # field 1023, five bytes
    call("Write", batch(seen(target_id, now_ms)) + unknown)
    assert len(centre.rows(target_id)) == 1


# ── when the centre cannot ────────────────────────────────────────────────────────────────────────────


class Failing:
    """A centre that is not itself."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def renew(self, me: Introduction, give_back: Mapping[int, int], *, first: bool, steady: bool) -> Lease:
        raise self._error

    def load(self, shards: Collection[int], since_revision: int) -> TargetChanges:
        raise self._error

    def write(self, entries: Sequence[Entry]) -> list[Settled]:
        raise self._error

    def leave(self, me: Introduction, give_back: Mapping[int, int]) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "code", "write_code"),
    [
        (StoreUnavailable("the database cannot be reached: gone"), Code.UNAVAILABLE, Code.UNAVAILABLE),
        (IdentityInUse("worker-1"), Code.ALREADY_EXISTS, Code.ABORTED),
        (ZeroDivisionError("a defect"), Code.INTERNAL, Code.ABORTED),
    ],
)
def test_what_the_centre_cannot_do_is_said(
    centre: Centre, error: Exception, code: grpc.StatusCode, write_code: grpc.StatusCode
) -> None:
    target_id = centre.add()
    centre.home(ME).renew(ME, {}, first=True, steady=False)
    failing = Failing(error)
    with centre.serving(homes=lambda _: failing):
        caller = Caller(centre.port, centre.key)
        asks: dict[str, tuple[bytes, grpc.StatusCode]] = {
            "Renew": (pb.RenewRequest(worker=WORKER).SerializeToString(), code),
            "Load": (pb.LoadRequest(worker=WORKER).SerializeToString(), code),
            "Leave": (pb.LeaveRequest(worker=WORKER).SerializeToString(), code),
            "Write": (batch(seen(target_id, centre.clock.now_ms())), write_code),
        }
        for name, (body, expected) in asks.items():
            found, details, trailing = refused(partial(caller.stream, name, body))
            assert found is expected, name
            assert "defect" not in details, "what went wrong inside is nobody's business outside"
            assert (wire.PUSHBACK in trailing) is (found is Code.UNAVAILABLE)
        caller.close()


def test_a_defect_at_the_door_lets_nobody_in_and_says_no_more_than_that(tmp_path: Path) -> None:
    centre = Centre(f"sqlite:///{tmp_path / 'tocsin.db'}")
    with centre.serving():
        caller = Caller(centre.port, centre.key)
        with closing(sqlite3.connect(tmp_path / "tocsin.db")) as other:
            other.execute("ALTER TABLE api_keys RENAME TO elsewhere")
            code, details, _ = refused(lambda: renewed(caller))
            assert (code, details) == (Code.INTERNAL, "our fault; the aggregator's log says more")
            other.execute("ALTER TABLE elsewhere RENAME TO api_keys")
        renewed(caller)
        caller.close()
    centre.close()


def test_results_for_a_location_that_nobody_has_made_wait(centre: Centre, call: Caller) -> None:
    target_id = centre.add()
    code, details, trailing = refused(lambda: call("Write", batch(seen(target_id, centre.clock.now_ms()))))
    assert code is Code.UNAVAILABLE
    assert "no location oslo" in details
    assert wire.PUSHBACK in trailing


class Slow:
    """Writes when it is let."""

    def __init__(self, home: DatabaseHome, let: threading.Event) -> None:
        self._home = home
        self._let = let
        self.under_way = 0
        self.most = 0

    def write(self, entries: Sequence[Entry]) -> list[Settled]:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self._let.wait(20)
        self.under_way -= 1
        return self._home.write(entries)


def test_old_batches_go_one_at_a_time_and_fresh_ones_pass_them(centre: Centre) -> None:
    target_id = centre.add()
    now_ms = centre.home(ME).renew(ME, {}, first=True, steady=False).now_ms
    let_old, let_fresh = threading.Event(), threading.Event()
    let_fresh.set()
    old, fresh = Slow(centre.home(ME), let_old), Slow(centre.home(ME), let_fresh)
    with centre.serving(homes=lambda me: old if me.name == "back again" else fresh):
        caller = Caller(centre.port, centre.key)
        back = wire.worker_message(ME._replace(name="back again"))
        bodies = [batch(seen(target_id, now_ms - 3_600_000 + n), worker=back) for n in range(10)]
        threads = [threading.Thread(target=caller, args=["Write", body]) for body in bodies]
        for thread in threads:
            thread.start()
        while not old.under_way:
            time.sleep(0.01)
        me = wire.worker_message(ME._replace(id="worker-2"))
        caller("Write", batch(seen(target_id, now_ms), worker=me))
        assert [row.at_ms for row in centre.rows(target_id)] == [now_ms]
        let_old.set()
        for thread in threads:
            thread.join()
        caller.close()
    assert old.most == 1
    assert len(centre.rows(target_id)) == 11


def test_more_batches_than_can_wait_are_sent_away_for_a_while(centre: Centre, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.services.aggregator.probing.MOST_WAITING", 1)
    target_id = centre.add()
    now_ms = centre.home(ME).renew(ME, {}, first=True, steady=False).now_ms
    let = threading.Event()
    slow = Slow(centre.home(ME), let)
    with centre.serving(homes=lambda _: slow):
        caller = Caller(centre.port, centre.key)
        first = threading.Thread(target=caller, args=["Write", batch(seen(target_id, now_ms))])
        first.start()
        while not slow.under_way:
            time.sleep(0.01)
        code, _, trailing = refused(lambda: caller("Write", batch(seen(target_id, now_ms + 1))))
        assert (code, wire.PUSHBACK in trailing) == (Code.UNAVAILABLE, True)
        let.set()
        first.join()
        caller.close()


# ── how it listens ────────────────────────────────────────────────────────────────────────────────────


def test_a_taken_port_is_said(centre: Centre) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        centre.port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match="TOCSIN_GRPC_PORT"), centre.serving():
            pass


def test_a_certificate_that_is_missing_or_none_is_said(centre: Centre, tmp_path: Path) -> None:
    missing, nonsense = tmp_path / "missing.pem", tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    with (
        pytest.raises(CannotListen, match=r"missing\.pem cannot be read"),
        centre.serving(certificate_file=missing, key_file=missing),
    ):
        pass
    with (
        pytest.raises(CannotListen, match="TOCSIN_GRPC_CERT"),
        centre.serving(certificate_file=nonsense, key_file=nonsense),
    ):
        pass


def test_it_ends_with_calls_under_way(centre: Centre) -> None:
    target_id = centre.add()
    now_ms = centre.home(ME).renew(ME, {}, first=True, steady=False).now_ms
    let = threading.Event()
    slow = Slow(centre.home(ME), let)
    ended: list[grpc.StatusCode] = []

    def write() -> None:
        ended.append(refused(lambda: caller("Write", batch(seen(target_id, now_ms))))[0])

    with centre.serving(homes=lambda _: slow):
        caller = Caller(centre.port, centre.key)
        writing = threading.Thread(target=write)
        writing.start()
        while not slow.under_way:
            time.sleep(0.01)
        threading.Timer(2.0, let.set).start()
    writing.join()
    caller.close()
    assert ended == [Code.UNAVAILABLE] or ended == [Code.CANCELLED]


def test_what_is_called_is_counted_under_names_that_are_known(centre: Centre, call: Caller) -> None:
    def count(name: str, answer: str) -> float:
        return float(metrics.REMOTE_CALLS.labels(name, answer)._value.get())

    before = count("Renew", "ok"), count("other", "unauthenticated")
    renewed(call)
    caller = Caller(centre.port, "tcs_wrong")
    refused(lambda: caller("MadeUp" * 10, b""))
    caller.close()
    assert (count("Renew", "ok"), count("other", "unauthenticated")) == (before[0] + 1, before[1] + 1)


# ── over TLS ──────────────────────────────────────────────────────────────────────────────────────────


def test_over_tls_the_right_authority_is_trusted_and_no_other(centre: Centre, tmp_path: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    certificate = authority.issue_cert("localhost")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(key)
    request = pb.RenewRequest(worker=WORKER, first=True)
    with centre.serving(certificate_file=chain, key_file=key):
        trusted = Link(f"grpcs://localhost:{centre.port}", key=centre.key, authority=authority.cert_pem.bytes())
        assert trusted.renew(request).location_id == 1
        trusted.close()
        for link in (
            Link(f"grpcs://localhost:{centre.port}", key=centre.key, authority=stranger.cert_pem.bytes()),
            Link(f"grpcs://localhost:{centre.port}", key=centre.key),  # the system's authorities
            Link(f"grpcs://127.0.0.1:{centre.port}", key=centre.key, authority=authority.cert_pem.bytes()),
            Link(f"grpc://localhost:{centre.port}", key=centre.key),
        ):
            with pytest.raises(Unreachable):
                link.renew(request)
            link.close()
